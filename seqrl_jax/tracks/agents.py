"""What tracks share in which agents of `agents` learn: what is said of one, and what each cell of a row comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from seqrl_jax.agents import registry
from seqrl_jax.agents.base import Agent
from seqrl_jax.descriptions import about_module
from seqrl_jax.naming import SpecError
from seqrl_jax.results import parameters
from seqrl_jax.results.record import Curve
from seqrl_jax.tasks.environment import Environment
from seqrl_jax.tracks.base import Budget, Entry, Outcome
from seqrl_jax.tracks.size import trained as trained_in
from seqrl_jax.tracks.training import Trained

RETURN, CLAIM = "return", "claim"
STEPS = "environment steps"


def agent_entry(name: str, entry: registry.Entry) -> Entry:
    """What is said of a registered agent: in detail, its update rule, and whether that holds where o is not Markov."""
    agent = entry.agent
    return Entry(entry.about, agent.marked_wrong, about_module(agent.learner), registry.agent_settings(name))


def agent_facts(method: str) -> Mapping[str, str]:
    """What the agent of this name reads and how its judged policy acts; nothing where there is none."""
    try:
        agent = registry.make_agent(method)
    except SpecError:
        return {}
    return {"reads": str(agent.reads), "acts": agent.acts}


def parameters_in(agent: Agent, env: Environment, params: Any, budget: Budget) -> int:
    """How many parameters an agent trains in an environment by itself; nothing is computed.

    What other tasks of its row pad its networks by is never learned, and not counted.
    """
    fitted = agent.for_run(env.longest, budget.steps)
    return trained_in(jax.eval_shape(lambda key, params: fitted.init(key, env, params), jax.random.key(0), params))


def outcome_of(agent: Agent, trained: Trained, number: int, bounded_by: list[str], count: int) -> Outcome:
    """That of the row's task of this number. bounded_by: the names of bounds that its scores cannot exceed. count: of
    its parameters there."""
    claims = {} if trained.claims is None else {CLAIM: trained.claims[number]}
    sized = parameters.metric(count, trained.scores[number])
    curve = Curve(STEPS, list(map(float, trained.steps)), [point[number] for point in trained.curve])
    return Outcome(
        metrics={RETURN: trained.scores[number], **claims, **sized},
        standard_errors={RETURN: trained.standard_errors[number]},
        curves={RETURN: curve},
        bounded_by=bounded_by,
        marked_wrong=agent.marked_wrong,
        policy=agent.acts,
        episodes=[trained.episodes] * len(trained.scores[number]),
        steps_made=trained.steps[-1],
        spent=trained.spent,
        warnings=trained.warnings[number],
        failures=trained.failures[number],
    )
