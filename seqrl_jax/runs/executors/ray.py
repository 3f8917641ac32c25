"""Rows as tasks of a Ray cluster.

A job goes there and its answer comes back by Ray's object store, so that no disk is shared. Workers are processes that
Ray spawns from their beginning: one forked of a process that has used JAX could hang. Ray repeats nothing itself, so
that attempts are counted in one place.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from seqrl_jax.figures import printable
from seqrl_jax.runs.executors.pool import Note, Report, Ticket
from seqrl_jax.runs.executors.resources import Resources, number
from seqrl_jax.runs.executors.worker import carry_out
from seqrl_jax.runs.interrupt import SIGNALS

WIDTH = 1000
"""Jobs that are submitted at once: enough for a large cluster, few enough for Ray to look through."""

A_WHILE = 10.0
"""Seconds to wait for an answer."""


@dataclass(frozen=True)
class RayCluster:
    """See `executors.pool.Cluster`. address: of a cluster, as `ray.init` takes it; None is the one that runs here, or
    else one of this machine that ends with the table.

    Raises: ImportError without Ray; OSError, where nobody answers at the address.
    """

    address: str | None
    resources: Resources

    def __post_init__(self) -> None:
        # Here, so that nothing is begun without it, and before signals are taken: Ray takes SIGTERM as it is imported.
        _ray()
        _quantities(self.resources)
        if self.address is not None:
            _answers(self.address)

    @contextmanager
    def open(self, directory: Path, note: Note) -> Iterator[RayPool]:
        """Raises: OSError, where there is no such cluster."""
        ray = _ray()
        # Nothing is reported to Ray's makers unless the user wants that.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        with _signals_as_before():
            ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")
        try:
            if not _any_node_has(ray.nodes(), self.resources):
                note(f"no node of the cluster has now what a row asks for, {_in_words(self.resources)}: rows wait")
            yield RayPool(self.resources)
        finally:
            # With their driver all its tasks end.
            ray.shutdown()


class RayPool:
    """See `executors.pool.Pool`. work: what a worker does with a job."""

    width = WIDTH
    shared_folder = None

    def __init__(self, resources: Resources, work: Callable[[bytes], bytes] = carry_out) -> None:
        self._ray = _ray()
        self._task = self._ray.remote(work).options(
            num_cpus=resources.cpus, num_gpus=resources.gpus, resources=_quantities(resources), max_retries=0
        )
        self._running: dict[Any, Ticket] = {}
        self._submitted = 0

    def submit(self, job: bytes) -> Ticket:
        self._submitted += 1
        self._running[self._task.remote(job)] = self._submitted
        return self._submitted

    def wait(self, seconds: float) -> Sequence[Report]:
        if not self._running:
            time.sleep(seconds)
            return []
        self._ray.wait([*self._running], num_returns=1, timeout=seconds)
        ended, _ = self._ray.wait([*self._running], num_returns=len(self._running), timeout=0)
        return [self._report(task) for task in ended]

    def _report(self, task: Any) -> Report:
        ticket = self._running.pop(task)
        try:
            return Report(ticket, self._ray.get(task))
        except self._ray.exceptions.RayError as error:
            return Report(ticket, None, _in_a_line(error))


def _ray() -> Any:
    """Raises: ImportError that names the extra."""
    try:
        return import_module("ray")
    except ModuleNotFoundError as error:
        raise ImportError(f'{error}; for --executor ray: pip install "seqrl_jax[ray]"') from error


@contextmanager
def _signals_as_before() -> Iterator[None]:
    """Ray takes SIGTERM, in Python and below it, where a process aborts with a trace: it is given back."""
    handlers = {signum: signal.getsignal(signum) for signum in SIGNALS}
    yield
    if threading.current_thread() is threading.main_thread():
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


def _answers(address: str) -> None:
    """Raises: OSError, where nobody does: Ray would go on trying for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not (colon and port.isdecimal()):
        return  # `auto` and the like, which Ray looks up.
    try:
        socket.create_connection((host.strip("[]"), int(port)), A_WHILE).close()
    except (OSError, OverflowError) as error:
        raise OSError(f"--address {address}: no Ray cluster answers ({error})") from error


def _quantities(resources: Resources) -> dict[str, float]:
    """Resources by the cluster's own names. Raises: ValueError."""
    return {name: number(name, value) for name, value in resources.others.items()}


def _any_node_has(nodes: Sequence[dict[str, Any]], resources: Resources) -> bool:
    """Whether a node, when nothing runs there, has room for a row."""
    asked = {"CPU": resources.cpus, "GPU": resources.gpus, **_quantities(resources)}
    living = [node["Resources"] for node in nodes if node["Alive"]]
    return any(all(has.get(name, 0) >= count for name, count in asked.items()) for has in living)


def _in_words(resources: Resources) -> str:
    return ", ".join([f"cpus={resources.cpus}", f"gpus={resources.gpus:g}", *map("=".join, resources.others.items())])


def _in_a_line(error: Exception) -> str:
    """What Ray says of a lost task: its first sentence; of an error raised there the last line, below its traceback."""
    text = str(error).strip()
    said = text.splitlines()[-1] if "Traceback" in text else " ".join(text.split()).partition(". ")[0].rstrip(".")
    return printable(f"{type(error).__name__}: {said}")
