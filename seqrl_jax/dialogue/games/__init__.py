"""The games, one module for each kind."""
