"""What is asked for, what of it is missing, and the rows in which that is run. Reads and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from seqrl_jax.results.record import Record
from seqrl_jax.runs.checkpoint import Checkpoint
from seqrl_jax.runs.identity import Identity, as_json, identity_of
from seqrl_jax.tracks.base import Budget, Problem, Track

Cell = tuple[str, str]
"""(method, task)."""


@dataclass(frozen=True)
class Order:
    """A table to fill: every method on every problem.

    suite: what the records say that they are of. keep_old: whether a cell that other code made stands.
    checkpoint_every: chunks between two states that are saved.
    """

    track: Track
    methods: Sequence[str]
    problems: Sequence[Problem]
    budget: Budget
    suite: str
    keep_old: bool = False
    checkpoint_every: int = 1


@dataclass(frozen=True)
class Row:
    """Problems of one program with a method. missing: the tasks whose records are to be written. begun: its checkpoint,
    where an earlier process began it."""

    method: str
    problems: Sequence[Problem]
    missing: frozenset[str]
    begun: Checkpoint | None = None

    @property
    def name(self) -> str:
        """What it is, in messages."""
        return f"{self.method} on {', '.join(problem.spec for problem in self.problems)}"


def cells_of(order: Order, fingerprint: Callable[[Sequence[str]], str]) -> dict[Cell, Identity]:
    """What makes each cell, method by method. fingerprint: of the code of modules."""
    track = order.track
    of_task = {problem.spec: track.task_code(problem.spec) for problem in order.problems}
    of_method = {method: track.code(method) for method in order.methods}
    return {
        (method, problem.spec): Identity(
            track=track.name,
            method=method,
            task=problem.spec,
            config=as_json(track.config(method, problem, order.budget)),
            seeds=list(order.budget.seeds),
            task_fingerprint=problem.fingerprint,
            code_fingerprint=fingerprint([*of_method[method], *of_task[problem.spec]]),
        )
        for method in order.methods
        for problem in order.problems
    }


def standing(
    cells: Mapping[Cell, Identity], written: Iterable[Record], keep_old: bool
) -> tuple[dict[Cell, Record], list[Cell]]:
    """The cells that need not run, and those that differ in nothing but the code that made them."""
    records: dict[Cell, Record] = {}
    by_other_code = []
    for record in written:
        cell, made = (record.method, record.task), identity_of(record)
        planned = cells.get(cell)
        if planned is None or made.whatever_the_code != planned.whatever_the_code:
            continue
        if made != planned:
            by_other_code.append(cell)
        if made == planned or keep_old:
            records[cell] = record
    return records, by_other_code


def rows(
    order: Order, cells: Mapping[Cell, Identity], records: Mapping[Cell, Record], checkpoints: Sequence[Checkpoint]
) -> tuple[list[Row], list[Checkpoint]]:
    """The rows in which to run what has no record, and the checkpoints of no use.

    A row that was begun goes on as it was, with all its tasks, since they ran as one program: the numbers are then
    those of a run that was never interrupted. A checkpoint with tasks that are not asked for now is left alone, unless
    one of the others has changed.
    """
    problem_of = {problem.spec: problem for problem in order.problems}
    begun: dict[str, list[Checkpoint]] = {method: [] for method in order.methods}
    planned, stale = [], []
    for checkpoint in checkpoints:
        match = [(cells.get((saved.method, saved.task)), saved) for saved in checkpoint.cells]
        if all(now == saved for now, saved in match):
            begun[checkpoint.method].append(checkpoint)
        elif any(now is not None and now != saved for now, saved in match):
            stale.append(checkpoint)
    for method in order.methods:
        missing = [problem.spec for problem in order.problems if (method, problem.spec) not in records]
        for checkpoint in begun[method]:
            group = [problem_of[cell.task] for cell in checkpoint.cells]
            lacking = frozenset(problem.spec for problem in group) & frozenset(missing)
            if lacking and len({problem.program for problem in group}) == 1:
                planned.append(Row(method, group, lacking, checkpoint))
                missing = [task for task in missing if task not in lacking]
            else:
                stale.append(checkpoint)
        programs: dict[Hashable, list[Problem]] = {}
        for task in missing:
            programs.setdefault(problem_of[task].program, []).append(problem_of[task])
        planned += [Row(method, group, frozenset(problem.spec for problem in group)) for group in programs.values()]
    return planned, stale
