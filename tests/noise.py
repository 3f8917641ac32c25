"""Weights about which nothing is special."""

import jax
import jax.numpy as jnp
import numpy as np


def shaken(weights, amount, seed=0):
    """Weights, each with normal noise of its own. By numpy: jax would compile a program for each shape."""
    rng = np.random.default_rng(seed)
    noise = lambda leaf: (amount * rng.normal(size=leaf.shape)).astype(np.float32)
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf) + noise(leaf)), weights)
