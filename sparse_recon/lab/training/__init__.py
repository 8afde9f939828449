"""Training of the default model: procedural objects, what cameras see of them, and the loop. Needs PyTorch."""
