"""Shared by all tests: strict dtype promotion, one compilation cache, tasks solved once."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import jax
import optax
import pytest

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache"
os.environ["SEQRL_CACHE"] = str(CACHE)
jax.config.update("jax_compilation_cache_dir", str(CACHE / "compiled"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture(scope="session", autouse=True)
def strict_promotion():
    """No dtype is promoted by accident. Optax's Adam raises a float to an integer count, so it alone is let off."""
    correct = optax.tree.bias_correction

    def relaxed(*arguments):
        with jax.numpy_dtype_promotion("standard"):
            return correct(*arguments)

    with jax.numpy_dtype_promotion("strict"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(optax.tree, "bias_correction", relaxed)
        yield


@pytest.fixture(scope="session")
def solved():
    """spec -> (task, solution), each solved once."""
    from seqrl_jax.exact.solve import solve
    from seqrl_jax.tasks import make

    @functools.cache
    def solved(spec):
        task = make(spec)
        return task, solve(task, CACHE)

    return solved
