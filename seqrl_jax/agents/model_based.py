"""A model that ignores history: count what follows the last observations, and plan on the counts.

    V_t(o) = max_a r(o, a) + gamma sum_o' p(o' | o, a) V_{t+1}(o'),    p and r from data of the uniform policy

Where o is not Markov no such p exists: the counts are averages over what the behaviour happened to hide. A locked door
then opens with the same probability at every retry, and the plan tries it for ever. A window of the last k observations
is the step between this and a model with a state.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.action_values import CLAIM_RESETS, best, first_observations, greedy
from seqrl_jax.agents.base import Agent, Policy, Reads, horizon_class, refuse_short
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.agents.rollout import Position, begin, collect
from seqrl_jax.naming import check
from seqrl_jax.networks.distributions import uniform
from seqrl_jax.networks.experience import StepInput
from seqrl_jax.settings import Count, Depth, Horizon
from seqrl_jax.tasks.environment import Discrete, Environment, num_actions

MOST_COUNTS = 2**27


class Counts(NamedTuple):
    """Of every context and action: what followed [C, A, O], tries [C, A], and the sum of rewards [C, A].

    Tries of which nothing followed have ended the episode.
    """

    followed: Array
    tried: Array
    reward: Array


class NaiveState(NamedTuple):
    """The counts, where the environments stand with their contexts [B], and the key."""

    counts: Counts
    position: Position
    key: Array


@hyperparameters
class NaiveModel(Agent):
    """Value iteration on counts, for discrete observations.

    Attributes: window: k, the observations that the model looks at. num_envs: B. rollout_length: T. horizon: steps that
    are planned, at least the task's. What was never tried is taken to pay nothing and to end.
    """

    window: Depth = 1
    num_envs: Count = 16
    rollout_length: Count = 32
    horizon: Horizon = 32

    def __post_init__(self) -> None:
        check(self)

    @property
    def steps_per_update(self) -> int:
        return self.num_envs * self.rollout_length

    @property
    def memoryless(self) -> bool:
        """The plan knows the time."""
        return False

    @property
    def reads(self) -> Reads:
        return Reads(self.window, time=True)

    @property
    def marked_wrong(self) -> bool:
        return True

    @property
    def acts(self) -> Literal["greedy"]:
        return "greedy"

    def for_run(self, horizon: int, steps: int) -> Self:
        return dataclasses.replace(self, horizon=max(self.horizon, horizon_class(horizon)))

    def init(self, key: Array, env: Environment, params: Any) -> NaiveState:
        if reason := self.refuses(env):
            raise ValueError(reason)
        key, begin_key = jax.random.split(key)
        contexts, num_a, num_o = self._contexts(env), num_actions(env), _observations(env)
        counts = Counts(jnp.zeros((contexts, num_a, num_o)), jnp.zeros((contexts, num_a)), jnp.zeros((contexts, num_a)))
        position = begin(begin_key, env, params, self.num_envs, jnp.zeros(self.num_envs, jnp.int32))
        return NaiveState(counts, position, key)

    def update(self, env: Environment, params: Any, state: NaiveState) -> tuple[NaiveState, dict[str, Array]]:
        key, collect_key = jax.random.split(state.key)
        actions = uniform(env.action_mask(params), self.num_envs)

        def act(key: Array, context: Array, inputs: StepInput) -> tuple[Array, Array]:
            return self._context(env, context, inputs.obs, inputs.first), actions.sample(seed=key)

        position, r = collect(collect_key, env, params, state.position, act, self.rollout_length)

        def read(context: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
            context = self._context(env, context, *at)
            return context, context

        _, context = jax.lax.scan(read, state.position.carry, (r.obs, r.first))
        goes_on = jnp.where(r.terminated, 0.0, 1.0)
        counts = Counts(
            state.counts.followed.at[context, r.action, r.next_obs].add(goes_on),
            state.counts.tried.at[context, r.action].add(1.0),
            state.counts.reward.at[context, r.action].add(r.reward),
        )
        met = jnp.sum(jnp.where(counts.tried > 0, 1.0, 0.0))
        return NaiveState(counts, position, key), {"met": met}

    def plan(self, env: Environment, params: Any, counts: Counts) -> Array:
        """[horizon, C, A]: what each action is worth at step t, by value iteration from the task's horizon back."""
        refuse_short("horizon", self.horizon, env)
        tried = jnp.maximum(counts.tried, 1.0)
        law, reward = counts.followed / tried[..., None], counts.reward / tried
        contexts, num_o = jnp.arange(self._contexts(env)), _observations(env)
        following = self._context(env, contexts[:, None], jnp.arange(num_o)[None], jnp.bool_(False))
        mask, gamma = env.action_mask(params), env.discount(params)

        def back(value: Array, t: Array) -> tuple[Array, Array]:
            q = reward + gamma * jnp.einsum("cao,co->ca", law, value[following])
            q = jnp.where(t < env.horizon(params), q, 0.0)
            return best(q, mask), q

        return jax.lax.scan(back, jnp.zeros(len(contexts)), jnp.arange(self.horizon), reverse=True)[1]

    def policy(self, env: Environment, params: Any, state: NaiveState) -> Policy:
        q, mask = self.plan(env, params, state.counts), env.action_mask(params)

        def read(carry: tuple[Array, Array], inputs: StepInput) -> tuple[tuple[Array, Array], Array]:
            context, time = carry
            context = self._context(env, context, inputs.obs, inputs.first)
            return (context, time + 1), q[jnp.minimum(time, self.horizon - 1), context]

        def act(key: Array, carry: tuple[Array, Array], inputs: StepInput) -> tuple[tuple[Array, Array], Array]:
            carry, here = read(carry, inputs)
            return carry, greedy(here, mask)

        value = lambda key, carry, inputs: best(read(carry, inputs)[1], mask)
        return Policy(lambda: (jnp.int32(0), jnp.int32(0)), act, value)

    def claim(self, env: Environment, params: Any, state: NaiveState, key: Array) -> Array:
        obs = first_observations(env, params, key)
        nothing = jnp.zeros(CLAIM_RESETS, jnp.int32)
        first = self._context(env, nothing, obs, jnp.ones(CLAIM_RESETS, bool))
        q = self.plan(env, params, state.counts)[0]
        return jnp.mean(best(q[first], env.action_mask(params)))

    def refuses(self, env: Environment) -> str | None:
        if not isinstance(env.observation_space, Discrete):
            return "a model of counts needs discrete observations: these are arrays of numbers"
        if self._contexts(env) * num_actions(env) * env.observation_space.size > MOST_COUNTS:
            windows = f"{self._contexts(env)} windows of {self.window} out of {env.observation_space.size} observations"
            return f"{windows} are too many to count what follows them"
        return None

    def _contexts(self, env: Environment) -> int:
        return (_observations(env) + 1) ** self.window

    def _context(self, env: Environment, before: Array, obs: Array, first: Array) -> Array:
        """The last k observations as one number; before the first one stands a symbol of its own, numbered 0."""
        base = _observations(env) + 1
        return (jnp.where(first, 0, before) * base + obs + 1) % base**self.window


def _observations(env: Environment) -> int:
    assert isinstance(env.observation_space, Discrete), "see `refuses`"
    return env.observation_space.size
