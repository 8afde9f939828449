"""Complete objects from a few posed camera frames: observed and imagined views fused into metric geometry."""

__version__ = "0.1.0"
