"""Shared by all tests: strict dtype promotion, one compilation cache, tasks solved once."""

from __future__ import annotations

import functools
import gc
import os
from pathlib import Path

# Read when numpy and scipy are imported: between the small products of solvers, more threads wait for work by spinning.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import jax
import numpy as np
import optax
import pytest
from fast_to_compile import FLAGS

from seqrl_jax.tasks import TabularPOMDP, validated

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache"
os.environ["SEQRL_CACHE"] = str(CACHE)
# Most of a test's time is compilation of a program that runs once.
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))
jax.config.update("jax_compilation_cache_dir", str(CACHE / "compiled"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
# And of the processes that tests start, many of which run the same programs.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# How long an example takes says something of the machine, and nothing of the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
# Tracing makes so many objects, and so little garbage, that a sixth of it would be looking for garbage.
gc.freeze()
gc.set_threshold(20_000, 20, 100)

MUCH_MEMORY = 1.5e9
"""Bytes that a process may hold before it forgets its compiled programs."""


def held_bytes():
    """Of memory, by this process; infinite where the system does not say."""
    statistics = Path("/proc/self/statm")
    return int(statistics.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statistics.exists() else np.inf


def pytest_collection_modifyitems(items):
    """Tests of tasks last: their files are short, and of two processes none waits long for the other's last one."""
    items.sort(key=lambda item: "tasks" in item.path.relative_to(ROOT).parts)


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


@pytest.fixture(scope="module", autouse=True)
def small_memory():
    """Compiled programs of one file are kept for the next only while they are few: all together are gigabytes."""
    yield
    if held_bytes() > MUCH_MEMORY:
        jax.clear_caches()


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


@pytest.fixture(scope="session")
def random_task():
    """seed -> a small POMDP with sparse rows and, half of the time, a terminal state that shares no observation."""

    def random_task(seed, horizon=4):
        rng = np.random.default_rng(seed)
        num_s, num_a, num_o = rng.integers(2, 5), rng.integers(2, 4), rng.integers(1, 4)
        ending = int(rng.integers(2))

        def rows(*shape):
            weights = rng.dirichlet(np.full(shape[-1], 0.5), shape[:-1])
            weights = np.where(weights < 0.1, 0, weights)
            return weights / weights.sum(-1, keepdims=True)

        total, seen = num_s + ending, num_o + ending
        transition = rows(num_a, total, total)
        observation, initial_observation = np.zeros((num_a, total, seen)), np.zeros((total, seen))
        observation[:, :num_s, :num_o], initial_observation[:num_s, :num_o] = (
            rows(num_a, num_s, num_o),
            rows(num_s, num_o),
        )
        reward = rng.normal(size=(num_a, total, total))
        initial = np.append(rows(num_s), np.zeros(ending))
        if ending:
            transition[:, -1], transition[:, -1, -1] = 0, 1
            reward[:, -1] = 0
            observation[:, -1, -1] = initial_observation[-1, -1] = 1
        return validated(
            TabularPOMDP(
                initial=initial,
                initial_observation=initial_observation,
                transition=transition,
                observation=observation,
                reward=reward,
                terminal=np.arange(total) >= num_s,
                discount=rng.choice([1.0, 0.9]),
                horizon=horizon,
                name=f"random_{seed}",
                states=tuple(f"s{i}" for i in range(total)),
                actions=tuple(f"a{i}" for i in range(num_a)),
                observations=tuple(f"o{i}" for i in range(seen)),
            )
        )

    return random_task


@pytest.fixture(scope="session")
def shaken():
    """(model, seed) -> weights about which nothing is special, so that no test leans on zeros or on a small start."""

    @functools.partial(jax.jit, static_argnums=0)
    def shaken(model, seed=0):
        weights = model.initial_weights(jax.random.key(seed))
        leaves, tree = jax.tree.flatten(weights)
        keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
        noisy = [leaf + 0.2 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
        return jax.tree.unflatten(tree, noisy)

    return shaken
