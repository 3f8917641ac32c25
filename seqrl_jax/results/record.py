"""What is kept of one cell of a table: one method on one task with N seeds, the same for every track.

A schema that has been published is frozen (`docs/record.schema.json`): a change is a new version beside a reader of the
old one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

PerSeed = list[float | None]
"""[N] a number for each seed, None where there is none."""
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, Meta(ge=0)]
Name = Annotated[str, Meta(min_length=1)]
Policy = Literal["greedy", "sampled"]

TOLERANCE = 1e-6
"""Relative, where a bound's lower end may lie above its upper end by rounding."""


class RecordError(ValueError):
    """A record that cannot be: the message names the field."""


class Bound(Struct, frozen=True, forbid_unknown_fields=True):
    """A value known to lie in [lower, upper]; method: how each end was proved, in words."""

    lower: float
    upper: float
    method: str

    def __post_init__(self) -> None:
        _require(math.isfinite(self.lower) and math.isfinite(self.upper), "a bound", "must have finite ends")
        slack = TOLERANCE * max(1.0, abs(self.upper))
        _require(self.lower <= self.upper + slack, "a bound", "has its lower end above its upper end")

    @property
    def is_exact(self) -> bool:
        """Whether the ends agree to 1e-6, relative where the value exceeds 1."""
        return self.upper - self.lower <= TOLERANCE * max(1.0, abs(self.upper))


class Curve(Struct, frozen=True, forbid_unknown_fields=True):
    """A quantity along another: values [E][N] at increasing places [E]; x: what the places are, with their unit."""

    x: str
    at: list[float]
    values: list[PerSeed]

    def __post_init__(self) -> None:
        _require(all(map(math.isfinite, self.at)), "at", "must hold finite numbers")
        _require(all(a < b for a, b in zip(self.at, self.at[1:])), "at", "must increase")
        _require(len(self.values) == len(self.at), "values", f"must have {len(self.at)} rows, one for each place")


class Spent(Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds of wall time of the compiled program that a cell was part of."""

    compilation: Seconds = 0.0
    training: Seconds = 0.0
    evaluation: Seconds = 0.0


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="schema", tag=1):
    """One method on one task, N seeds.

    track, suite, task, method: names, the latter two as they were asked for (`tmaze:length=10`, `ppo`).
    seeds: [N] distinct. config: every setting behind the cell, JSON values.
    metrics: name -> [N], None for a failed seed. standard_errors: of metrics that were sampled, 0 where exact.
    curves: name -> values along training, or along something else.
    bounds: what is proved about the task, any subset of the track's names, in units of its score.
    bounded_by: the bounds whose upper ends the score cannot pass.
    marked_wrong: in the table on purpose, though the theory says that it falls short.
    policy: how the judged policy acts. episodes: [N] sampled for the score of each seed, None where it is exact.
    steps_asked, steps_made: of training, each seed. spent: wall time; cells: how many cells shared it.
    warnings: what a reader should know, a sentence each. failures: seed -> why it has no score.
    task_fingerprint, code_fingerprint: of the task's data, and of the code that the method imports (None: unknown).
    versions: package -> version. commit: of git, with `+` if changed since. command: what was run. created: ISO 8601.

    Raises: RecordError, naming the field, for lengths or values that do not fit.
    """

    track: Name
    suite: str
    task: Name
    method: Name
    seeds: Annotated[list[Seed], Meta(min_length=1)]
    config: dict[str, Any]
    metrics: dict[str, PerSeed]
    standard_errors: dict[str, PerSeed]
    curves: dict[str, Curve]
    bounds: dict[str, Bound]
    bounded_by: list[str]
    marked_wrong: bool
    policy: Policy
    episodes: list[Annotated[int, Meta(ge=1)] | None]
    steps_asked: Count
    steps_made: Count
    spent: Spent
    cells: Annotated[int, Meta(ge=1)]
    warnings: list[str]
    failures: dict[str, str]
    task_fingerprint: str
    code_fingerprint: str | None
    versions: dict[str, str]
    device: str
    commit: str | None
    command: str | None
    created: str

    def __post_init__(self) -> None:
        _require(len(set(self.seeds)) == len(self.seeds), "seeds", "must be distinct")
        for place, values in self._per_seed():
            fits = len(values) == len(self.seeds)
            _require(fits, place, f"must have {len(self.seeds)} entries, one for each seed")
            finite = all(value is None or math.isfinite(value) for value in values)
            _require(finite, place, "must hold finite numbers or null")
        for name, errors in self.standard_errors.items():
            _require(name in self.metrics, f"standard_errors.{name}", "is of no metric")
            _require(all(e is None or e >= 0 for e in errors), f"standard_errors.{name}", "must not be negative")
        seeds = set(map(str, self.seeds))
        _require(set(self.failures) <= seeds, "failures", "must name seeds of this record")
        _require(set(self.bounded_by) <= set(self.bounds), "bounded_by", "must name bounds of this record")
        try:
            datetime.fromisoformat(self.created)
        except ValueError as error:
            raise RecordError("created: must be an ISO 8601 time") from error

    def _per_seed(self) -> Iterator[tuple[str, list[Any]]]:
        """Every list that has an entry for each seed, with its place."""
        for name, values in self.metrics.items():
            yield f"metrics.{name}", values
        for name, values in self.standard_errors.items():
            yield f"standard_errors.{name}", values
        for name, curve in self.curves.items():
            for index, row in enumerate(curve.values):
                yield f"curves.{name}.values[{index}]", row
        yield "episodes", self.episodes

    @property
    def failed(self) -> int:
        """How many seeds have no score."""
        return len(self.failures)

    def finished(self, metric: str) -> list[float]:
        """The values of a metric that are there."""
        return [value for value in self.metrics.get(metric, []) if value is not None]


def _require(condition: bool, place: str, problem: str) -> None:
    if not condition:
        raise RecordError(f"{place}: {problem}")
