"""What the Stable-Diffusion family shares: networks, checkpoint key maps, samplers."""
