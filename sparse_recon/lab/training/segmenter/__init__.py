"""Training of the network that tells things apart in one frame."""
