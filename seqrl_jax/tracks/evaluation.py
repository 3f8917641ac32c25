"""What a policy is worth: computed where it is memoryless, sampled from the environment where it is not.

How many episodes are sampled follows from the budget alone, never from what they pay: to stop where a score looks sure
would favour runs whose failures have not occurred yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax import hosts
from seqrl_jax.agents.base import Agent, MemorylessAgent, Policy, horizon_class, updates_in
from seqrl_jax.agents.rollout import first_inputs
from seqrl_jax.exact.controller import Controller
from seqrl_jax.exact.state import evaluate_memoryless
from seqrl_jax.networks.experience import StepInput
from seqrl_jax.tasks.environment import Environment
from seqrl_jax.tasks.tabular import TabularPOMDP
from seqrl_jax.tracks.axis import RunAxis, Where, over_runs
from seqrl_jax.tracks.base import Budget

BATCH = 32
"""Episodes of a run that are played at once: few, so that the memory they need is bounded."""
SHARE = 0.25
"""Environment steps of evaluation for each of training, at most; but see `LEAST_BATCHES`."""
CURVE = 0.5
"""How much of that may go into the curve."""
LEAST_BATCHES, MOST_BATCHES = 8, 128
"""Of a final score. A run too short to pay for the least is judged by it all the same."""
STREAM = 2**31
"""Sets the episodes of evaluation apart from those that a seed trains on."""


class Judged(NamedTuple):
    """What the policies of R runs are worth, both [R]: J and its standard error.

    J is NaN for a run whose state is not finite; the error is 0 where J is exact.
    """

    mean: np.ndarray
    standard_error: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """How a run is judged. chunks: points of the curve behind the first. final_batches: of episodes, for its score.
    episodes: in them; None where it is exact."""

    chunks: int
    final_batches: int
    episodes: int | None

    @classmethod
    def of(cls, agent: Agent, env: Environment, budget: Budget, exact: bool) -> Evaluation:
        """What the budget allows an agent that was fitted to it. exact: whether a memoryless one is valued exactly."""
        points = min(budget.evaluations, updates_in(agent, budget.steps))
        if agent.memoryless and exact:
            return cls(max(1, points), 1, None)
        batches = int(SHARE * budget.steps / (BATCH * horizon_class(env.longest)))
        points = max(1, min(points, int(CURVE * batches) - 1, batches - LEAST_BATCHES - 1))
        final = min(max(LEAST_BATCHES, batches - points - 1), MOST_BATCHES)
        return cls(points, final, final * BATCH)

    @property
    def final(self) -> range:
        """The numbers of the batches behind the final score."""
        return range(self.final_batches)

    def point(self, chunk: int) -> range:
        """Of those behind the curve after so many chunks: one batch, at every point another. The same episodes again
        would make the luck of the first point that of the whole curve."""
        return range(MOST_BATCHES + chunk, MOST_BATCHES + chunk + 1)


class Judge(Protocol):
    """Values the policies of all runs by the batches of these numbers."""

    def __call__(self, settings: Agent, params: Any, where: Where, runs: Any, batches: range) -> Judged: ...


def judge_of(
    agent: Agent,
    env: Environment,
    tasks: Sequence[TabularPOMDP],
    axis: RunAxis,
    example: tuple[Agent, Any, Where, Any],
) -> Judge:
    """Exact for a memoryless agent on tasks that are tables, else by playing; compiled for arguments like `example`."""
    if agent.memoryless and tasks:
        return _exactly(env, tasks, axis, example)
    return _by_playing(env, axis, example)


def _exactly(env: Environment, tasks: Sequence[TabularPOMDP], axis: RunAxis, example: Any) -> Judge:
    def read(agent: MemorylessAgent, params: Any, state: Any) -> Array:
        return jnp.where(_finite(state), agent.probabilities(env, params, state), jnp.nan)

    read_all = jax.jit(over_runs(read)).lower(*example).compile()

    def judge(settings: Agent, params: Any, where: Where, runs: Any, batches: range) -> Judged:
        tables = hosts.whole(read_all(settings, params, where, runs))
        values = np.empty(len(tables))
        for number, task in enumerate(tasks):
            mine = axis.task == number
            values[mine] = exact_scores(task, tables[mine])
        return Judged(values, np.zeros(len(tables)))

    return judge


def _by_playing(env: Environment, axis: RunAxis, example: Any) -> Judge:
    horizon = horizon_class(env.longest)
    keys = jax.vmap(lambda key: jax.random.fold_in(key, STREAM))(axis.keys())

    def play(settings: Agent, params: Any, where: Where, runs: Any, keys: Array, batch: Array | int) -> Array:
        def one(agent: Agent, params: Any, mine: tuple[Any, Array]) -> Array:
            state, key = mine
            policy = agent.policy(env, params, state)
            returns = simulate(jax.random.fold_in(key, batch), env, params, policy, BATCH, horizon)
            return jnp.where(_finite(state), returns, jnp.nan)

        return over_runs(one)(settings, params, where, (runs, keys))

    play_all = jax.jit(play).lower(*example, keys, 0).compile()

    def judge(settings: Agent, params: Any, where: Where, runs: Any, batches: range) -> Judged:
        parts = [hosts.whole(play_all(settings, params, where, runs, keys, batch)) for batch in batches]
        returns = np.concatenate(parts, axis=1).astype(np.float64)
        return Judged(returns.mean(1), returns.std(1, ddof=1) / np.sqrt(returns.shape[1]))

    return judge


def _finite(state: Any) -> Array:
    """Whether every number of a run's state is one. A policy may act on, and score, long after its weights are not."""
    floats = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in floats]).all()


def exact_scores(task: TabularPOMDP, tables: np.ndarray) -> np.ndarray:
    """J of memoryless policies that may be padded to more observations and actions than the task has.

    Args: tables: [N, O', A'], rows over the task's own actions sum to 1 up to float32 rounding.
    Returns: [N], NaN where a table holds a number that is not finite.
    """
    own = np.asarray(tables, np.float64)[:, : task.num_observations, : task.num_actions]
    finite = np.isfinite(own).all(axis=(1, 2), keepdims=True)
    safe = np.where(finite, own, 1.0)
    values = evaluate_memoryless(task, safe / safe.sum(-1, keepdims=True))
    return np.where(finite.ravel(), values, np.nan)


def simulate(key: Array, env: Environment, params: Any, policy: Policy, episodes: int, horizon: int) -> Array:
    """Discounted returns of whole episodes, for `jit`.

    Args: policy: how to act. horizon: static, at least the task's own.
    Returns: [episodes] float32, NaN of one that did not end within its horizon.
    """

    def step(carry: tuple[Any, ...], key: Array) -> tuple[tuple[Any, ...], Array]:
        inputs, state, memory, alive, weight = carry
        act_key, env_key = jax.random.split(key)
        memory, action = policy.act(act_key, memory, inputs)
        after = env.step(env_key, state, action, params)
        reward = jnp.where(alive, weight * after.reward, 0.0)
        alive = alive & ~(after.terminated | after.truncated)
        inputs = StepInput(after.obs, jnp.bool_(False), action, after.reward)
        return (inputs, after.state, memory, alive, weight * env.discount(params)), reward

    def episode(key: Array) -> Array:
        reset_key, run_key = jax.random.split(key)
        obs, state = env.reset(reset_key, params)
        carry = (first_inputs(env, obs), state, policy.initial_carry(), jnp.bool_(True), jnp.float32(1.0))
        (*_, alive, _), rewards = jax.lax.scan(step, carry, jax.random.split(run_key, horizon))
        return jnp.where(alive, jnp.nan, rewards.sum())

    return jax.vmap(episode)(jax.random.split(key, episodes))


def controller_policy(controller: Controller) -> Policy:
    """The policy of a finite-state controller; its memory is the node, -1 before the first observation."""
    start, action, successor = (
        jnp.asarray(table, jnp.int32) for table in (controller.start, controller.action, controller.successor)
    )

    def act(_: Array, node: Array, inputs: StepInput) -> tuple[Array, Array]:
        node = jnp.where(node < 0, start[inputs.obs], successor[jnp.maximum(node, 0), inputs.obs])
        return node, action[node]

    return Policy(lambda: jnp.int32(-1), act)
