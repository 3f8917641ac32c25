"""What a process elsewhere does with a job: it runs the row as `seqrl run` would, in a folder of its own.

What needs JAX is imported where it is used: variables that JAX reads as it starts are set before.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from seqrl_jax.figures import printable
from seqrl_jax.results.record import Record
from seqrl_jax.runs.executors.job import Answer, Job, decode_job, encode

PATIENCE = 600.0
"""Seconds that a worker waits for another one to leave the row's folder."""
A_SECOND = 1.0

Result = TypeVar("Result")


class OtherCode(Exception):
    """The driver's cells are not those that this process would make."""


def carry_out(content: bytes) -> bytes:
    """The answer to a job, also where it fails; what failed stands on stderr in full."""
    return encode(answer(content, prepare))


def answer(content: bytes, prepare: Callable[[Job], None] = lambda job: None) -> Answer:
    """The answer to a job. prepare: sets up the process before JAX starts."""
    host = socket.gethostname()
    try:
        job = decode_job(content)
        prepare(job)
        with _folder(job) as folder:
            return Answer(host=host, records=_patiently(lambda: records(job, folder)))
    except Exception as error:
        traceback.print_exc()
        return Answer(host=host, records=[], failure=_in_a_line(error))


def prepare(job: Job) -> None:
    """Set up this process: variables, JAX, and the folder in which names of files start, where this host has it."""
    os.environ.update(job.environment)
    from seqrl_jax.devices import usable_cores
    from seqrl_jax.runs.programs import keep_compiled_programs, use_cores

    use_cores(min(job.cores, usable_cores()))
    keep_compiled_programs()
    if os.path.isdir(job.folder):
        os.chdir(job.folder)
        # As on the command line, environments of one's own are found behind all that is installed.
        if job.folder not in sys.path:
            sys.path.append(job.folder)


def records(job: Job, folder: Path) -> list[Record]:
    """Run the row in `folder`, or what is missing of it there.

    Raises: OtherCode, before anything is run; what `runner.run` raises.
    """
    from seqrl_jax.results.code import fingerprint
    from seqrl_jax.runs.plan import Order, cells_of
    from seqrl_jax.runs.runner import run
    from seqrl_jax.tracks.base import Budget
    from seqrl_jax.tracks.registry import track

    first, tasks = job.cells[0], [cell.task for cell in job.cells]
    chosen = track(first.track)
    chosen.check(tasks, [first.method])
    if fingerprint([*chosen.code(first.method), *chosen.task_code(first.task)]) != first.code_fingerprint:
        raise OtherCode(f"other code of seqrl_jax makes {first.method} there; install the same version on both sides")
    budget = Budget(job.steps, job.evaluations, tuple(first.seeds))
    problems = chosen.problems(tasks, lambda done, total: None)
    order = Order(chosen, [first.method], problems, budget, suite="", checkpoint_every=job.checkpoint_every)
    here = cells_of(order, fingerprint)
    for cell in job.cells:
        if here[cell.method, cell.task] != cell:
            raise OtherCode(f"{cell.task} or the settings of {cell.method} are not the same there")
    return run(order, folder)


@contextlib.contextmanager
def _folder(job: Job) -> Iterator[Path]:
    """Where the row is run: beside the state of an earlier worker, or in a folder that goes with this one."""
    if job.shared_folder is not None:
        yield Path(job.shared_folder) / job.digest
        return
    with tempfile.TemporaryDirectory(prefix="seqrl-") as folder:
        yield Path(folder)


def _patiently(act: Callable[[], Result]) -> Result:
    """What `act` gives once no other worker runs the same row: one whose driver was killed may still do so.

    Raises: lock.Refused, after `PATIENCE`.
    """
    from seqrl_jax.runs.lock import Refused

    given_up_at = time.monotonic() + PATIENCE
    while True:
        try:
            return act()
        except Refused:
            if time.monotonic() > given_up_at:
                raise
            time.sleep(A_SECOND)


def _in_a_line(error: Exception) -> str:
    said = printable(" ".join(str(error).split()))
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
