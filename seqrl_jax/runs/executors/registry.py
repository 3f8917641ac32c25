"""Executors by the names that `seqrl run --executor` takes."""

from __future__ import annotations

from collections.abc import Sequence

from seqrl_jax.runs.executors.base import Executor
from seqrl_jax.runs.executors.local import Local
from seqrl_jax.runs.executors.ray import RayCluster
from seqrl_jax.runs.executors.remote import Remote
from seqrl_jax.runs.executors.resources import resources
from seqrl_jax.runs.executors.slurm import SlurmCluster


def executor(name: str, address: str | None, asked: Sequence[str], attempts: int | None) -> Executor:
    """One by name, with what was asked of it on the command line.

    Raises: ValueError for what it does not have; ImportError, in a line, without the extra that it needs.
    """
    if address is not None and name != "ray":
        raise ValueError(f"--address: {name} has none, only ray")
    if name == "local":
        if asked:
            raise ValueError("--resources: local takes what this process may use; they are for ray and slurm")
        if attempts is not None:
            raise ValueError("--attempts: local makes one, and goes on from there when the command is given again")
        return Local()
    needed = resources(asked)
    cluster = RayCluster(address, needed) if name == "ray" else SlurmCluster(needed)
    return Remote(cluster) if attempts is None else Remote(cluster, attempts)
