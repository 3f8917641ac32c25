"""What a device does of each kind of work in a second, by measurement: the roof under which programs run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.devices import first_devices
from seqrl_jax.throughput.work import Work

PEAKS = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H200 NVL": 836e12,
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v6e": 918e12,
    "TPU v6 lite": 918e12,
}
"""Dense bfloat16 operations per second that the makers state, by a part of the device's name. The first part that a
name has counts: cards of one name are of several speeds, and jax calls TPU v5p TPU v5, too."""
REPEATS = 7


class Sizes(NamedTuple):
    """side: of square matrices. numbers: that are computed on. rounds: operations on each of them, so many that memory
    is not what bounds, and so few that they overlap. drawn: keys at once. copied: numbers that fit into no cache."""

    side: int
    numbers: int
    rounds: int
    drawn: int
    copied: int


CPU = Sizes(side=2**10, numbers=2**20, rounds=16, drawn=2**14, copied=2**25)
OTHERS = Sizes(side=2**13, numbers=2**24, rounds=256, drawn=2**24, copied=2**28)


def peak_of(dtype: str) -> tuple[float, str]:
    """Operations of matrix products that the default device does per second, and whether its maker states them or they
    are measured."""
    kind = jax.devices()[0].device_kind
    stated = [peak for name, peak in PEAKS.items() if name in kind]
    if stated and dtype == "bfloat16":
        return stated[0], "stated"
    return _products(1, dtype), "measured"


@cache
def ceilings(devices: int = 1) -> Work:
    """Of so many of the default devices together, all at once, in float32; products in jax's default precision."""
    sizes = _sizes()
    numbers, rounds = sizes.numbers, sizes.rounds
    # Cores share a memory, other devices have one each.
    copied = sizes.copied // devices if sizes is CPU else sizes.copied

    def repeated(step: Callable[[Array], Array]) -> Callable[[Array], Array]:
        def run(x: Array) -> Array:
            for _ in range(rounds):
                x = step(x)
            return x

        return run

    def drawn(key: Array) -> Array:
        # Keys are hashes that nothing else is done with.
        one = lambda words, key: (words ^ jax.random.key_data(jax.random.split(key, sizes.drawn)), None)
        keys = jax.random.split(jax.random.wrap_key_data(key), numbers // sizes.drawn)
        return jax.lax.scan(one, jnp.zeros((sizes.drawn, 2), jnp.uint32), keys)[0]

    some = jnp.full(numbers, 0.5)
    return Work(
        products=_products(devices, "float32"),
        arithmetic=_rate(repeated(lambda x: x * 0.999 + 0.001), some, 2 * rounds * numbers, devices),
        transcendental=_rate(repeated(jnp.tanh), some, rounds * numbers, devices),
        random=_rate(drawn, jax.random.key_data(jax.random.key(0)), numbers, devices),
        moved=_rate(lambda x: x + 1, jnp.zeros(copied), 8 * copied, devices),
    )


@cache
def _products(devices: int, dtype: str) -> float:
    side = _sizes().side
    square = jax.random.normal(jax.random.key(0), (side, side)).astype(dtype)
    return _rate(lambda x: x @ x, square, 2 * side**3, devices)


def _sizes() -> Sizes:
    return CPU if jax.default_backend() == "cpu" else OTHERS


def _rate(run: Callable[[Array], Array], given: Array, amount: float, devices: int) -> float:
    """The amount per second, where each device does it on an array of its own: of the median of warm calls."""
    spread = jax.jit(lambda: jnp.broadcast_to(given, (devices, *given.shape)), out_shardings=first_devices(devices))
    arrays = spread()
    compiled = jax.jit(jax.vmap(run)).lower(arrays).compile()
    jax.block_until_ready(compiled(arrays))
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(compiled(arrays))
        seconds.append(time.perf_counter() - began)
    return devices * amount / statistics.median(seconds)
