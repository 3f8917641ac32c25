"""Policy gradients on the observation: one update rule, and the weights that stand in it.

    theta <- theta + alpha sum_t Psi_t grad log pi_theta(a_t | o_t)

With `Psi` the return of the episode, the reward to go, or the reward to go minus any function of the observation, the
expectation is the gradient of J also when o is not Markov: these are valid under partial observability. With a value
of the *next observation* in Psi (a TD error, or GAE below lambda = 1) it is not: two states that share an observation
share a value, and the critic reports their average. Every weight carries gamma^t, without which no choice of Psi
gives the gradient of a discounted J.

Source: Williams (1992); Schulman et al. (2016), eq. 1, for the family of weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.agents import estimators
from seqrl_jax.agents.base import Policy
from seqrl_jax.agents.networks import ObservationFunction, masked, once_per_observation, outputs, sample
from seqrl_jax.agents.rollout import Rollout, begin, bootstrap_discount, collect, surely_complete
from seqrl_jax.tasks.environment import Discrete, Environment


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
    """theta, the baseline's weights, both optimisers' states, and the key of the run."""

    policy: Any
    value: Any
    policy_optimiser: Any
    value_optimiser: Any
    key: Array


class Descent(NamedTuple):
    """Gradients of the losses, in the shapes of the policy's and of the value function's weights."""

    policy: Any
    value: Any


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["learning_rate", "value_learning_rate", "lambda_", "entropy_cost"],
    meta_fields=["weight", "network", "width", "num_envs", "rollout_length", "bootstrap_truncated"],
)
@dataclass(frozen=True)
class PolicyGradient:
    """Policy gradient with Adam; the baseline or critic, where the weight uses one, fits lambda-returns.

    Attributes:
        learning_rate, value_learning_rate: of the policy and of the value function.
        lambda_: of the returns that the value function fits (1: Monte Carlo), and of GAE where the weight uses it.
        entropy_cost: weight of the mean policy entropy, in units of return.
        weight: which Psi.
        network: `tabular` or `mlp` (of `width`).
        num_envs: B. rollout_length: T, at least the horizon.
        bootstrap_truncated: whether the value after the horizon counts (see `bootstrap_discount`).
    """

    learning_rate: float = 0.1
    value_learning_rate: float = 0.1
    lambda_: float = 1.0
    entropy_cost: float = 0.0
    weight: Weight = reward_to_go
    network: str = "tabular"
    width: int = 64
    num_envs: int = 32
    rollout_length: int = 32
    bootstrap_truncated: bool = False

    @property
    def steps_per_update(self) -> int:
        return self.num_envs * self.rollout_length

    def for_horizon(self, horizon: int) -> Self:
        return dataclasses.replace(self, rollout_length=max(self.rollout_length, horizon))

    def init(self, key: Array, env: Environment, params: Any) -> PolicyGradientState:
        key, policy_key, value_key = jax.random.split(key, 3)
        obs = env.reset(key, params)[0]
        policy = self._policy_network(env).init(policy_key, obs)
        value = self._value_network(env).init(value_key, obs)
        return PolicyGradientState(
            policy,
            value,
            optax.adam(self.learning_rate).init(policy),
            optax.adam(self.value_learning_rate).init(value),
            key,
        )

    def update(
        self, env: Environment, params: Any, state: PolicyGradientState
    ) -> tuple[PolicyGradientState, dict[str, Array]]:
        key, estimate_key = jax.random.split(state.key)
        descent, metrics = self.estimate(env, params, state, estimate_key)
        policy, policy_optimiser = _descend(self.learning_rate, descent.policy, state.policy_optimiser, state.policy)
        value, value_optimiser = _descend(self.value_learning_rate, descent.value, state.value_optimiser, state.value)
        return PolicyGradientState(policy, value, policy_optimiser, value_optimiser, key), metrics

    def estimate(
        self, env: Environment, params: Any, state: PolicyGradientState, key: Array
    ) -> tuple[Descent, dict[str, Array]]:
        """One rollout's estimate of both gradients, and metrics reduced over its whole episodes.

        The policy's is that of -J (with the entropy's part) times the mean number of whole episodes per environment, a
        positive factor: with a valid weight its expectation points along the exact gradient.
        """
        begin_key, collect_key = jax.random.split(key)
        logits = self._logits(env, params)
        acting = once_per_observation(lambda obs: logits(state.policy, obs), env.observation_space)
        act = lambda key, obs: sample(key, acting(obs))
        position = begin(begin_key, env, params, self.num_envs)
        _, rollout = collect(collect_key, env, params, position, act, self.rollout_length)

        counted = surely_complete(rollout, env.horizon(params)).astype(jnp.float32)
        value_of = lambda weights, obs: outputs(self._value_network(env), weights, obs)[..., 0]
        evidence = self._evidence(env, params, rollout, lambda obs: value_of(state.value, obs))
        psi = self.weight(evidence) * counted
        lambda_return = evidence.value + advantage(evidence)

        def policy_loss(weights: Any) -> tuple[Array, Array]:
            log_pi = jax.nn.log_softmax(logits(weights, rollout.obs))
            chosen = jnp.take_along_axis(log_pi, rollout.action[..., None], -1)[..., 0]
            entropy = -jnp.sum(jnp.exp(log_pi) * log_pi, -1)
            # Divided by B, a constant: the number of episodes depends on the actions, and would bias the mean.
            objective = jnp.sum(psi * chosen + self.entropy_cost * entropy * counted) / self.num_envs
            return -objective, jnp.sum(entropy * counted) / jnp.maximum(counted.sum(), 1)

        def value_loss(weights: Any) -> Array:
            error = value_of(weights, rollout.obs) - lambda_return
            return 0.5 * jnp.sum(counted * jnp.square(error)) / jnp.maximum(counted.sum(), 1)

        (_, entropy), policy_gradient = jax.value_and_grad(policy_loss, has_aux=True)(state.policy)
        episodes = jnp.maximum(jnp.sum(jnp.where(rollout.first, counted, 0)), 1)
        metrics = {"return": jnp.sum(evidence.gamma_t * rollout.reward * counted) / episodes, "entropy": entropy}
        return Descent(policy_gradient, jax.grad(value_loss)(state.value)), metrics

    def probabilities(self, env: Environment, params: Any, state: PolicyGradientState) -> Array:
        assert isinstance(env.observation_space, Discrete), "a policy is a table only over discrete observations"
        return jax.nn.softmax(self._logits(env, params)(state.policy, jnp.arange(env.observation_space.size)))

    def policy(self, env: Environment, params: Any, state: PolicyGradientState) -> Policy:
        logits = self._logits(env, params)
        return Policy(lambda: (), lambda key, _, obs: ((), sample(key, logits(state.policy, obs))))

    def _policy_network(self, env: Environment) -> ObservationFunction:
        return ObservationFunction(env.num_actions, self.network, self.width, env.observation_space)

    def _value_network(self, env: Environment) -> ObservationFunction:
        return ObservationFunction(1, self.network, self.width, env.observation_space)

    def _logits(self, env: Environment, params: Any) -> Callable[[Any, Array], Array]:
        network, mask = self._policy_network(env), env.action_mask(params)
        return lambda weights, obs: masked(outputs(network, weights, obs), mask)

    def _evidence(
        self, env: Environment, params: Any, rollout: Rollout, value_of: Callable[[Array], Array]
    ) -> Evidence:
        gamma = env.discount(params)
        return Evidence(
            reward=rollout.reward,
            discount=bootstrap_discount(rollout, gamma, self.bootstrap_truncated),
            continues=jnp.where(rollout.last, 0.0, 1.0),
            first=rollout.first,
            gamma_t=gamma ** rollout.time.astype(jnp.float32),
            value=value_of(rollout.obs),
            next_value=value_of(rollout.next_obs),
            lambda_=self.lambda_,
        )


def _descend(rate: Array | float, gradient: Any, optimiser: Any, weights: Any) -> tuple[Any, Any]:
    change, optimiser = optax.adam(rate).update(gradient, optimiser)
    return optax.apply_updates(weights, change), optimiser
