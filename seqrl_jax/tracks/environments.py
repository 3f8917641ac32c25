"""The track of environments that are no tables: the suite's own, gymnax's, and anybody's by the path of a function."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from seqrl_jax import naming
from seqrl_jax.agents.base import Agent
from seqrl_jax.agents.configuration import configuration, modules
from seqrl_jax.agents.registry import AGENTS, make_agent
from seqrl_jax.descriptions import described
from seqrl_jax.exact.solve import cache_directory, solve
from seqrl_jax.naming import SpecError
from seqrl_jax.results.record import Bound, Record
from seqrl_jax.tasks.contract import table_of
from seqrl_jax.tasks.environments import ENVIRONMENTS, GYMNAX, environment, environment_settings, known, modules_of
from seqrl_jax.tasks.ready import HISTORY, MEMORYLESS, Ready
from seqrl_jax.tasks.wrappers.registry import ENVIRONMENT_WRAPPERS, wrapper_settings
from seqrl_jax.tracks.agents import RETURN, agent_entry, agent_facts, outcome_of, parameters_in
from seqrl_jax.tracks.base import Budget, Column, Entry, Loop, Outcome, Picture, Scale
from seqrl_jax.tracks.training import alone, train_row

PROVED = (MEMORYLESS, HISTORY)
"""What is proved of an environment."""


@dataclass(frozen=True, eq=False)
class EnvironmentProblem:
    """An environment with what is proved of it, which may be nothing."""

    spec: str
    ready: Ready

    @property
    def fingerprint(self) -> str:
        """Of its name, its shapes and its numbers."""
        env = self.ready.env
        shapes = f"{self.spec} {env.action_space} {env.observation_space} {env.longest}"
        digest = hashlib.sha256(shapes.encode())
        for leaf in jax.tree.leaves(self.ready.params):
            digest.update(np.asarray(leaf).tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def bounds(self) -> Mapping[str, Bound]:
        if self.ready.table is not None:
            table = naming.made(self.spec, lambda: table_of(self.ready))
            values = solve(table, cache_directory()).values
            return {name: Bound(values[name].lower, values[name].upper, values[name].method) for name in PROVED}
        return {name: Bound(proved.lower, proved.upper, proved.how) for name, proved in self.ready.certified.items()}

    @property
    def program(self) -> str:
        """Environments differ in their code: each is a program of its own."""
        return self.spec


@dataclass(frozen=True)
class EnvironmentTrack:
    """See `tracks.base.Track`. Returns are without the discount, with which agents learn."""

    name: str = "environments"
    about: str = "environments of any size: the suite's own, gymnax's and yours; certified where that is possible"

    @property
    def tasks(self) -> Mapping[str, Entry]:
        own = {
            name: Entry(about.idea, detail=about.detail, settings=environment_settings(name))
            for name, build in ENVIRONMENTS.items()
            for about in [described(build)]
        }
        theirs = "gymnax:NAME, an environment of gymnax; MODULE:FUNCTION is one of your own"
        return own | {GYMNAX: Entry(theirs, settings=wrapper_settings(ENVIRONMENT_WRAPPERS))}

    @property
    def methods(self) -> Mapping[str, Entry]:
        return {name: agent_entry(name, entry) for name, entry in AGENTS.items()}

    @property
    def columns(self) -> Sequence[Column]:
        return (Column(RETURN, "return", unit="return without a discount", better="higher"),)

    @property
    def scales(self) -> Sequence[Scale]:
        return (Scale("memory", MEMORYLESS, HISTORY, "0 is the best policy of the observation, 1 that of the history"),)

    @property
    def bounds(self) -> Mapping[str, str]:
        return {
            MEMORYLESS: "the best distribution of actions given the observation",
            HISTORY: "the best policy of the whole history",
        }

    def knows(self, task: str) -> bool:
        return known(task)

    def check(self, tasks: Sequence[str], methods: Sequence[str]) -> None:
        environments = {spec: environment(spec) for spec in tasks}
        for method in methods:
            agent = make_agent(method)
            for spec, ready in environments.items():
                if reason := agent.refuses(ready.env) or _fails(agent, ready):
                    raise SpecError(f"{method!r} cannot run on {spec!r}: {reason}")

    def problems(self, specs: Sequence[str], progress: Any = lambda done, total: None) -> list[EnvironmentProblem]:
        problems = []
        for spec in specs:
            problems.append(EnvironmentProblem(spec, environment(spec)))
            progress(len(problems), len(specs))
        return problems

    def fingerprint(self, task: str) -> str:
        return EnvironmentProblem(task, environment(task)).fingerprint

    def config(self, method: str, problem: EnvironmentProblem, budget: Budget) -> dict[str, Any]:
        fitted = make_agent(method).for_run(problem.ready.env.longest, budget.steps)
        return {**configuration(fitted), "steps": budget.steps, "evaluations": budget.evaluations}

    def code(self, method: str) -> Sequence[str]:
        return ["seqrl_jax.tracks.training", *modules(make_agent(method))]

    def task_code(self, task: str) -> Sequence[str]:
        return modules_of(task)

    def row(self, method: str, problems: Sequence[EnvironmentProblem], budget: Budget, loop: Loop) -> list[Outcome]:
        agent = make_agent(method)
        outcomes = []
        for problem in problems:
            trained = train_row(agent, alone(problem.ready.env, problem.ready.params), budget, loop)
            ends = PROVED if agent.memoryless else (HISTORY,)
            count = parameters_in(agent, problem.ready.env, problem.ready.params, budget)
            outcomes.append(outcome_of(agent, trained, 0, [end for end in ends if end in problem.bounds], count))
        return outcomes

    def task_facts(self, task: str) -> Mapping[str, str]:
        return {}

    def method_facts(self, method: str) -> Mapping[str, str]:
        return agent_facts(method)

    def notes(self, records: Sequence[Record]) -> Sequence[str]:
        open_ = sorted({record.task for record in records if not record.bounds})
        return [f"Not certified: {', '.join(open_)}."] if open_ else []

    def errors(self, records: Sequence[Record]) -> Sequence[str]:
        return ()

    def pictures(self, records: Sequence[Record]) -> Sequence[Picture]:
        return ()


ANY = EnvironmentTrack()


def _fails(agent: Agent, ready: Ready) -> str | None:
    """What an agent says that finds out where it is fitted, or in its first update, that it cannot learn there; nothing
    is computed."""
    try:
        fitted = agent.for_run(ready.env.longest, agent.steps_per_update)
        update = lambda key: fitted.update(ready.env, ready.params, fitted.init(key, ready.env, ready.params))
        jax.eval_shape(update, jax.random.key(0))
    except ValueError as error:
        return str(error)
    return None
