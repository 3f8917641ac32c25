"""What a policy is worth: computed where it is memoryless, sampled from the environment where it is not.

Sampling costs at most a quarter of training: batches of episodes until a run's standard error is small enough, or the
share is used up. What a run is judged by depends on that run alone, not on what is judged beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.agents.base import Agent, MemorylessAgent, Policy, horizon_class, updates_in
from seqrl_jax.exact.controller import Controller
from seqrl_jax.exact.state import evaluate_memoryless
from seqrl_jax.tasks.environment import Environment
from seqrl_jax.tasks.tabular import TabularPOMDP
from seqrl_jax.tracks.axis import RunAxis, Where, over_runs
from seqrl_jax.tracks.base import Budget

BATCH = 32
"""Episodes of a run that are played at once: few, so that the memory they need is bounded."""
SHARE = 0.25
"""Environment steps of evaluation for each of training, at most (one batch at each point of the curve is the least)."""
CURVE = 0.5
"""How much of that may go into the curve."""
LEAST_BATCHES = 8
STANDARD_ERROR = 0.005
"""Of a final score, in units of its task's reach: then no more episodes are played."""
STREAM = 2**31
"""Sets the episodes of evaluation apart from those that a seed trains on."""


class Judged(NamedTuple):
    """What the policies of R runs are worth, all [R]: J, its standard error, and episodes behind it.

    J is NaN for a run whose state is not finite; error and episodes are 0 where J is exact.
    """

    mean: np.ndarray
    standard_error: np.ndarray
    episodes: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """How a run is judged. chunks: points of the curve behind the first. curve_batches, final_batches: of episodes."""

    chunks: int
    curve_batches: int
    final_batches: int

    @classmethod
    def of(cls, agent: Agent, env: Environment, budget: Budget) -> Evaluation:
        """What the budget allows an agent that was fitted to it."""
        points = min(budget.evaluations, updates_in(agent, budget.steps))
        if agent.memoryless:
            return cls(max(1, points), 1, 1)
        batches = SHARE * budget.steps / (BATCH * horizon_class(env.longest))
        points = max(1, min(points, int(CURVE * batches) - 1))
        return cls(points, 1, max(LEAST_BATCHES, int(batches) - points - 1))


def error_target(reach: float | None) -> float:
    """The standard error at which sampling ends, in units of return; where the reach is not known it goes on."""
    return 0.0 if reach is None else STANDARD_ERROR * reach


class Judge(Protocol):
    """Values the policies of all runs, after at most so many batches each; targets: [R] standard errors."""

    def __call__(
        self, settings: Agent, params: Any, where: Where, runs: Any, batches: int, targets: np.ndarray | None = None
    ) -> Judged: ...


def judge_of(agent: Agent, env: Environment, tasks: Sequence[TabularPOMDP], axis: RunAxis) -> Judge:
    """Exact for a memoryless agent, by playing for others."""
    return _exactly(agent, env, tasks, axis) if agent.memoryless else _by_playing(agent, env, axis)  # type: ignore[arg-type]


def _exactly(agent: MemorylessAgent, env: Environment, tasks: Sequence[TabularPOMDP], axis: RunAxis) -> Judge:
    def read(agent: MemorylessAgent, params: Any, state: Any) -> Array:
        return jnp.where(_finite(state), agent.probabilities(env, params, state), jnp.nan)

    read_all = jax.jit(over_runs(read))

    def judge(
        settings: Agent, params: Any, where: Where, runs: Any, batches: int, targets: np.ndarray | None = None
    ) -> Judged:
        tables = np.asarray(read_all(settings, params, where, runs))
        values = np.empty(len(tables))
        for number, task in enumerate(tasks):
            mine = axis.task == number
            values[mine] = exact_scores(task, tables[mine])
        return Judged(values, np.zeros(len(tables)), np.zeros(len(tables), int))

    return judge


def _by_playing(agent: Agent, env: Environment, axis: RunAxis) -> Judge:
    horizon = horizon_class(env.longest)
    keys = jax.vmap(lambda key: jax.random.fold_in(key, STREAM))(axis.keys())

    def play(settings: Agent, params: Any, where: Where, runs: Any, batch: int) -> Array:
        def one(agent: Agent, params: Any, mine: tuple[Any, Array]) -> Array:
            state, key = mine
            policy = agent.policy(env, params, state)
            returns = simulate(jax.random.fold_in(key, batch), env, params, policy, BATCH, horizon)
            return jnp.where(_finite(state), returns, jnp.nan)

        return over_runs(one)(settings, params, where, (runs, keys))

    play_all = jax.jit(play)

    def judge(
        settings: Agent, params: Any, where: Where, runs: Any, batches: int, targets: np.ndarray | None = None
    ) -> Judged:
        enough = np.full(len(keys), -1.0) if targets is None else targets
        moments = Moments.of(len(keys))
        for batch in range(batches):
            returns = np.asarray(play_all(settings, params, where, runs, batch), np.float64)
            moments = moments.with_more(returns, moments.standard_error > enough)
            if batch + 1 >= LEAST_BATCHES and not (moments.standard_error > enough).any():
                break
        return Judged(moments.mean, moments.standard_error, moments.size)

    return judge


class Moments(NamedTuple):
    """Of R samples that grow: their sizes [R], their means [R] and sums of squared deviations [R]."""

    size: np.ndarray
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, samples: int) -> Moments:
        return cls(np.zeros(samples, int), np.zeros(samples), np.zeros(samples))

    @property
    def standard_error(self) -> np.ndarray:
        """[R]: of the mean; infinite before there are enough samples to tell, NaN where they are."""
        few = self.size < LEAST_BATCHES * BATCH
        return np.where(few, np.inf, np.sqrt(self.squares / np.maximum(self.size - 1, 1) / np.maximum(self.size, 1)))

    def with_more(self, samples: np.ndarray, which: np.ndarray) -> Moments:
        """With samples [R, M] for those of the R that `which` [R] names.

        Source: Chan, Golub & LeVeque (1983), eq. 1.5.
        """
        added = samples.shape[1]
        mean = samples.mean(1)
        squares = np.square(samples - mean[:, None]).sum(1)
        size = self.size + added
        apart = mean - self.mean
        joined = Moments(
            size,
            self.mean + apart * added / size,
            self.squares + squares + np.square(apart) * self.size * added / size,
        )
        return Moments(*(np.where(which, new, old) for new, old in zip(joined, self, strict=True)))


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
    Returns: [episodes] float32.
    """

    def step(carry: tuple[Any, ...], key: Array) -> tuple[tuple[Any, ...], Array]:
        obs, state, memory, alive, weight = carry
        act_key, env_key = jax.random.split(key)
        memory, action = policy.act(act_key, memory, obs)
        after = env.step(env_key, state, action, params)
        paid = jnp.where(alive, weight * after.reward, 0.0)
        alive = alive & ~(after.terminated | after.truncated)
        return (after.obs, after.state, memory, alive, weight * env.discount(params)), paid

    def episode(key: Array) -> Array:
        reset_key, run_key = jax.random.split(key)
        obs, state = env.reset(reset_key, params)
        carry = (obs, state, policy.initialise(), jnp.bool_(True), jnp.float32(1.0))
        return jax.lax.scan(step, carry, jax.random.split(run_key, horizon))[1].sum()

    return jax.vmap(episode)(jax.random.split(key, episodes))


def controller_policy(controller: Controller) -> Policy:
    """The policy of a finite-state controller; its memory is the node, -1 before the first observation."""
    start, action, successor = (
        jnp.asarray(table, jnp.int32) for table in (controller.start, controller.action, controller.successor)
    )

    def act(_: Array, node: Array, obs: Array) -> tuple[Array, Array]:
        node = jnp.where(node < 0, start[obs], successor[jnp.maximum(node, 0), obs])
        return node, action[node]

    return Policy(lambda: jnp.int32(-1), act)
