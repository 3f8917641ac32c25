"""Policy gradients on the observation or the history: one update rule, and the weights that stand in it.

    theta <- theta + alpha sum_t Psi_t grad log pi_theta(a_t | h_t)

where h_t is what the policy's memory keeps of o_0 ... o_t. With `Psi` the return of the episode, the reward to go, or
the reward to go minus any function of what came before a_t (the observation, the history, even the hidden state), the
expectation is the gradient of J also when o is not Markov: these are valid under partial observability. With a value
of the *next observation* in Psi (a TD error, or GAE below lambda = 1) it is not: two states that share an observation
share a value, and the critic reports their average. A critic of the history makes it legitimate again. Every weight
carries gamma^t, without which no choice of Psi gives the gradient of a discounted J.

Source: Williams (1992); Schulman et al. (2016), eq. 1, for the family of weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax import estimators, settings
from seqrl_jax.agents.base import MemorylessAgent, Policy, refuse_short, whole_episodes
from seqrl_jax.agents.history import HistoryFunction, single
from seqrl_jax.agents.networks import masked, of_action, sample
from seqrl_jax.agents.rollout import (
    Magnitude,
    Rollout,
    StepInput,
    begin,
    bootstrap_discount,
    collect,
    measured,
    no_magnitude,
    surely_complete,
)
from seqrl_jax.memory import Memory, Table
from seqrl_jax.naming import check, require
from seqrl_jax.settings import Count, PositiveFloat, Share
from seqrl_jax.tasks.environment import Discrete, Environment
from seqrl_jax.tasks.simulator import TabularEnv


class Evidence(NamedTuple):
    """What a weight may look at, all [T, B]: rewards, the conventions of `estimators`, gamma^t, and values."""

    reward: Array
    discount: Array
    continues: Array
    first: Array
    gamma_t: Array
    value: Array
    next_value: Array
    lambda_: Array | float


Weight = Callable[[Evidence], Array]


def total_return(e: Evidence) -> Array:
    """Psi_t = sum_k gamma^k r_k over the whole episode, also what was paid before a_t."""
    to_go = e.gamma_t * estimators.reward_to_go(e.reward, e.discount * e.continues)
    return estimators.return_so_far(e.reward, e.gamma_t, e.first) + to_go


def reward_to_go(e: Evidence) -> Array:
    """Psi_t = gamma^t G_t: an action has no part in what was paid before it."""
    return e.gamma_t * estimators.reward_to_go(e.reward, e.discount * e.continues)


def minus_baseline(e: Evidence) -> Array:
    """Psi_t = gamma^t (G_t - b(o_t)): a function of the observation changes the variance and not the mean."""
    return e.gamma_t * (estimators.reward_to_go(e.reward, e.discount * e.continues) - e.value)


def generalised_advantage(e: Evidence) -> Array:
    """Psi_t = gamma^t A_t with GAE(lambda); at lambda = 0 the TD error r + gamma V(o') - V(o)."""
    return e.gamma_t * advantage(e)


def advantage(e: Evidence) -> Array:
    """GAE(lambda) of the evidence, [T, B]; with lambda = 1 the return minus the value."""
    return estimators.gae(e.reward, e.discount, e.continues, e.value, e.next_value, e.lambda_)


class PolicyGradientState(NamedTuple):
    """theta, the critic's weights, both optimisers' states, the magnitude of values, and the key of the run."""

    policy: Any
    value: Any
    policy_optimiser: Any
    value_optimiser: Any
    magnitude: Magnitude
    key: Array


class Descent(NamedTuple):
    """Gradients of the losses, in the shapes of the policy's and of the value function's weights."""

    policy: Any
    value: Any


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["learning_rate", "value_learning_rate", "lambda_", "entropy_cost"],
    meta_fields=["weight", "memory", "critic", "num_envs", "rollout_length", "bootstrap_truncated"],
)
@dataclass(frozen=True)
class PolicyGradient(MemorylessAgent):
    """Policy gradient with Adam; the baseline or critic, where the weight uses one, fits lambda-returns.

    Attributes:
        learning_rate, value_learning_rate: of the policy and of the value function.
        lambda_: of the returns that the value function fits (1: Monte Carlo), and of GAE where the weight uses it.
        entropy_cost: weight of the mean policy entropy, in units of return.
        weight: which Psi.
        memory: what the policy keeps of the past; a `Table` makes it a table over the observation.
        critic: what the value function sees: the `observation` (linear in its code, unless the policy's own memory
            holds no more), the `history` (a memory of its own, like the policy's), or the hidden `state` (of a tabular
            task; it is needed for learning only, not for acting).
        num_envs: B. rollout_length: T, at least the horizon: a longer one has fewer environments.
        bootstrap_truncated: whether the value after the horizon counts (see `bootstrap_discount`).
    """

    learning_rate: PositiveFloat = 0.1
    value_learning_rate: PositiveFloat = 0.1
    lambda_: Share = 1.0
    entropy_cost: settings.Weight = 0.0
    weight: Weight = reward_to_go
    memory: Memory = Table()
    critic: Literal["observation", "history", "state"] = "observation"
    num_envs: Count = 32
    rollout_length: Count = 32
    bootstrap_truncated: bool = False

    def __post_init__(self) -> None:
        check(self)
        blind = self.critic == "state" and self.bootstrap_truncated
        why = "a critic of the state ends with the horizon: it does not see the state behind it"
        require(not blind, why, critic=self.critic, bootstrap_truncated=self.bootstrap_truncated)

    @property
    def steps_per_update(self) -> int:
        return self.num_envs * self.rollout_length

    @property
    def memoryless(self) -> bool:
        return self.memory.reach == 1

    @property
    def marked_wrong(self) -> bool:
        bootstraps = self.weight is generalised_advantage and float(self.lambda_) < 1
        return bootstraps and not (self.critic == "history" and self.memory.reach is None)

    @property
    def acts(self) -> Literal["sampled"]:
        return "sampled"

    def for_run(self, horizon: int, steps: int) -> Self:
        num_envs, length = whole_episodes(self.num_envs, self.rollout_length, horizon)
        return dataclasses.replace(
            self, num_envs=num_envs, rollout_length=length, memory=self.memory.for_horizon(length)
        )

    def init(self, key: Array, env: Environment, params: Any) -> PolicyGradientState:
        key, policy_key, value_key = jax.random.split(key, 3)
        policy = self._policy_function(env).init(policy_key)
        value = self._value_function(env).init(value_key)
        refuse_short("rollout_length", self.rollout_length, env)
        return PolicyGradientState(
            policy,
            value,
            optax.adam(self.learning_rate).init(policy),
            optax.adam(self.value_learning_rate).init(value),
            no_magnitude(),
            key,
        )

    def update(
        self, env: Environment, params: Any, state: PolicyGradientState
    ) -> tuple[PolicyGradientState, dict[str, Array]]:
        key, estimate_key = jax.random.split(state.key)
        descent, magnitude, metrics = self.estimate(env, params, state, estimate_key)
        policy, policy_optimiser = _descend(self.learning_rate, descent.policy, state.policy_optimiser, state.policy)
        value, value_optimiser = _descend(self.value_learning_rate, descent.value, state.value_optimiser, state.value)
        return PolicyGradientState(policy, value, policy_optimiser, value_optimiser, magnitude, key), metrics

    def estimate(
        self, env: Environment, params: Any, state: PolicyGradientState, key: Array
    ) -> tuple[Descent, Magnitude, dict[str, Array]]:
        """One rollout's estimate of both gradients, the magnitudes after it, and metrics over its whole episodes.

        The policy's is that of -J (with the entropy's part) times the mean number of whole episodes per environment, a
        positive factor: with a valid weight its expectation points along the exact gradient.
        """
        begin_key, collect_key = jax.random.split(key)
        function = self._policy_function(env)
        memory = function.initialise(state.policy, self.num_envs)
        acting = function.acting(state.policy)

        def act(key: Array, memory: Any, seen: StepInput) -> tuple[Any, Array]:
            memory, out = acting(memory, seen, None)
            return memory, sample(key, masked(out, env.action_mask(params)))

        position = begin(begin_key, env, params, self.num_envs, memory)
        _, rollout = collect(collect_key, env, params, position, act, self.rollout_length)
        magnitude = measured(state.magnitude, rollout, env.discount(params))

        counted = surely_complete(rollout, env.horizon(params)).astype(jnp.float32)
        value, next_value = self._values(env, state.value, rollout)
        evidence = self._evidence(env, params, rollout, magnitude, value, next_value)
        psi = self.weight(evidence) * counted
        lambda_return = (evidence.value + advantage(evidence)) / magnitude.value

        def policy_loss(weights: Any) -> tuple[Array, Array]:
            out = function.unroll(weights, memory, rollout.seen)
            log_law = jax.nn.log_softmax(masked(out, env.action_mask(params)))
            entropy = -jnp.sum(jnp.exp(log_law) * log_law, -1)
            # Divided by B, a constant: the number of episodes depends on the actions, and would bias the mean.
            chosen = of_action(log_law, rollout.action)
            objective = jnp.sum(psi * chosen + self.entropy_cost * entropy * counted) / self.num_envs
            return -objective, jnp.sum(entropy * counted) / jnp.maximum(counted.sum(), 1)

        def value_loss(weights: Any) -> Array:
            error = self._values(env, weights, rollout)[0] - lambda_return
            return 0.5 * jnp.sum(counted * jnp.square(error)) / jnp.maximum(counted.sum(), 1)

        (_, entropy), policy_gradient = jax.value_and_grad(policy_loss, has_aux=True)(state.policy)
        episodes = jnp.maximum(jnp.sum(jnp.where(rollout.first, counted, 0)), 1)
        metrics = {"return": jnp.sum(evidence.gamma_t * rollout.reward * counted) / episodes, "entropy": entropy}
        return Descent(policy_gradient, jax.grad(value_loss)(state.value)), magnitude, metrics

    def probabilities(self, env: Environment, params: Any, state: PolicyGradientState) -> Array:
        return jax.nn.softmax(masked(self._policy_function(env).table(state.policy), env.action_mask(params)))

    def policy(self, env: Environment, params: Any, state: PolicyGradientState) -> Policy:
        choose = lambda key, out: sample(key, masked(out, env.action_mask(params)))
        function = self._policy_function(env)
        return single(function.acting(state.policy), function.initialise(state.policy, 1), choose)

    def _policy_function(self, env: Environment) -> HistoryFunction:
        return HistoryFunction(self.memory, env.num_actions, env.observation_space)

    def _value_function(self, env: Environment) -> HistoryFunction:
        """The value, in units of the largest return, of what the critic sees."""
        if self.critic == "history":
            return HistoryFunction(self.memory, 1, env.observation_space)
        if self.critic == "observation":
            memory = self.memory if self.memory.reach == 1 else Table()
            return HistoryFunction(memory, 1, env.observation_space)
        if not isinstance(env, TabularEnv):
            raise ValueError("a critic of the state needs a tabular task: this environment does not number its states")
        return HistoryFunction(Table(), 1, Discrete(env.num_states))

    def _values(self, env: Environment, weights: Any, rollout: Rollout) -> tuple[Array, Array]:
        """Of o_t and of what really followed, in units of the largest return; both [T, B]."""
        function = self._value_function(env)
        memory = function.initialise(weights, self.num_envs)
        if self.critic == "state":
            value = function.unroll(weights, memory, rollout.seen._replace(obs=rollout.state.number))[..., 0]
            # What follows the last step is read only where an episode goes on, and such an episode is not counted.
            return value, jnp.concatenate([value[1:], value[-1:]])
        here, after = function.unroll_pairs(
            weights, memory, rollout.seen, rollout.action, rollout.next_obs, self.bootstrap_truncated
        )
        return here[..., 0], after[..., 0]

    def _evidence(
        self, env: Environment, params: Any, rollout: Rollout, magnitude: Magnitude, value: Array, next_value: Array
    ) -> Evidence:
        gamma = env.discount(params)
        return Evidence(
            reward=rollout.reward,
            discount=bootstrap_discount(rollout, gamma, self.bootstrap_truncated),
            continues=jnp.where(rollout.last, 0.0, 1.0),
            first=rollout.first,
            gamma_t=gamma ** rollout.time.astype(jnp.float32),
            value=magnitude.value * value,
            next_value=magnitude.value * next_value,
            lambda_=self.lambda_,
        )


def _descend(rate: Array | float, gradient: Any, optimiser: Any, weights: Any) -> tuple[Any, Any]:
    change, optimiser = optax.adam(rate).update(gradient, optimiser)
    return optax.apply_updates(weights, change), optimiser
