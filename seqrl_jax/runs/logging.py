"""A run logged by an experiment tracker as it goes: an observer that hands numbers on. Each tracker is an extra."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from seqrl_jax.results.record import Record
from seqrl_jax.runs.observer import Observer, RowProgress

PROJECT = "seqrl_jax"


class Writer(Protocol):
    """What a tracker takes: numbers by name at a step."""

    def log(self, values: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class Logged:
    """An observer that writes the score and the speed of each row at the training steps of each of its runs, how many
    programs it compiled after its first chunk, and each cell's score at its end. metric: the score's."""

    def __init__(self, writer: Writer, metric: str) -> None:
        self._writer = writer
        self._metric = metric
        self._row = ""

    def starts(self, cells: int, standing: int) -> None:
        """See `runs.observer.Observer`, as for the others."""

    def row(self, method: str, tasks: Sequence[str], cells: int) -> None:
        # A task is in one row of a method, so that its name tells rows of as many tasks apart.
        self._row = f"{method} on {tasks[0]}" + (f" and {len(tasks) - 1} more" if len(tasks) > 1 else "")

    def chunk(self, progress: RowProgress) -> None:
        values = {
            "score": progress.score,
            "steps_per_second": progress.steps_per_second,
            "recompiled": progress.recompiled if progress.done > progress.begun_at else None,
        }
        present = {f"{self._row}/{name}": value for name, value in values.items() if value is not None}
        if present:
            self._writer.log(present, progress.steps // progress.runs)

    def cell(self, record: Record) -> None:
        if values := record.finished(self._metric):
            name = f"{record.method} on {record.task}/{self._metric}"
            self._writer.log({name: statistics.fmean(values)}, record.steps_made)

    def note(self, message: str) -> None:
        pass


class Together:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def starts(self, cells: int, standing: int) -> None:
        """See `runs.observer.Observer`, as for the others."""
        for observer in self._observers:
            observer.starts(cells, standing)

    def row(self, method: str, tasks: Sequence[str], cells: int) -> None:
        for observer in self._observers:
            observer.row(method, tasks, cells)

    def chunk(self, progress: RowProgress) -> None:
        for observer in self._observers:
            observer.chunk(progress)

    def cell(self, record: Record) -> None:
        for observer in self._observers:
            observer.cell(record)

    def note(self, message: str) -> None:
        for observer in self._observers:
            observer.note(message)


class _Tensorboard:
    """Event files in `tensorboard` of the directory of results."""

    def __init__(self, directory: Path) -> None:
        self._events = _required("tensorboardX", "tensorboard").SummaryWriter(str(directory / "tensorboard"))

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        self._events.close()


class _Run:
    """A run of wandb, or of trackio, which has its interface."""

    def __init__(self, package: str, directory: Path) -> None:
        self._run = _required(package, package).init(project=PROJECT, name=directory.resolve().name)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Rows begin at step 0 each, where a tracker's own step must not fall, so the step is a number beside them."""
        self._run.log({**values, "training steps": step})

    def close(self) -> None:
        self._run.finish()


TRACKERS: Mapping[str, Callable[[Path], Writer]] = {
    "tensorboard": _Tensorboard,
    "wandb": lambda directory: _Run("wandb", directory),
    "trackio": lambda directory: _Run("trackio", directory),
}


def _required(package: str, extra: str) -> Any:
    """The package. Raises: ImportError that names the extra it comes with."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise ImportError(f'{error}; for --log-to {extra}: pip install "seqrl_jax[{extra}]"') from error
