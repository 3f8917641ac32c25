"""Reinforcement learning with sequence models in JAX, on tasks whose answer is known."""

__version__ = "0.1.0"
