"""Rows as jobs of Slurm, by submitit.

A folder `.slurm` of the table's directory, on a disk that the nodes share, holds the jobs and the state of each row. A
row that ran into the time limit of its job goes on from its last chunk in the next one. The folder goes once the table
is complete.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from seqrl_jax.figures import printable
from seqrl_jax.runs.executors.pool import Note, Report, Ticket
from seqrl_jax.runs.executors.resources import Resources
from seqrl_jax.runs.executors.worker import carry_out

FOLDER = ".slurm"
WIDTH = 200
"""Jobs in the queue at once; clusters bound how many a user may have there."""
A_DAY = 24 * 60
"""Minutes that a job may take, unless `--resources timeout_min=...` says otherwise."""
POLL = 0.1
"""Seconds between two looks at the files of jobs."""


@dataclass(frozen=True)
class SlurmCluster:
    """See `executors.pool.Cluster`. scheduler: of submitit; `local` runs jobs as processes of this machine.

    Raises: ImportError without submitit; ValueError, where there is no Slurm.
    """

    resources: Resources
    scheduler: str = "slurm"

    def __post_init__(self) -> None:
        _submitit()
        if self.scheduler == "slurm" and shutil.which("srun") is None:
            raise ValueError("--executor slurm: there is no srun here; start it where Slurm takes jobs")

    @contextmanager
    def open(self, directory: Path, note: Note) -> Iterator[SlurmPool]:
        """Raises: ValueError for a resource that submitit has no name for."""
        folder = directory.resolve() / FOLDER
        pool = SlurmPool(folder, self._executor(folder / "jobs"))
        if cancelled := pool.cancel_left():
            note(f"{cancelled} jobs of a run that was ended are cancelled")
        try:
            yield pool
        except BaseException:
            pool.cancel()
            raise
        shutil.rmtree(folder, ignore_errors=True)

    def _executor(self, folder: Path) -> Any:
        executor = _submitit().AutoExecutor(folder, cluster=self.scheduler)
        named: dict[str, int | str] = {"timeout_min": A_DAY}
        named |= {name: int(value) if value.isdecimal() else value for name, value in self.resources.others.items()}
        try:
            executor.update_parameters(
                name="seqrl", cpus_per_task=self.resources.cpus, gpus_per_node=int(self.resources.gpus), **named
            )
        except (NameError, TypeError, ValueError) as error:
            raise ValueError(f"--resources: {error}") from error
        return executor


class SlurmPool:
    """See `executors.pool.Pool`. shared_folder: with the state of rows. executor: of submitit. work: what a worker does
    with a job."""

    width = WIDTH

    def __init__(self, shared_folder: Path, executor: Any, work: Callable[[bytes], bytes] = carry_out) -> None:
        self.shared_folder = shared_folder
        self._executor = executor
        self._work = work
        self._running: dict[Ticket, Any] = {}

    def submit(self, job: bytes) -> Ticket:
        try:
            submitted = self._executor.submit(self._work, job)
        except _errors() as error:
            raise ValueError(f"no job can be submitted: {_in_a_line(error)}") from error
        self._running[submitted.job_id] = submitted
        return submitted.job_id

    def wait(self, seconds: float) -> Sequence[Report]:
        until = time.monotonic() + seconds
        while True:
            ended = [ticket for ticket, job in self._running.items() if job.done()]
            if ended or time.monotonic() > until:
                return [self._report(ticket) for ticket in ended]
            time.sleep(POLL)

    def cancel(self) -> None:
        """End all jobs that are submitted."""
        for job in self._running.values():
            job.cancel(check=False)

    def cancel_left(self) -> int:
        """End the jobs that a driver left which was killed, and forget them. Returns: how many there were."""
        folder = Path(self._executor.folder)
        left = {path.name.partition("_submitted")[0] for path in folder.glob("*_submitted.pkl")}
        unfinished = sorted(job for job in left if not (folder / f"{job}_0_result.pkl").exists())
        if unfinished and (scancel := shutil.which("scancel")):
            subprocess.run([scancel, *unfinished], check=False)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return len(unfinished)

    def _report(self, ticket: Ticket) -> Report:
        job = self._running.pop(ticket)
        try:
            return Report(ticket, job.result())
        except _errors() as error:
            return Report(ticket, None, _in_a_line(error))


def _errors() -> tuple[type[Exception], ...]:
    """What submitit raises of a job that is refused or lost."""
    utils = _submitit().core.utils
    return utils.UncompletedJobError, utils.FailedJobError


def _in_a_line(error: Exception) -> str:
    """What happened stands in the first two lines; logs of any length follow."""
    return printable(" ".join(str(error).splitlines()[:2]).rstrip(" -:") or type(error).__name__)


def _submitit() -> Any:
    """Raises: ImportError that names the extra."""
    try:
        return import_module("submitit")
    except ModuleNotFoundError as error:
        raise ImportError(f'{error}; for --executor slurm: pip install "seqrl_jax[slurm]"') from error
