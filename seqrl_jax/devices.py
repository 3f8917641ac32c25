"""Runs that need no communication, laid over all devices."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec


@dataclass(frozen=True, eq=False)
class Spread:
    """A leading axis of `size` runs, padded to what all devices divide.

    index: [R] which run stands where; the padding repeats the first. sharding: of the axis.
    """

    size: int
    index: np.ndarray
    sharding: NamedSharding


def over_devices(size: int) -> Spread:
    """So many runs over the default devices."""
    devices = jax.devices()
    padded = -(-size // len(devices)) * len(devices)
    mesh = jax.make_mesh((len(devices),), ("runs",), axis_types=(AxisType.Auto,), devices=devices)
    index = np.where(np.arange(padded) < size, np.arange(padded), 0)
    return Spread(size, index, NamedSharding(mesh, PartitionSpec("runs")))
