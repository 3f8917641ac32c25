"""What the driver of a large table costs: milliseconds a cell, beside the rows themselves.

    python benchmarks/driver.py --out benchmarks/results/driver_cpu.json

Cells are simulated: 100 methods on 1,000 tasks, of which ten are a program, so that a row has ten cells. Rows take no
time. An executor that does nothing, and gives records that were made before, shows what is planned and handed over;
one that writes them, what a local run adds to that; a pool in this process, what jobs and answers as JSON add, the
worker's side and the making of its records among it. The files are those of a run, each written whole and waited for,
so that fewer of them will do. The least of the repeats counts, since a machine that does other things only adds to it;
the fingerprint of the code, which a process computes once, is in the first.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from seqrl_jax.results import store
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.results.record import Bound, Record, Spent
from seqrl_jax.runs.executors.base import Executor, Table
from seqrl_jax.runs.executors.job import Answer, decode_job, encode
from seqrl_jax.runs.executors.pool import Note, Report
from seqrl_jax.runs.executors.remote import Remote
from seqrl_jax.runs.executors.resources import Resources
from seqrl_jax.runs.identity import Identity
from seqrl_jax.runs.plan import Cell, Order, Row, cells_of
from seqrl_jax.runs.runner import run
from seqrl_jax.tracks.base import Budget

SEEDS, STEPS = 5, 100_000
PROGRAM = 10
"""Tasks of a row."""


@dataclass(frozen=True)
class MadeUp:
    """A task without anything to solve."""

    spec: str
    program: int
    fingerprint: str = "made up"
    bounds: Mapping[str, Bound] = field(default_factory=lambda: {"random": Bound(0, 0, "exact")})


@dataclass(frozen=True)
class Simulated:
    """As much of a track as the driver asks for."""

    name: str = "simulated"

    def config(self, method: str, problem: MadeUp, budget: Budget) -> dict[str, Any]:
        return {"entropy_coef": 0.01, "width": 64, "steps": budget.steps, "evaluations": budget.evaluations}

    def code(self, method: str) -> Sequence[str]:
        return ["seqrl_jax.tracks.training"]

    def task_code(self, task: str) -> Sequence[str]:
        return ()


def record(cell: Identity) -> Record:
    """That of a cell which was run."""
    return Record(
        **msgspec.structs.asdict(cell),
        suite="simulated",
        metrics={"return": [0.5] * SEEDS},
        standard_errors={},
        curves={},
        bounds={"random": Bound(0, 0, "exact")},
        bounded_by=[],
        marked_wrong=False,
        policy="sampled",
        episodes=[None] * SEEDS,
        steps_asked=STEPS,
        steps_made=STEPS,
        spent=Spent(),
        cells=PROGRAM,
        warnings=[],
        failures={},
        versions={},
        device="none",
        commit=None,
        command=None,
        created="2026-01-01T00:00:00+00:00",
    )


@dataclass(frozen=True)
class Nothing:
    """Records are there before they are asked for, and are not written."""

    ready: Mapping[Cell, Record]

    def fill(self, table: Table, rows: Sequence[Row]) -> Iterator[Record]:
        for row in rows:
            table.observer.row(row.method, [problem.spec for problem in row.problems], len(row.missing))
            for problem in row.problems:
                yield self.ready[row.method, problem.spec]


class Writing(Nothing):
    """As `Nothing`, written."""

    def fill(self, table: Table, rows: Sequence[Row]) -> Iterator[Record]:
        for made in super().fill(table, rows):
            store.write(table.directory, made)
            yield made


class Here:
    """A cluster, and its pool, that answers every job at once."""

    width, shared_folder, resources = 1000, None, Resources(1)

    def __init__(self) -> None:
        self._jobs: list[bytes] = []
        self._sent = 0

    @contextmanager
    def open(self, directory: Path, note: Note) -> Iterator[Here]:
        yield self

    def submit(self, job: bytes) -> int:
        self._jobs.append(job)
        self._sent += 1
        return self._sent

    def wait(self, seconds: float) -> Sequence[Report]:
        jobs, self._jobs = self._jobs, []
        first = self._sent - len(jobs) + 1
        return [Report(number, self._answer(job)) for number, job in enumerate(jobs, first)]

    def _answer(self, job: bytes) -> bytes:
        return encode(Answer(host="here", records=[record(cell) for cell in decode_job(job).cells]))


def measured(repeats: int, order: Order, executor: Callable[[], Executor]) -> dict[str, float]:
    """Of a run with this executor, in wall time and in the processor time of this process."""
    walls, processors = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            began, used = time.perf_counter(), time.process_time()
            cells = len(run(order, Path(folder), executor=executor()))
            processors.append(time.process_time() - used)
            walls.append(time.perf_counter() - began)
    return {
        "cells": cells,
        "milliseconds_a_cell": 1000 * min(walls) / cells,
        "processor_milliseconds_a_cell": 1000 * min(processors) / cells,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", type=int, default=100)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--written", type=int, default=10, help="methods where records are written (10)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    methods = [f"ppo:entropy_coef={number / 1000:g}" for number in range(options.methods)]
    problems = [MadeUp(f"tmaze:length={number + 1}", number // PROGRAM) for number in range(options.tasks)]
    order = Order(Simulated(), methods, problems, Budget(STEPS, 20, tuple(range(SEEDS))), "simulated")
    part = replace(order, methods=methods[: options.written])
    ready = {cell: record(made) for cell, made in cells_of(order, lambda modules: "made up").items()}
    executors: dict[str, tuple[Order, Callable[[], Executor]]] = {
        "nothing: planned and handed over": (order, lambda: Nothing(ready)),
        "local: planned, handed over and written": (part, lambda: Writing(ready)),
        "remote: jobs and answers as JSON too": (part, lambda: Remote(Here())),
    }
    rows = []
    for what, (table, executor) in executors.items():
        rows.append({"what": what, **measured(options.repeats, table, executor)})
        print(rows[-1], flush=True)
    if options.out:
        write_measurement(options.out, {"seeds": SEEDS, "tasks_a_row": PROGRAM, "rows": rows})


if __name__ == "__main__":
    main()
