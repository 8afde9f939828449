"""The network that tells things apart in one RGB-D frame: its input, its layers, its weights, its answer."""
