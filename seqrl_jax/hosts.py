"""Processes that compute together, mostly one on each of several hosts: which this is, and where they must agree.

Each of them runs the same command, makes the same programs and host arrays from the same seeds, and holds what lies on
its own devices of arrays that lie over all. The first alone writes and prints. What says "by all" here waits for the
others, who must come to the same place; in a process by itself it waits for nothing.
"""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

PATIENCE = 300.0
"""Seconds until all processes must have come."""
LAST_PORT = 65535
LEAVING = 60
"""Seconds that one which ends waits for the others, before jax ends them."""

Result = TypeVar("Result")


class Unreachable(OSError):
    """The coordinator cannot be reached, in one line."""


class EndedElsewhere(OSError):
    """Another process failed where all had to go on, and says there why."""


@dataclass(frozen=True)
class Member:
    """Which of so many processes this is. coordinator: HOST:PORT of the first."""

    coordinator: str
    processes: int
    process: int

    def __post_init__(self) -> None:
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 1 <= int(port) <= LAST_PORT:
            raise ValueError(f"the coordinator is {self.coordinator!r}, expected HOST:PORT or auto")
        if not 0 <= self.process < self.processes:
            raise ValueError(f"process {self.process} of {self.processes}: they are numbered from 0 on")


def join(place: Member | None, patience: float = PATIENCE) -> None:
    """Be one of several processes, before jax is used for anything else. place: None asks what started this process:
    jax knows Slurm, Open MPI, Kubernetes and Cloud TPUs.

    Raises: ValueError where nothing of that started it, Unreachable. If the others do not come, jax itself ends the
    process when its patience is over.
    """
    start = partial(jax.distributed.initialize, initialization_timeout=int(patience), shutdown_timeout_seconds=LEAVING)
    if place is not None:
        (_await if place.process else _require_free)(place.coordinator, patience)
    # Of SIGTERM `runs.interrupt` takes care.
    jax.config.update("jax_enable_preemption_service", False)
    if place is None:
        try:
            start()
        except ValueError as error:
            raise ValueError(
                "--coordinator auto: jax finds nothing here that started several processes (Slurm, Open MPI, "
                "Kubernetes, Cloud TPU); give HOST:PORT of the first, --processes and --process"
            ) from error
    else:
        start(place.coordinator, place.processes, place.process)
    # Now rather than in whatever thread asks first: all processes wait here for each other's devices.
    jax.process_count()


def several() -> bool:
    """Whether there are other processes."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Whether this process writes and prints."""
    return not several() or jax.process_index() == 0


def everyone(said: np.ndarray | bool | int) -> np.ndarray:
    """[processes, ...]: what each process says, of one shape, by all."""
    return multihost_utils.process_allgather(np.asarray(said)) if several() else np.asarray(said)[None]


@contextmanager
def together() -> Iterator[None]:
    """What all or some do by themselves in here has succeeded everywhere when it ends, by all.

    Raises: what was raised here; where nothing was, EndedElsewhere, if another process failed.
    """
    failure = None
    try:
        yield
    except Exception as error:
        failure = error
    failed = everyone(failure is not None)
    if failure is not None:
        raise failure
    if failed.any():
        raise EndedElsewhere(f"process {failed.argmax()} failed, and says why")


def on_first(action: Callable[[], object]) -> None:
    """Do in the first process what only one may, by all."""
    with together():
        if is_first():
            action()


def first_then_others(action: Callable[[], Result]) -> Result:
    """Do in the first process, and when it is done there in the others, by all."""
    result: Result | None = None
    for turn in (True, False):
        with together():
            if is_first() is turn:
                result = action()
    return result  # type: ignore[return-value]


@contextmanager
def held_by_first(held: AbstractContextManager[object]) -> Iterator[None]:
    """A context of the first process, such as a lock, that all enter together."""
    with ExitStack() as stack:
        on_first(lambda: stack.enter_context(held))
        yield


def require_same(what: str, value: Any) -> None:
    """Refuse to go on where processes differ in something that has a JSON value, by all. Raises: ValueError."""
    digests = everyone(np.frombuffer(hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest(), np.uint8))
    if (digests != digests[0]).any():
        raise ValueError(f"processes differ in {what}: all need the same version, arguments, files and --out")


def lay(tree: Any, shardings: Any) -> Any:
    """Arrays laid over devices; each process gives its own the part that they hold. shardings: one, or one for each."""
    if isinstance(shardings, jax.sharding.Sharding):
        return jax.tree.map(lambda leaf: _laid(leaf, shardings), tree)
    return jax.tree.map(_laid, tree, shardings)


def whole(tree: Any) -> Any:
    """Arrays as numpy has them, on every host, by all."""
    return jax.tree.map(_whole, tree)


def _laid(leaf: Any, sharding: jax.sharding.Sharding) -> jax.Array:
    spans_hosts = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
    if sharding.is_fully_addressable or spans_hosts:
        return jax.device_put(leaf, sharding)
    values = leaf if isinstance(leaf, jax.Array | np.ndarray) else jnp.asarray(leaf)
    return jax.make_array_from_callback(values.shape, sharding, lambda part: values[part])


def _whole(leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        return multihost_utils.process_allgather(leaf, tiled=True)
    return np.asarray(leaf)


def _require_free(coordinator: str, patience: float) -> None:
    """For the first process, which listens there. Raises: Unreachable."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", int(coordinator.rpartition(":")[2])))
        except OSError as error:
            raise Unreachable(f"the coordinator {coordinator} cannot listen there: {error.strerror}") from error


def _await(coordinator: str, patience: float) -> None:
    """Until something listens there: jax itself ends the process where nothing does. Raises: Unreachable."""
    host, _, port = coordinator.rpartition(":")
    given_up_at = time.monotonic() + patience
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=max(1.0, patience / 10)).close()
            return
        except socket.gaierror as error:
            raise Unreachable(f"the coordinator {coordinator} has no address: {error.strerror}") from error
        except OSError as error:
            if time.monotonic() >= given_up_at:
                raise Unreachable(f"the coordinator {coordinator} cannot be reached: {error}") from error
            time.sleep(0.2)
