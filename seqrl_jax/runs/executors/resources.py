"""What a row takes of a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from seqrl_jax.devices import usable_cores


@dataclass(frozen=True)
class Resources:
    """For one row. cpus: cores, each a device of the program where there is no accelerator. gpus: a part of one is
    shared with other rows. others: what else the cluster has names for."""

    cpus: int
    gpus: float = 0
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a worker, to be set before JAX starts there."""
        if self.gpus % 1:
            # Alone on a device, JAX takes most of its memory at once; beside others it must not.
            return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        if not self.gpus and not self.others:
            return {"JAX_PLATFORMS": "cpu"}
        return {}


def resources(words: Sequence[str]) -> Resources:
    """What `cpus=8 gpus=1 NAME=VALUE` says; without cpus as many as this process may use, so that a row is the same
    program there as here. Raises: ValueError, naming the word."""
    said: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise ValueError(f"--resources: {word!r} is not NAME=VALUE")
        if name in said:
            raise ValueError(f"--resources: {name} stands twice")
        said[name] = value
    cpus, gpus = said.pop("cpus", str(usable_cores())), said.pop("gpus", "0")
    if not cpus.isdecimal() or not 1 <= int(cpus) <= 10_000:
        raise ValueError(f"--resources: cpus must be a whole number from 1 to 10000, not {cpus!r}")
    return Resources(int(cpus), number("gpus", gpus), said)


def number(name: str, value: str) -> float:
    """A quantity. Raises: ValueError, naming it."""
    try:
        quantity = float(value)
    except ValueError:
        quantity = -1.0
    if not 0 <= quantity <= 10_000:
        raise ValueError(f"--resources: {name} must be a number from 0 to 10000, not {value!r}")
    return quantity
