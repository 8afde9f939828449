"""What comes from outside: files that are files, YAML and JSON of bounded cost."""
