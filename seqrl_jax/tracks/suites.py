"""What is run together: tasks, agents, seeds and a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seqrl_jax import naming
from seqrl_jax.agents.registry import AGENTS, make_agent
from seqrl_jax.tracks.oracles import ORACLES
from seqrl_jax.results.store import Cell
from seqrl_jax.lm.registry import METHODS, make_method
from seqrl_jax.lm.tasks import TASKS as LM_TASKS
from seqrl_jax.lm.tasks import make_task
from seqrl_jax.tasks.registry import TASKS, make


@dataclass(frozen=True)
class Suite:
    """A table to fill.

    tasks, agents: spec strings. seeds: how many. steps: environment steps per cell. evaluations: points of the curve.
    """

    name: str
    about: str
    tasks: tuple[str, ...]
    agents: tuple[str, ...]
    seeds: int
    steps: int
    evaluations: int = 20


@dataclass(frozen=True)
class AlignmentSuite:
    """A table of the language-model track: methods on tasks, so many seeds of each."""

    name: str
    about: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: int


HEADLINE = (
    "tmaze:length=10",
    "repeat_previous",
    "heaven_hell",
    "peek_maze",
    "locked_doors",
    "tiger",
    "flicker_grid",
    "mini_hallway",
)
"""The tasks by which agents with memory are judged."""

SUITES: dict[str, Suite | AlignmentSuite] = {
    "quick": Suite(
        name="quick",
        about="every tabular task, every memoryless agent, recurrent PPO and the oracles",
        tasks=tuple(TASKS),
        agents=(*ORACLES, *(name for name, entry in AGENTS.items() if entry.agent.memoryless), "ppo"),
        seeds=5,
        steps=200_000,
    ),
    "headline": Suite(
        name="headline",
        about="eight tasks that need memory: recurrent PPO, PQN and DRQN, beside Q-learning without it",
        tasks=HEADLINE,
        agents=(*ORACLES, "ppo", "pqn", "drqn", "q_obs", "q_window"),
        seeds=10,
        steps=600_000,
        evaluations=10,
    ),
    "pomdp": Suite(
        name="pomdp",
        about="every tabular task, every agent and the oracles",
        tasks=(*TASKS, "tmaze:length=10"),
        agents=(*ORACLES, *AGENTS),
        seeds=10,
        steps=200_000,
        evaluations=10,
    ),
    "lm": AlignmentSuite(
        name="lm",
        about="aligning a toy language model: every method on every one-step task",
        tasks=tuple(LM_TASKS),
        methods=tuple(METHODS),
        seeds=5,
    ),
}


def suite(name: str) -> Suite | AlignmentSuite:
    """The suite of this name. Raises SpecError with the nearest names."""
    return naming.lookup("suite", name, SUITES)


def check(suite: Suite) -> None:
    """Refuse a suite that cannot run, before anything is computed.

    Raises: SpecError for an unknown task or agent (with the nearest names), for a repetition, or for fewer than one
    seed or step; what `make` raises for a task that cannot be built.
    """
    _at_least_one("seed", suite.seeds)
    _at_least_one("step", suite.steps)
    _known("task", suite.tasks, make)
    _known("agent", suite.agents, lambda agent: agent in ORACLES or make_agent(agent))


def check_alignment(suite: AlignmentSuite) -> None:
    """The same for a suite of the language-model track."""
    _at_least_one("seed", suite.seeds)
    _known("task", suite.tasks, make_task)
    _known("method", suite.methods, make_method)


def _at_least_one(what: str, number: int) -> None:
    if number < 1:
        raise naming.SpecError(f"a run needs at least one {what}, not {number}")


def _known(kind: str, specs: Sequence[str], build: Callable[[str], object]) -> None:
    for spec in specs:
        if specs.count(spec) > 1:
            raise naming.SpecError(f"{kind} {spec!r} stands twice")
    for spec in specs:
        build(spec)


def in_order(cells: Sequence[Cell]) -> list[Cell]:
    """The cells in the order of the registries: tasks, then oracles and agents; what is not in them comes last."""
    tasks, agents = list(TASKS), [*ORACLES, *AGENTS]

    def place(known: list[str], spec: str) -> tuple[int, str]:
        name = naming.base(spec)
        return known.index(name) if name in known else len(known), spec

    return sorted(cells, key=lambda cell: (place(tasks, cell.task), place(agents, cell.agent)))
