"""What no robot runs: simulated cameras, training, evaluation. Nothing outside `lab` and `cli` imports it."""
