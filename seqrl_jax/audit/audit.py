"""Which methods are valid on a task, and by how much the others are wrong: the exact side of every claim.

Eight kinds of rows, all exact, nothing sampled:

    gradients   each estimate of the policy gradient against the gradient itself, at one policy
    ends        what actor-critic converges to, over lambda
    claims      what Q-learning and a model of the observation believe of their plan, and what it earns
    old_data    importance-weighted estimates against policy lag
    groups      policy gradients whose rewards are compared within groups of episodes that begin alike
    luck        how much of a return's variance nobody earned (see `audit.luck`)
    whole_returns   where methods end that take luck for merit
    language    estimates of gradients where a language model is aligned (see `audit.language`)

Methods bear the names of the agents that run them. The policy at which gradients are compared is softmax of standard
normal logits (seed 0): the uniform policy would hide errors behind the symmetries of a task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seqrl_jax.agents import make_agent
from seqrl_jax.agents.policy_gradient import PolicyGradient
from seqrl_jax.agents.ppo import PPO
from seqrl_jax.agents.weights import GeneralisedAdvantage, MinusBaseline, TotalReturn, WeightField
from seqrl_jax.exact import fixed_points
from seqrl_jax.exact.chain import Chain, belief_chain, history_chain, state_chain
from seqrl_jax.exact.gradients import (
    Moments,
    class_values,
    critic,
    expected_estimate,
    moments,
    node_values,
    softmax,
    total_return_moments,
    true_gradient,
)
from seqrl_jax.exact.group_baselines import BASELINES, expected_gradient
from seqrl_jax.exact.importance import clipping_bias, effective_share
from seqrl_jax.exact.state import evaluate_memoryless, uniform_policy
from seqrl_jax.tasks.tabular import TabularPOMDP, observed

LAMBDAS = (0.0, 0.5, 0.8, 0.9, 0.95, 1.0)
LAGS = (1, 4, 16)
TRIES = 4
LAG_MOVE = 0.1
MEMBERS = 3
CLIP = 1.2
BELIEF_LIMIT = 3000
HISTORY_LIMIT = 5000
NO_GRADIENT = 1e-12
VALID = 1e-9

Row = dict[str, Any]
Progress = Callable[[int, int], None]


@dataclass
class Audit:
    """The rows of `audit`, each with its "task".

    gradients: {"estimator", "cosine", "relative_bias", "bias", "std"}; bias is the largest absolute error of an entry,
        the others are relative to the gradient's length and None where that is 0. std: of one episode's estimate.
    ends: {"lambda", "value", "best", "random"}: where actor-critic ends, in units of return.
    claims: {"method", "setting", "claims", "earns"}; setting is "observed", the fully observed twin, where Q-learning
        sees the time as well, or "partially observed".
    old_data: {"lag", "effective_share", "clipping_bias", "improvement"}: lag counts steps of the gradient, of .1 in the
        largest logit; improvement is what they won, bias that of a clipped estimate of the new value.
    observed: {"estimator", "relative_bias"}: gradients on the fully observed twin, whose critic sees state and time.
    groups: {"baseline", "members", "relative_bias"}: see `exact.group_baselines`.
    luck, whole_returns: see `audit.luck`.
    retries: {"action", "believed", "true"}: the probability that the k-th try in a row of an action ends the episode,
        as the naive model believes and as it is; the action for which they differ most.
    language: as `gradients`, of tasks of the language track; std is that of one answer's estimate.
    """

    gradients: list[Row] = field(default_factory=list)
    ends: list[Row] = field(default_factory=list)
    claims: list[Row] = field(default_factory=list)
    old_data: list[Row] = field(default_factory=list)
    observed: list[Row] = field(default_factory=list)
    retries: list[Row] = field(default_factory=list)
    groups: list[Row] = field(default_factory=list)
    luck: list[Row] = field(default_factory=list)
    whole_returns: list[Row] = field(default_factory=list)
    language: list[Row] = field(default_factory=list)


def audit(tasks: Sequence[TabularPOMDP], best: Sequence[float], progress: Progress = lambda done, total: None) -> Audit:
    """Every row of every task, but for those of luck and language. Args: best: each task's best memoryless value."""
    result = Audit()
    for number, (task, highest) in enumerate(zip(tasks, best, strict=True)):
        named = lambda rows, name=task.name: [{"task": name, **row} for row in rows]
        result.gradients += named(gradient_rows(task))
        result.observed += named(observed_rows(task))
        result.ends += named(end_rows(task, highest))
        result.claims += named(claim_rows(task))
        result.old_data += named(old_data_rows(task))
        result.retries += named(retry_rows(task))
        result.groups += named(group_rows(task))
        progress(number + 1, len(tasks))
    return result


def policy_logits(task: TabularPOMDP) -> np.ndarray:
    """[O, A]: the policy at which estimates are compared."""
    return np.random.default_rng(0).normal(size=(task.num_observations, task.num_actions))


def estimators() -> list[str]:
    """The agents whose estimates are compared, by the names that make them."""
    return [
        "reinforce",
        "reward_to_go",
        "pg_obs_baseline",
        "pg_state_baseline",
        "pg_history_baseline",
        "a2c_history",
        "a2c_history:previous_action=false",
        *("a2c_obs" if lambda_ == 0 else f"gae:lambda_={lambda_:g}" for lambda_ in LAMBDAS),
        "ppo",
        "ppo:previous_action=false",
    ]


def estimate(agent: PolicyGradient | PPO, task: TabularPOMDP, policy: np.ndarray) -> Moments | None:
    """The exact moments of an agent's estimate, with the critic that it would converge to on *what it is given*.

    Everything is read off the agent: what its critic sees, whether its own actions are in that, and what stands in the
    gradient's weight. None where what it sees cannot be listed, and where it leaves gamma^t out of a discounted task.
    """
    sees, weight = _critic_of(agent)
    undiscounted = isinstance(agent, PPO) and not agent.discounted_occupancy and task.discount < 1
    if sees == "window" or undiscounted:
        return None
    chain, gamma = state_chain(task), task.discount
    if isinstance(weight, TotalReturn):
        return total_return_moments(chain, policy)
    if weight.critic is None:
        return moments(chain, policy, gamma)
    if sees == "history" and agent.reads_actions:
        on_beliefs = history_values(task, policy)
        if on_beliefs is None:
            return None
        chain, value = on_beliefs
    elif sees == "history":
        blind = history_chain(task, False, HISTORY_LIMIT)
        if blind is None:
            return None
        chain, value = blind, class_values(blind, policy, blind.history)[blind.history]
    else:
        classes = chain.state if sees == "state" else chain.label
        value = critic(chain, policy, classes, weight.lambda_)[classes]
    if isinstance(weight, MinusBaseline):
        return moments(chain, policy, gamma, baseline=value)
    return moments(chain, policy, gamma * weight.lambda_, value=value)


def _critic_of(agent: PolicyGradient | PPO) -> tuple[str | None, WeightField]:
    """What its critic sees, and what weighs the score. PPO's first step is along the weighted score of GAE."""
    of_memory = {1: "observation", None: "history"}.get(agent.memory.reach, "window")
    if isinstance(agent, PPO):
        return of_memory, GeneralisedAdvantage("history", lambda_=agent.lambda_)
    return of_memory if agent.weight.critic == "history" else agent.weight.critic, agent.weight


def history_values(task: TabularPOMDP, policy: np.ndarray) -> tuple[Chain, np.ndarray] | None:
    """A chain over (state, belief) and V(history) [H, N] on it; None where the beliefs are too many."""
    graph = belief_chain(task, BELIEF_LIMIT)
    if graph is None:
        return None
    chain, beliefs = graph
    states = state_chain(task)
    value = np.zeros((task.horizon + 1, task.num_observations, task.num_states))
    value[:, states.label, states.state] = node_values(states, policy)
    label = np.zeros(len(beliefs), int)
    label[chain.history] = chain.label
    return chain, np.einsum("ms,tms->tm", beliefs, value[:-1, label])[:, chain.history]


def gradient_rows(task: TabularPOMDP) -> list[Row]:
    logits = policy_logits(task)
    truth = true_gradient(task, logits)
    length = float(np.linalg.norm(truth))
    rows = []
    for name in estimators():
        agent = make_agent(name)
        assert isinstance(agent, PolicyGradient | PPO)
        estimated = estimate(agent, task, softmax(logits))
        if estimated is None:
            continue
        error, norm = estimated.mean - truth, float(np.linalg.norm(estimated.mean))
        there = length > NO_GRADIENT
        rows.append(
            {
                "estimator": name,
                "cosine": float((truth * estimated.mean).sum()) / (length * norm) if there and norm > 0 else None,
                "relative_bias": float(np.linalg.norm(error)) / length if there else None,
                "bias": float(np.abs(error).max()),
                "std": max(estimated.variance, 0.0) ** 0.5 / length if there else None,
            }
        )
    return rows


def observed_rows(task: TabularPOMDP) -> list[Row]:
    """The fully observed twin: its critic converges to the value of state and time, which hides nothing."""
    twin = observed(task)
    logits = policy_logits(twin)
    chain, policy = state_chain(twin), softmax(logits)
    truth, value = true_gradient(twin, logits), node_values(chain, policy)[:-1]
    length = float(np.linalg.norm(truth))
    means = {
        "reward_to_go": expected_estimate(chain, policy, twin.discount),
        "pg_obs_baseline": expected_estimate(chain, policy, twin.discount, baseline=value),
        "a2c_obs": expected_estimate(chain, policy, 0.0, value=value),
        "gae:lambda_=0.95": expected_estimate(chain, policy, 0.95 * twin.discount, value=value),
    }
    there = length > NO_GRADIENT
    error = lambda mean: float(np.linalg.norm(mean - truth)) / length if there else None
    return [{"estimator": name, "relative_bias": error(mean)} for name, mean in means.items()]


def end_rows(task: TabularPOMDP, best: float) -> list[Row]:
    values, _ = fixed_points.actor_critic(task, np.array(LAMBDAS))
    random = float(evaluate_memoryless(task, uniform_policy(task)))
    return [
        {"lambda": lambda_, "value": float(value), "best": best, "random": random}
        for lambda_, value in zip(LAMBDAS, values, strict=True)
    ]


def claim_rows(task: TabularPOMDP) -> list[Row]:
    twin, rows = observed(task), []

    def add(method: str, setting: str, claims: float, earns: float) -> None:
        rows.append({"method": method, "setting": setting, "claims": claims, "earns": earns})

    for setting, seen in (("observed", twin), ("partially observed", task)):
        model = fixed_points.aggregated(seen, uniform_policy(seen))
        claimed, plan = fixed_points.plan(model, seen.discount, seen.horizon)
        add("naive_model", setting, claimed, fixed_points.evaluate_plan(seen, plan))
    claimed, plan = fixed_points.timed_q_fixed_point(twin, uniform_policy(twin))
    add("q_obs", "observed", claimed, fixed_points.evaluate_plan(twin, plan))
    q = fixed_points.q_fixed_point(task, uniform_policy(task))
    greedy = np.eye(task.num_actions)[fixed_points.first_of_best(q.T)]
    start = task.initial @ task.initial_observation
    add("q_obs", "partially observed", float(start @ q.max(1)), float(evaluate_memoryless(task, greedy)))
    return rows


def retry_rows(task: TabularPOMDP) -> list[Row]:
    """One row; none where no action ends an episode, or every try is what it seems."""
    model, rows = fixed_points.aggregated(task, uniform_policy(task)), []
    for action, name in enumerate(task.actions):
        believed, true = fixed_points.retries(task, model, action, min(TRIES, task.horizon))
        known = np.isfinite(believed) & np.isfinite(true)
        gap = float(np.abs(believed - true)[known].max(initial=0.0))
        rows.append((gap, {"action": name, "believed": believed[known].tolist(), "true": true[known].tolist()}))
    gap, worst = max(rows, key=lambda pair: pair[0])
    return [worst] if gap > VALID else []


def old_data_rows(task: TabularPOMDP) -> list[Row]:
    """Old data: episodes of the policy from which `lag` steps along the gradient have led to the present one."""
    chain, logits = state_chain(task), policy_logits(task)
    old = softmax(logits)
    before, rows = float(evaluate_memoryless(task, old)), []
    for step in range(1, max(LAGS) + 1):
        gradient = expected_estimate(chain, softmax(logits), task.discount)
        logits = logits + LAG_MOVE * gradient / max(float(np.abs(gradient).max()), NO_GRADIENT)
        if step not in LAGS:
            continue
        new = softmax(logits)
        rows.append(
            {
                "lag": step,
                "effective_share": effective_share(chain, new, old),
                "clipping_bias": clipping_bias(task, new, old, CLIP),
                "improvement": float(evaluate_memoryless(task, new)) - before,
            }
        )
    return rows


def group_rows(task: TabularPOMDP) -> list[Row]:
    """Every baseline of a group, at the policy at which gradients are compared."""
    chain, policy = state_chain(task), softmax(policy_logits(task))
    truth = expected_gradient(chain, policy, "none", MEMBERS)
    length = float(np.linalg.norm(truth))
    rows = []
    for baseline in BASELINES:
        error = np.linalg.norm(expected_gradient(chain, policy, baseline, MEMBERS) - truth)
        there = length > NO_GRADIENT
        rows.append(
            {"baseline": baseline, "members": MEMBERS, "relative_bias": float(error) / length if there else None}
        )
    return rows


def summary_rows(result: Audit) -> list[Row]:
    """The lecture's table, method x observed / partially observed, a number behind every word.

    Each entry is {"word", "number", "tasks"}: for gradients the largest relative bias over the tasks, for values the
    largest overclaim (claims minus earns); tasks counts those where the method is wrong.
    """
    gradients: dict[str, tuple[str | None, str]] = {
        "policy gradient, reward to go": ("reward_to_go", "reward_to_go"),
        "policy gradient, baseline b(o)": ("pg_obs_baseline", "pg_obs_baseline"),
        "policy gradient, baseline b(history)": (None, "pg_history_baseline"),
        "actor-critic, V(o), TD(0)": ("a2c_obs", "a2c_obs"),
        "actor-critic, V(o), GAE(.95)": ("gae:lambda_=0.95", "gae:lambda_=0.95"),
        "actor-critic, V(history), TD(0)": (None, "a2c_history"),
        "actor-critic, V(history without own actions), TD(0)": (None, "a2c_history:previous_action=false"),
    }
    rows = []
    for method, (seen, hidden) in gradients.items():
        rows.append(
            {
                "method": method,
                "observed": _worst(r["relative_bias"] for r in result.observed if r["estimator"] == seen),
                "partially observed": _worst(r["relative_bias"] for r in result.gradients if r["estimator"] == hidden),
                "unit": "relative bias of the gradient",
            }
        )
    for method, name in (("Q-learning on o", "q_obs"), ("model of p(o' | o, a)", "naive_model")):
        entry: Row = {"method": method, "unit": "claims minus earns, in units of return"}
        for setting in ("observed", "partially observed"):
            chosen = [r for r in result.claims if r["method"] == name and r["setting"] == setting]
            entry[setting] = _worst(r["claims"] - r["earns"] for r in chosen)
        rows.append(entry)
    return rows


def _worst(errors: Iterable[float | None]) -> Row | None:
    known = [error for error in errors if error is not None]
    if not known:
        return None
    wrong = sum(abs(error) > VALID for error in known)
    return {
        "word": "wrong" if wrong else "valid",
        "number": max(known, key=abs),
        "wrong_tasks": wrong,
        "tasks": len(known),
    }
