"""The domains of what a user can set. They stand beside the type of a parameter, and `naming` checks them.

Every number has both ends, so that neither infinity nor NaN lies in any domain. Upper ends are generous: what lies
beyond them could only exhaust a machine or overflow single precision.
"""

from __future__ import annotations

from numbers import Integral
from typing import Annotated, Any, Literal

from msgspec import Meta

LARGEST, SMALLEST = 1e6, 1e-8
"""What is divided by must not vanish in single precision, nor its fourth power."""

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
"""How many of something; at least one."""
Devices = Annotated[int, Meta(ge=1, le=128)]
"""Of one process. Of a CPU they may be virtual, and each costs threads."""
Several = Annotated[int, Meta(ge=2, le=1_000_000)]
"""How many of what is compared with each other."""
Place = Annotated[int, Meta(ge=0, lt=1_000_000)]
"""The number of one of several, from 0 on."""
Capacity = Annotated[int, Meta(ge=1, le=100_000_000)]
"""Of a replay buffer, in environment steps."""
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Steps = Annotated[int, Meta(ge=1, le=10**12)]
"""How many steps a whole run makes."""

Episodes = Annotated[int, Meta(ge=2, le=10_000_000)]
"""Enough for a standard error."""

INFINITE = "infinite"
"""In place of a horizon: episodes go on for ever, discounted."""
Horizon = Annotated[int, Meta(ge=1, le=100_000)]
Length = Annotated[int, Meta(ge=1, le=1000)]
"""Of a corridor, in cells."""
Delay = Annotated[int, Meta(ge=0, le=1000)]
"""In steps."""

Width = Annotated[int, Meta(ge=1, le=16_384)]
"""Of a layer."""
Depth = Annotated[int, Meta(ge=1, le=1024)]
"""How many layers, heads or inputs stand one after another in a program."""

Discount = Annotated[float, Meta(gt=0, le=1)]
Fraction = Annotated[float, Meta(ge=SMALLEST, le=1)]
"""A share that divides something."""
Part = Annotated[float, Meta(gt=0, lt=1)]
"""A share that leaves something on either side."""
Probability = Annotated[float, Meta(ge=0, le=1)]
Share = Annotated[float, Meta(ge=0, le=1)]

Reward = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
Number = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
PositiveFloat = Annotated[float, Meta(ge=SMALLEST, le=LARGEST)]
Weight = Annotated[float, Meta(ge=0, le=LARGEST)]
"""What a term costs or counts."""
Exponent = Annotated[float, Meta(ge=0, le=10)]
Radius = Annotated[float, Meta(ge=0, lt=1)]
"""Of an eigenvalue that is stable."""

Dtype = Literal["float32", "bfloat16"]
"""Of the products of a network."""
AttentionKernel = Literal["xla", "cudnn"]
"""What computes attention: XLA everywhere; NVIDIA's fused kernel in half precision on its devices."""


def is_count(value: Any) -> bool:
    """Whether this is a whole number of 1 or more, Python's or numpy's; a truth value is none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
