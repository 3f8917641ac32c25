"""Random keys from seeds of 64 bits."""

from __future__ import annotations

from typing import SupportsIndex

import jax
import numpy as np
from jax import Array

LARGEST_SEED = 2**63 - 1
HALF = 2**32


def key_of(seed: int) -> Array:
    """The key of a seed, `jax.random.key(seed)` below 2^32; that function alone forgets the upper half of 64 bits.

    Raises: ValueError for a seed that is no whole number, is negative or does not fit.
    """
    if not (isinstance(seed, SupportsIndex) and 0 <= seed <= LARGEST_SEED):
        raise ValueError(f"seed is {seed!r}, expected a whole number from 0 to {LARGEST_SEED}")
    low, high = np.uint32(seed % HALF), np.uint32(seed // HALF)
    key = jax.random.key(low)
    return jax.random.fold_in(key, high) if high else key
