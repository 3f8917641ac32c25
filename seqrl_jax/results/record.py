"""What is kept of one cell of a table: one method on one task with N seeds, the same for every track.

A schema that has been published is frozen (`docs/record.schema.json`): a change is a new version beside a reader of the
old one. The field `schema` of a file is the tag of its struct, so that version 2 is added like this:

1. `Record` as it stands here is renamed `Record1` and never touched again; VERSION is 2.
2. A function makes a `Record` of a `Record1`, with what the old one did not say as null.
3. `encoding.from_json` decodes `Record1 | Record`, by the tag, and passes the first kind through that function.
4. A file of the new version joins the golden ones in the tests; those of the old versions stay.

Everything else, writing included, knows the newest version alone.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

PerSeed = list[float | None]
"""[N] a number for each seed, None where there is none."""
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, Meta(ge=0)]
Name = Annotated[str, Meta(min_length=1)]
Policy = Literal["greedy", "sampled"]

VERSION = 1
"""The version of the schema that is written; older ones are read."""
TOLERANCE = 1e-6
"""Relative, where a bound's lower end may lie above its upper end by rounding."""


MOST = sys.float_info.max
LARGEST = 1e100
"""What is computed of larger numbers (sums, squares, scores between bounds) may overflow: they are kept, not shown."""
ISO_8601 = re.compile(r"\d{4}(-\d\d-\d\d|\d{4}|-?W\d\d(-?\d)?)(T[\d:.,]+(Z|[+-][\d:]+)?)?", re.ASCII)
"""Its form; whether there is such a day is Python's to say, which reads other forms too."""


class RecordError(ValueError):
    """A record that cannot be: the message names the field."""


class Bound(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A value known to lie in [lower, upper]; method: how each end was proved, in words."""

    lower: float
    upper: float
    method: str

    def __post_init__(self) -> None:
        if -MOST <= self.lower <= self.upper <= MOST:
            return
        _require(_is_finite(self.lower), "lower", "must be a finite number")
        _require(_is_finite(self.upper), "upper", "must be a finite number")
        slack = TOLERANCE * max(1.0, abs(self.upper))
        _require(self.lower <= self.upper + slack, "lower", "must not lie above upper")

    @property
    def is_exact(self) -> bool:
        """Whether the ends agree to 1e-6, relative where the value exceeds 1."""
        return self.upper - self.lower <= TOLERANCE * max(1.0, abs(self.upper))

    def meets(self, other: Bound) -> bool:
        """Whether both may be of one value: their intervals meet, but for rounding."""
        slack = TOLERANCE * max(1.0, abs(self.upper), abs(other.upper))
        return max(self.lower, other.lower) <= min(self.upper, other.upper) + slack


class Curve(Struct, frozen=True, forbid_unknown_fields=True):
    """A quantity along another: values [E][N] at increasing places [E]; x: what the places are, with their unit."""

    x: str
    at: list[float]
    values: list[PerSeed]

    def __post_init__(self) -> None:
        _require(_are_finite(self.at), "at", "must hold finite numbers")
        _require(all(a < b for a, b in zip(self.at, self.at[1:])), "at", "must increase")
        _require(len(self.values) == len(self.at), "values", f"must have {len(self.at)} rows, one for each place")


class Spent(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Seconds of wall time of the compiled program that a cell was part of."""

    compilation: Seconds = 0.0
    training: Seconds = 0.0
    evaluation: Seconds = 0.0

    def __post_init__(self) -> None:
        for name, seconds in zip(self.__struct_fields__, (self.compilation, self.training, self.evaluation)):
            _require(_is_finite(seconds), name, "must be a finite number")


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="schema", tag=VERSION):
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
        count = len(self.seeds)
        for place, values in self._per_seed():
            if len(values) != count:
                raise RecordError(f"{place}: must have {count} entries, one for each seed")
            _require(_are_finite(values), place, "must hold finite numbers or null")
        for name, errors in self.standard_errors.items():
            _require(name in self.metrics, f"standard_errors.{name}", "is of no metric")
            _require(all(e is None or e >= 0 for e in errors), f"standard_errors.{name}", "must not be negative")
        place_of = {str(seed): index for index, seed in enumerate(self.seeds)} if self.failures else {}
        for seed in self.failures:
            _require(seed in place_of, f"failures.{seed}", "is no seed of this record")
            measured = [values[place_of[seed]] is not None for values in self.metrics.values()]
            _require(not (measured and all(measured)), f"failures.{seed}", "has a number in every metric")
        for name in self.bounded_by:
            _require(name in self.bounds, f"bounded_by.{name}", "is no bound of this record")
        _require_json("config", self.config)
        time_of(self.created)

    @property
    def time(self) -> datetime:
        """When it was made."""
        return time_of(self.created)

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
    def largest(self) -> float:
        """The largest magnitude of all that is computed with."""
        rows: list[Sequence[float | None]] = [*self.metrics.values(), *self.standard_errors.values()]
        for curve in self.curves.values():
            rows += [curve.at, *curve.values]
        rows.append([end for bound in self.bounds.values() for end in (bound.lower, bound.upper)])
        rows.append([self.spent.compilation, self.spent.training, self.spent.evaluation])
        return max(map(abs, filter(None, chain.from_iterable(rows))), default=0.0)

    @property
    def failed(self) -> int:
        """How many seeds have no score."""
        return len(self.failures)

    def finished(self, metric: str) -> list[float]:
        """The values of a metric that are there."""
        return [value for value in self.metrics.get(metric, []) if value is not None]


def time_of(created: str) -> datetime:
    """The moment that `created` says; without an offset it is of UTC. Raises: RecordError for what is not ISO 8601."""
    try:
        moment = datetime.fromisoformat(created if ISO_8601.fullmatch(created) else "")
    except ValueError as error:
        raise RecordError("created: must be an ISO 8601 time") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _require_json(place: str, value: Any) -> None:
    """Refuse what JSON cannot hold, or holds but does not give back."""
    if isinstance(value, dict):
        for key, entry in value.items():
            _require(isinstance(key, str), place, "must have strings for keys")
            _require_json(f"{place}.{key}", entry)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            _require_json(f"{place}[{index}]", entry)
    elif isinstance(value, int | float):
        _require(_is_finite(value), place, "must be a finite number")
    else:
        _require(value is None or isinstance(value, str), place, f"cannot be a {type(value).__name__}")


def _is_finite(value: float) -> bool:
    """Whether a number is one of float64: no infinity, no NaN, and no integer beyond its range."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _are_finite(values: list[Any]) -> bool:
    """Whether all numbers are finite; None among them does not count. Their sum tells most of it, and far sooner."""
    try:
        return math.isfinite(math.fsum(filter(None, values)))
    except (OverflowError, ValueError):
        return all(value is None or _is_finite(value) for value in values)


def _require(condition: bool, place: str, problem: str) -> None:
    if not condition:
        raise RecordError(f"{place}: {problem}")
