"""Runs that need no communication, laid over devices; the cores that this process may use."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from seqrl_jax import hosts

CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Where a process in a container finds its own."""


@dataclass(frozen=True, eq=False)
class Spread:
    """A leading axis of `size` runs, padded to what the devices divide.

    index: [R] which run stands where; the padding repeats the first. sharding: of the axis.
    """

    size: int
    index: np.ndarray
    sharding: NamedSharding

    def lay(self, tree: Any) -> Any:
        """Of arrays [size, ...], each run's part on its device, [R, ...]."""
        return hosts.lay(jax.tree.map(lambda leaf: leaf[self.index], tree), self.sharding)

    def gather(self, tree: Any) -> Any:
        """Of arrays [R, ...], the runs without the padding as numpy has them, [size, ...], on every host."""
        return jax.tree.map(lambda leaf: leaf[: self.size], hosts.whole(tree))


def over_devices(size: int) -> Spread:
    """So many runs over the default devices: no more of them than shorten the longest queue, or all where several
    processes, each of which needs a part, share them."""
    turns = _quotient_rounded_up(size, jax.device_count())
    devices = jax.device_count() if hosts.several() else _quotient_rounded_up(size, turns)
    padded = turns * devices
    index = np.where(np.arange(padded) < size, np.arange(padded), 0)
    return Spread(size, index, first_devices(devices))


def first_devices(count: int) -> NamedSharding:
    """A leading axis laid over the first of the default devices. Raises: ValueError, if there are fewer."""
    devices = jax.devices()
    if count > len(devices):
        raise ValueError(f"{count} devices are asked for, and jax has {len(devices)}")
    mesh = jax.make_mesh((count,), ("runs",), axis_types=(AxisType.Auto,), devices=devices[:count])
    return NamedSharding(mesh, PartitionSpec("runs"))


def usable_cores() -> int:
    """Cores that this process may run on: a scheduler, `taskset` or a container can leave it fewer than there are."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # Not every system knows of it.
        allowed = os.cpu_count() or 1
    return max(1, math.floor(min(allowed, quota(CONTROL_GROUP))))


def quota(group: Path) -> float:
    """How many cores' worth of time a Linux control group (version 2, else 1) grants; infinite if it says nothing."""
    for names in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        try:
            granted, period = " ".join((group / name).read_text() for name in names).split()
            return int(granted) / int(period) if int(granted) > 0 else math.inf
        except (OSError, ValueError):  # No such file, or "max".
            continue
    return math.inf


def _quotient_rounded_up(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
