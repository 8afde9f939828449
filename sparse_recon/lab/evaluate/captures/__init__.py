"""Real frames with known objects: which objects are found, and how well they are completed."""
