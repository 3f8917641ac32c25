"""What a track is: its tasks and methods, how a row of its table is run, and what its records mean.

Everything that runs or reports (`runs`, `report`, `commands`) knows tracks by this protocol alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from seqrl_jax.naming import Setting
from seqrl_jax.results.record import Bound, Curve, PerSeed, Policy, Record, Spent

State = TypeVar("State")


@dataclass(frozen=True)
class Entry:
    """A task or a method by name: one line about it, whether it is wrong on purpose, paragraphs that say more, and what
    can be set of it."""

    about: str
    marked_wrong: bool = False
    detail: str = ""
    settings: Sequence[Setting] = ()


@dataclass(frozen=True)
class Column:
    """A metric as a table shows it. better: which way it is; None where neither is.

    Example: Column("return", "J", unit="return", better="higher").
    """

    metric: str
    label: str
    unit: str
    better: Literal["higher", "lower"] | None


@dataclass(frozen=True)
class Scale:
    """A score between two bounds: 0 at the lower end of one, 1 at the lower end of the other; `about` says so.

    A record that lacks either has no such score, nor one whose bounds lie too close (`results.scores.scale_ends`).
    """

    name: str
    zero: str
    one: str
    about: str


@dataclass(frozen=True)
class Picture:
    """A PNG with its title and what it shows, in words."""

    title: str
    about: str
    png: bytes


@dataclass(frozen=True)
class Budget:
    """What each run may spend. steps: of training. evaluations: points of the curve. seeds: the runs of a cell."""

    steps: int
    evaluations: int
    seeds: tuple[int, ...]


class Problem(Protocol):
    """A task that is ready to run, with what is known of it.

    spec: its name as it was asked for. fingerprint: of its data. bounds: what is proved, maybe nothing.
    program: problems with equal ones run as one compiled program.
    """

    @property
    def spec(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def bounds(self) -> Mapping[str, Bound]: ...

    @property
    def program(self) -> Hashable: ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What running a cell gives: the fields of `Record` that only the track can say (see there)."""

    metrics: dict[str, PerSeed]
    standard_errors: dict[str, PerSeed] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    bounded_by: list[str] = field(default_factory=list)
    marked_wrong: bool = False
    policy: Policy = "sampled"
    episodes: list[int | None]
    steps_made: int = 0
    spent: Spent = field(default_factory=Spent)
    warnings: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Status:
    """How a running row stands, for whoever watches. steps: of training made by all its runs together. score: their
    mean, None where it is not known. runs: how many there are."""

    steps: int
    score: float | None = None
    runs: int = 1


class Loop(Protocol):
    """Carries a row through its chunks, keeps its state in between, and may stop after any of them."""

    def __call__(
        self, state: State, advance: Callable[[State], State], chunks: int, watch: Callable[[State], Status]
    ) -> State:
        """The state after `chunks` calls of `advance`, some of which an earlier process may have made.

        Args: state: a pytree of arrays, as at the beginning; what was kept of it is restored into its structure.
        """
        ...


def plain_loop(state: State, advance: Callable[[State], State], chunks: int, watch: Callable[[State], Status]) -> State:
    """The loop that keeps nothing."""
    for _ in range(chunks):
        state = advance(state)
    return state


class Track(Protocol):
    """A kind of table.

    columns: what its tables show; the first is the score. scales: the score between bounds, the first is the one that
    aggregates over tasks use. bounds: the names that its problems may prove, in the order in which tables show them,
    with their meanings.
    """

    @property
    def name(self) -> str: ...

    @property
    def about(self) -> str: ...

    @property
    def tasks(self) -> Mapping[str, Entry]: ...

    @property
    def methods(self) -> Mapping[str, Entry]: ...

    @property
    def columns(self) -> Sequence[Column]: ...

    @property
    def scales(self) -> Sequence[Scale]: ...

    @property
    def bounds(self) -> Mapping[str, str]: ...

    def knows(self, task: str) -> bool:
        """Whether this looks like the name of a task of this track."""
        ...

    def check(self, tasks: Sequence[str], methods: Sequence[str]) -> None:
        """Refuse names before anything is computed. Raises: SpecError with the nearest names; what tasks raise."""
        ...

    def problems(self, specs: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[Any]:
        """The `Problem` of each spec; progress: (done, total)."""
        ...

    def fingerprint(self, task: str) -> str:
        """That of the `Problem` of a task, as it is made here; nothing is solved. Raises: what tasks raise."""
        ...

    def config(self, method: str, problem: Any, budget: Budget) -> dict[str, Any]:
        """Every setting behind a cell, JSON values. A kept cell counts only while this is what it was."""
        ...

    def code(self, method: str) -> Sequence[str]:
        """The modules that a method's numbers come from, by name; what they import follows from them."""
        ...

    def task_code(self, task: str) -> Sequence[str]:
        """The same of what a task is, where its fingerprint is not of all its data; nothing where it is."""
        ...

    def row(self, method: str, problems: Sequence[Any], budget: Budget, loop: Loop) -> Sequence[Outcome]:
        """Run a method on problems of equal `program` with all seeds, as one compiled program: an outcome for each."""
        ...

    def task_facts(self, task: str) -> Mapping[str, str]:
        """What a task consists of, what -> words; nothing where that is not known. The task may be made for it."""
        ...

    def method_facts(self, method: str) -> Mapping[str, str]:
        """What a method reads and how it acts, what -> words; nothing of what is no method."""
        ...

    def notes(self, records: Sequence[Record]) -> Sequence[str]:
        """Sentences below the table: what a reader needs in order to read it, and why numbers are as they are."""
        ...

    def errors(self, records: Sequence[Record]) -> Sequence[str]:
        """What proves that records are wrong, beside scores above their bounds, a sentence each."""
        ...

    def pictures(self, records: Sequence[Record]) -> Sequence[Picture]:
        """Pictures beside the learning curves, which every track gets."""
        ...


@dataclass(frozen=True)
class Suite:
    """A table to fill. tasks, methods: spec strings. seeds: how many. steps: of training, each run."""

    name: str
    about: str
    track: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: int
    steps: int
    evaluations: int = 20
