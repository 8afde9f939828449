"""Grasps planned on what a method answered, executed in physics on the true object (extra `sim`, MuJoCo)."""
