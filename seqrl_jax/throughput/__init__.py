"""How fast programs run."""
