"""Our own simulator: household-like shapes on a table, rendered as a real RGB-D camera would see them."""
