"""What a claim is, the rules by which one is decided, and what the evidence is read from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from seqrl_jax.files import why_no_directory
from seqrl_jax.results import store
from seqrl_jax.results.manifest import is_release, refuse_changed
from seqrl_jax.results.provenance import read_measurement
from seqrl_jax.results.record import Record
from seqrl_jax.results.scores import scaled_counted
from seqrl_jax.results.statistics import Estimate, difference, over_tasks
from seqrl_jax.results.statistics import mean as mean_over_tasks
from seqrl_jax.tracks.registry import TRACKS
from seqrl_jax.tracks.suites import SUITES

STATES = "state space and observations"
METHODS = "which methods handle partial observability"
MODELS = "state-space models"
HISTORIES = "history states"
ALIGNMENT = "language models and RLHF"
DPO = "DPO"
DIALOGUE = "dialogue and multi-turn"
SOURCES = (STATES, METHODS, MODELS, HISTORIES, ALIGNMENT, DPO, DIALOGUE)
"""The parts of the lecture, in its order."""

VALID = 1e-6
"""What is exact is equal to within this."""
VERDICTS = {True: "holds", False: "does not", None: "not decided"}
"""Of what a claim comes to, in words."""
Row = Mapping[str, Any]
Rule = Callable[[Estimate], bool | None]
"""Of a value with its interval: whether the claim holds, None where that is not decided."""


class Missing(Exception):
    """Evidence that was not recorded; the message says what, and which command records it."""


class NotMeasured(Missing):
    """A cell that is recorded, and of which there is no such metric: nothing that could be recorded is missing."""


@dataclass(frozen=True)
class Measured:
    """What a claim comes to.

    value: None where nothing was measured. low, high: its interval, None where there is none. holds: None where it is
    not decided. unit: of the three. evidence: what they were measured on, or what is missing.
    """

    value: float | None
    low: float | None
    high: float | None
    holds: bool | None
    unit: str
    evidence: str


@dataclass(frozen=True)
class Claim:
    """A statement of the lecture. source: its place there. rule: when it holds, in words. measure: that, measured."""

    id: str
    statement: str
    source: str
    rule: str
    measure: Callable[[Evidence], Measured]


def above(threshold: float) -> Rule:
    """Holds where the whole interval lies above the threshold, fails where none of it does. Without one: undecided."""

    def rule(found: Estimate) -> bool | None:
        if found.low is None or found.high is None:
            return None
        return _one_of(found.low > threshold, found.high <= threshold)

    return rule


def below(threshold: float) -> Rule:
    """Holds where the whole interval lies below the threshold, fails where none of it does. Without one: undecided."""

    def rule(found: Estimate) -> bool | None:
        if found.low is None or found.high is None:
            return None
        return _one_of(found.high < threshold, found.low >= threshold)

    return rule


def within(low: float, high: float) -> Rule:
    """Holds where the whole interval lies in [low, high], fails where none of it does. Without one: undecided."""

    def rule(found: Estimate) -> bool | None:
        if found.low is None or found.high is None:
            return None
        return _one_of(low <= found.low and found.high <= high, found.high < low or found.low > high)

    return rule


def _one_of(holds: bool, fails: bool) -> bool | None:
    return True if holds else False if fails else None


def exactly(value: float) -> Estimate:
    """A value without error."""
    return Estimate(value, value, value)


def between_ends(low: float, high: float) -> Estimate:
    """A value that is proved to lie between two ends."""
    return Estimate(low, low, high)


def decided(found: Estimate, rule: Rule, unit: str, evidence: str) -> Measured:
    """What was measured, with its verdict."""
    return Measured(found.value, found.low, found.high, rule(found), unit, evidence)


def judged(claim: Claim, evidence: Evidence) -> Measured:
    """What the claim comes to; not decided where its evidence was not recorded, or is of another form."""
    try:
        return claim.measure(evidence)
    except Missing as missing:
        return Measured(None, None, None, None, "", str(missing))
    except KeyError as missing:
        # Measurements are files of many forms, which other versions may have written.
        return Measured(None, None, None, None, "", f"a recorded measurement has no {missing}; record it again")
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        return Measured(None, None, None, None, "", f"a recorded measurement is of another form ({error})")


def summary(claims: Iterable[Claim], directory: Path | None = None) -> str:
    """A line for each claim: its verdict, what it says, what was measured, and its id.

    Args: directory: of the evidence; where it is not there, only what is computed exactly is measured.
    """
    evidence = Evidence(directory if directory is not None and directory.is_dir() else None)
    return "\n".join(_in_a_line(claim, judged(claim, evidence)) for claim in claims)


def _in_a_line(claim: Claim, found: Measured) -> str:
    number = lambda value: f"{round(value, 9) + 0.0:.4g}"
    measured = ""
    if found.value is not None:
        low, high = (None if end is None else number(end) for end in (found.low, found.high))
        measured = f" {number(found.value)}{'' if low in (None, high) else f' [{low}, {high}]'} {found.unit}."
    return f"{VERDICTS[found.holds]:<13}{claim.statement}{measured} ({claim.id})"


@dataclass(frozen=True, eq=False)
class Evidence:
    """A directory of recorded suites, each a directory in it, and of measurements; or a release, which holds suites.
    They are read when they are asked for.

    directory: None where there is none, so that only what is computed exactly is measured.
    damage: what could not be read so far, a line each.

    Raises: ValueError where there is no such directory; ReleaseError where it or a suite is a release that is not what
    was released: before anything is measured, as what cannot be read later leaves a claim undecided.
    """

    directory: Path | None = None
    damage: list[str] = field(default_factory=list)
    _suites: dict[str, dict[tuple[str, str], Record]] = field(default_factory=dict)
    _measurements: dict[str, Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.directory is None:
            return
        if wrong := why_no_directory(self.directory):
            raise ValueError(f"no results: {self.directory} {wrong}")
        for place in (self.directory, *self.directory.iterdir()):
            refuse_changed(place)

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return self.directory is not None and (self.directory / name).is_file()

    def record(self, suite: str, method: str, task: str) -> Record:
        """One cell of a recorded suite. Raises: Missing."""
        if suite not in self._suites:
            self._suites[suite] = self._read(suite)
        found = self._suites[suite].get((method, task))
        if found is None:
            command = f"seqrl run {suite} --out {self._place(suite)}"
            raise Missing(f"not recorded: {method} on {task} in the suite {suite}, see `{command}`")
        return found

    def measurement(self, name: str, command: str) -> Row:
        """What a benchmark wrote. Args: command: that records it, less its --out. Raises: Missing; ValueError."""
        if not self.has(name):
            raise Missing(f"not recorded: {name}, see `{command} --out {self._place(name)}`")
        assert self.directory is not None
        if name not in self._measurements:
            self._measurements[name] = read_measurement(self.directory / name)
        return self._measurements[name]

    def rows(self, name: str, command: str, fields: Sequence[str], part: str = "rows", **where: object) -> list[Row]:
        """The rows of a measurement with these values; there is one at least, and each has these fields.

        Raises: Missing, also where a row lacks a field; ValueError.
        """
        every = self.measurement(name, command).get(part)
        rows = [row for row in every or [] if all(row.get(key) == value for key, value in where.items())]
        lacking = [field for field in fields if any(field not in row for row in rows)]
        if not rows or lacking:
            asked = ", ".join(f"{key} {value}" for key, value in where.items()) or part
            what = f"{' and '.join(lacking)} of {asked}" if lacking else asked
            raise Missing(f"{name} has no {what}, see `{command} --out {self._place(name)}`")
        return rows

    def by_seed(self, suite: str, method: str, task: str, metric: str) -> dict[int, float]:
        """Seed -> a metric of a cell. Raises: Missing, also where a seed failed: the others alone would flatter it;
        NotMeasured where the cell has no such metric."""
        record = self.record(suite, method, task)
        if metric not in record.metrics:
            raise NotMeasured(f"{method} on {task} in the suite {suite} has no {metric}")
        values = record.metrics[metric]
        found = {seed: value for seed, value in zip(record.seeds, values, strict=False) if value is not None}
        if len(found) < len(record.seeds):
            raise Missing(f"{method} on {task} in the suite {suite} has no {metric} of some seeds")
        return found

    def scores(self, suite: str, method: str, task: str, scale: str) -> dict[int, float]:
        """Seed -> the score of a cell on a scale of its track, failed seeds counted; nothing where its bounds allow no
        such score. Raises: Missing."""
        record = self.record(suite, method, task)
        track = TRACKS[record.track]
        ends = next(each for each in track.scales if each.name == scale)
        values = scaled_counted(record, track.columns[0].metric, ends.zero, ends.one, record.bounds) or []
        return dict(zip(record.seeds, values, strict=False))

    def _read(self, suite: str) -> dict[tuple[str, str], Record]:
        if self.directory is None:
            return {}
        if is_release(self.directory):
            records = [record for record in self._released if record.suite == suite]
        elif (self.directory / suite).is_dir():
            records, damage = store.read(self.directory / suite)
            self.damage.extend(f"{suite}: {line}" for line in damage)
        else:
            records = []
        return {(record.method, record.task): record for record in records if record.track in TRACKS}

    @cached_property
    def _released(self) -> list[Record]:
        """What the release holds, which its directory is."""
        assert self.directory is not None
        records, damage = store.read(self.directory)
        self.damage.extend(damage)
        return records

    def _place(self, name: str) -> str:
        return f"{'benchmarks/results' if self.directory is None else self.directory}/{name}"


def score_of(
    evidence: Evidence, suite: str, method: str, scale: str, tasks: Iterable[str] | None = None
) -> tuple[Estimate, str]:
    """The mean score of a method over tasks (None: of the suite), and what that was measured on."""
    scores = {task: evidence.scores(suite, method, task, scale) for task in tasks or SUITES[suite].tasks}
    samples = {task: list(of_seed.values()) for task, of_seed in scores.items() if of_seed}
    if not samples:
        raise Missing(f"no task of the suite {suite} has bounds for the score {scale} of {method}")
    return over_tasks(list(samples.values()), mean_over_tasks), f"`seqrl run {suite}`: {method} on {_named(samples)}"


def gain_of(
    evidence: Evidence,
    suite: str,
    first: str,
    second: str,
    scale: str = "normalised",
    tasks: Iterable[str] | None = None,
) -> tuple[Estimate, str]:
    """By how much the first method's score exceeds the second's, paired by seed, and what that was measured on."""
    over = list(tasks or SUITES[suite].tasks)
    sides = [{task: evidence.scores(suite, method, task, scale) for task in over} for method in (first, second)]
    scored = [task for task in over if sides[0][task]]
    return paired([(sides[0][task], sides[1][task]) for task in scored]), (
        f"`seqrl run {suite}`: {first} less {second} on {_named(scored)}, paired by seed"
    )


def metric_gain(
    evidence: Evidence, suite: str, first: tuple[str, str], second: tuple[str, str], tasks: Iterable[str] | None = None
) -> tuple[Estimate, str]:
    """By how much a (method, metric) exceeds another, paired by seed, a mean over tasks."""
    over = list(tasks or SUITES[suite].tasks)
    pairs = [
        (evidence.by_seed(suite, first[0], task, first[1]), evidence.by_seed(suite, second[0], task, second[1]))
        for task in over
    ]
    less = f"{second[0]}'s" if second[0] != first[0] else f"its {second[1]}"
    return paired(pairs), f"`seqrl run {suite}`: {first[1]} of {first[0]} less {less} on {_named(over)}, paired by seed"


def paired(pairs: Iterable[tuple[Mapping[int, float], Mapping[int, float]]]) -> Estimate:
    """The mean difference of two methods' numbers by seed, over tasks. Raises: Missing where no seed is of both."""
    common = [[(one[seed], other[seed]) for seed in one if seed in other] for one, other in pairs]
    if not common or not all(common):
        raise Missing("the two methods have no seed in common")
    return difference(common)


def apart(one: Estimate, other: Estimate) -> Estimate:
    """one - other where seeds are not paired: intervals of both, added, which is wider than it need be."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Estimate(one.value - other.value, None, None)
    return Estimate(one.value - other.value, one.low - other.high, one.high - other.low)


def estimate_in(row: Row) -> Estimate:
    """The {"value", "low", "high"} of a row."""
    return Estimate(row["value"], row["low"], row["high"])


def _named(tasks: Iterable[str]) -> str:
    names = list(tasks)
    return names[0] if len(names) == 1 else f"{len(names)} tasks"
