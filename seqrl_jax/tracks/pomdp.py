"""The track of tabular POMDPs: what an agent loses by acting on the observation, and which methods win it back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seqrl_jax.agents.base import Agent, horizon_class
from seqrl_jax.agents.configuration import configuration, modules
from seqrl_jax.agents.registry import AGENTS, make_agent
from seqrl_jax.exact.solve import Solution, cache_directory, solve
from seqrl_jax.naming import SpecError, base
from seqrl_jax.results.record import Bound, Policy, Record, Spent
from seqrl_jax.tasks.facts import facts
from seqrl_jax.tasks.registry import FILE, TASKS, describe, make, task_settings
from seqrl_jax.tasks.simulator import tabular_env, tabular_params
from seqrl_jax.tasks.tabular import TabularPOMDP, fingerprint
from seqrl_jax.tracks.agents import CLAIM, RETURN, agent_entry, agent_facts, outcome_of, parameters_in
from seqrl_jax.tracks.base import Budget, Column, Entry, Loop, Outcome, Picture, Scale
from seqrl_jax.tracks.oracles import ORACLES
from seqrl_jax.tracks.training import stacked, train_row

MAP, MEMORYLESS, HISTORY = "memoryless_deterministic", "memoryless_stochastic", "history"


@dataclass(frozen=True, eq=False)
class PomdpProblem:
    """A tabular task with its certified values."""

    spec: str
    task: TabularPOMDP
    solution: Solution

    @property
    def fingerprint(self) -> str:
        return self.solution.fingerprint

    @property
    def bounds(self) -> Mapping[str, Bound]:
        return {name: Bound(v.lower, v.upper, v.method) for name, v in self.solution.values.items()}

    @property
    def program(self) -> int:
        """The class of its horizon: what has to be as long as an episode is as long as that."""
        return horizon_class(self.task.horizon)


def problem(spec: str) -> PomdpProblem:
    """The task that `spec` names and its solution, from the user's cache where it is known."""
    task = make(spec)
    return PomdpProblem(spec, task, solve(task, cache_directory()))


def solved(specs: Sequence[str], progress: Callable[[int, int], None] = lambda done, total: None) -> list[PomdpProblem]:
    """The problem of each."""
    problems = []
    for spec in specs:
        problems.append(problem(spec))
        progress(len(problems), len(specs))
    return problems


@dataclass(frozen=True)
class PomdpTrack:
    """See `tracks.base.Track`."""

    name: str = "pomdp"
    about: str = "partially observed tasks, solved exactly"

    @property
    def tasks(self) -> Mapping[str, Entry]:
        return {
            name: Entry(about.idea, detail=about.detail, settings=task_settings(name))
            for name in TASKS
            for about in [describe(name)]
        }

    @property
    def methods(self) -> Mapping[str, Entry]:
        oracles = {name: Entry(oracle.about) for name, oracle in ORACLES.items()}
        return oracles | {name: agent_entry(name, entry) for name, entry in AGENTS.items()}

    @property
    def oracles(self) -> Sequence[str]:
        """The methods that learn nothing."""
        return tuple(ORACLES)

    @property
    def memoryless_agents(self) -> Sequence[str]:
        return tuple(name for name, entry in AGENTS.items() if entry.agent.memoryless)

    @property
    def columns(self) -> Sequence[Column]:
        return (
            Column(RETURN, "return", unit="return", better="higher"),
            Column(CLAIM, "what its own value says", unit="return", better=None),
        )

    @property
    def scales(self) -> Sequence[Scale]:
        return (
            Scale("normalised", "random", HISTORY, "0 is the uniform policy, 1 the best policy of the whole history"),
            Scale("memory", MEMORYLESS, HISTORY, "0 is the best policy of the observation, 1 that of the history"),
        )

    @property
    def bounds(self) -> Mapping[str, str]:
        return {
            "random": "the uniform policy",
            MAP: "the best map from observation to action",
            MEMORYLESS: "the best distribution of actions given the observation",
            HISTORY: "the best policy of the whole history",
            "state": "the best policy that sees the state",
        }

    def knows(self, task: str) -> bool:
        return base(task) in TASKS or bool(FILE.fullmatch(task))

    def check(self, tasks: Sequence[str], methods: Sequence[str]) -> None:
        envs = {spec: tabular_env(make(spec)) for spec in tasks}
        for method in methods:
            if method in ORACLES:
                continue
            agent = make_agent(method)
            for spec, env in envs.items():
                if reason := agent.refuses(env):
                    raise SpecError(f"{method!r} cannot run on {spec!r}: {reason}")

    def problems(self, specs: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[PomdpProblem]:
        return solved(specs, progress)

    def fingerprint(self, task: str) -> str:
        return fingerprint(make(task))

    def config(self, method: str, problem: PomdpProblem, budget: Budget) -> dict[str, Any]:
        if method in ORACLES:
            return {}
        fitted = make_agent(method).for_run(problem.task.horizon, budget.steps)
        return {**configuration(fitted), "steps": budget.steps, "evaluations": budget.evaluations}

    def code(self, method: str) -> Sequence[str]:
        if method in ORACLES:
            return ["seqrl_jax.tracks.oracles"]
        return ["seqrl_jax.tracks.training", *modules(make_agent(method))]

    def task_code(self, task: str) -> Sequence[str]:
        return ()

    def row(self, method: str, problems: Sequence[PomdpProblem], budget: Budget, loop: Loop) -> Sequence[Outcome]:
        if method in ORACLES:
            return [_oracle(method, problem, budget) for problem in problems]
        agent = make_agent(method)
        # Tasks that each fit may be padded to a shape that does not: then each is a program of its own.
        together = agent.refuses(tabular_env(*(problem.task for problem in problems))) is None
        programs = [problems] if together else [[problem] for problem in problems]
        tasks = [stacked([problem.task for problem in program]) for program in programs]
        rows = [(train_row(agent, each, budget, loop), each.size) for each in tasks]
        bounded = _bounded_by(agent.memoryless, agent.acts)
        cells = [(trained, number) for trained, size in rows for number in range(size)]
        return [
            outcome_of(agent, trained, number, bounded, _parameters(agent, problem, budget))
            for problem, (trained, number) in zip(problems, cells, strict=True)
        ]

    def task_facts(self, task: str) -> Mapping[str, str]:
        return facts(make(task))

    def method_facts(self, method: str) -> Mapping[str, str]:
        return {} if base(method) in ORACLES else agent_facts(method)

    def notes(self, records: Sequence[Record]) -> Sequence[str]:
        return ()

    def errors(self, records: Sequence[Record]) -> Sequence[str]:
        return ()

    def pictures(self, records: Sequence[Record]) -> Sequence[Picture]:
        return ()


POMDP = PomdpTrack()


def _parameters(agent: Agent, problem: PomdpProblem, budget: Budget) -> int:
    return parameters_in(agent, tabular_env(problem.task), tabular_params(problem.task), budget)


def _bounded_by(memoryless: bool, acts: Policy) -> list[str]:
    """The bounds of a policy of this kind: one that is greedy on the observation is a map from it to actions."""
    deterministic = [MAP] if acts == "greedy" else []
    return [HISTORY, MEMORYLESS, *deterministic] if memoryless else [HISTORY]


def _oracle(method: str, problem: PomdpProblem, budget: Budget) -> Outcome:
    oracle, began = ORACLES[method], time.perf_counter()
    scores, errors = oracle.scores(problem.task, problem.solution, budget.seeds)
    return Outcome(
        metrics={RETURN: list(scores)},
        standard_errors={RETURN: list(errors)},
        bounded_by=_bounded_by(oracle.memoryless, oracle.acts),
        policy=oracle.acts,
        episodes=[oracle.episodes] * len(budget.seeds),
        spent=Spent(evaluation=time.perf_counter() - began),
    )
