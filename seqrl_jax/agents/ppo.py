"""Proximal policy optimisation on the observation.

    maximise E[min(rho_t A_t, clip(rho_t, 1 - eps, 1 + eps) A_t)],    rho_t = pi_theta(a_t | o_t) / pi_old(a_t | o_t)

with GAE(lambda) advantages. Not valid where o is not Markov: the advantage bootstraps from the value of the next
observation, exactly as in `policy_gradient`, unless lambda = 1. Source: Schulman et al. (2017), eq. 7.
"""

from __future__ import annotations

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
from seqrl_jax.agents.rollout import Position, begin, bootstrap_discount, collect
from seqrl_jax.tasks.environment import Discrete, Environment


def clipped_surrogate(log_ratio: Array, advantage: Array, clip: Array | float) -> Array:
    """The objective of one step, `min(rho A, clip(rho, 1 - clip, 1 + clip) A)`, with rho = exp(log_ratio).

    Args: log_ratio, advantage: [...].
    Returns: [...]. Source: Schulman et al. (2017), eq. 7.
    """
    ratio = jnp.exp(log_ratio)
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)


class Batch(NamedTuple):
    """What an epoch learns from, all [N, ...]; `weight` is gamma^(steps into the episode), or 1."""

    obs: Array
    action: Array
    log_pi: Array
    advantage: Array
    target: Array
    weight: Array


class PPOState(NamedTuple):
    """Weights of policy and value, the optimiser's state, where the environments stand, and the key of the run."""

    weights: Any
    optimiser: Any
    position: Position
    key: Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["learning_rate", "lambda_", "clip", "entropy_cost", "value_cost", "max_gradient_norm"],
    meta_fields=[
        "network",
        "width",
        "num_envs",
        "rollout_length",
        "epochs",
        "minibatches",
        "discounted_occupancy",
        "bootstrap_truncated",
    ],
)
@dataclass(frozen=True)
class PPO:
    """PPO with a policy and a value function of the observation.

    Attributes:
        learning_rate: of Adam. lambda_: of GAE. clip: eps. entropy_cost, value_cost: weights in the loss.
        max_gradient_norm: the global norm above which gradients are scaled down.
        network: `tabular` or `mlp` (of `width`). num_envs: B. rollout_length: T; episodes go on across rollouts.
        epochs, minibatches: passes over a rollout, and parts of each.
        discounted_occupancy: weigh step t of an episode by gamma^t, as the gradient of a discounted J has it; the
            common practice leaves it out and follows another gradient.
        bootstrap_truncated: whether the value after the horizon counts (see `bootstrap_discount`).
    """

    learning_rate: float = 0.01
    lambda_: float = 0.95
    clip: float = 0.2
    entropy_cost: float = 0.0
    value_cost: float = 0.5
    max_gradient_norm: float = 0.5
    network: str = "tabular"
    width: int = 64
    num_envs: int = 32
    rollout_length: int = 32
    epochs: int = 4
    minibatches: int = 4
    discounted_occupancy: bool = True
    bootstrap_truncated: bool = False

    @property
    def steps_per_update(self) -> int:
        return self.num_envs * self.rollout_length

    def for_horizon(self, horizon: int) -> Self:
        return self

    def init(self, key: Array, env: Environment, params: Any) -> PPOState:
        key, policy_key, value_key, begin_key = jax.random.split(key, 4)
        position = begin(begin_key, env, params, self.num_envs)
        weights = {
            "policy": self._policy_network(env).init(policy_key, position.obs),
            "value": self._value_network(env).init(value_key, position.obs),
        }
        return PPOState(weights, self._optimiser().init(weights), position, key)

    def update(self, env: Environment, params: Any, state: PPOState) -> tuple[PPOState, dict[str, Array]]:
        key, collect_key, learn_key = jax.random.split(state.key, 3)
        logits = partial(self._logits, env, params, state.weights)
        acting = once_per_observation(logits, env.observation_space)
        act = lambda key, obs: sample(key, acting(obs))
        position, rollout = collect(collect_key, env, params, state.position, act, self.rollout_length)

        gamma = env.discount(params)
        value = self._value(env, state.weights, rollout.obs)
        advantage = estimators.gae(
            rollout.reward,
            bootstrap_discount(rollout, gamma, self.bootstrap_truncated),
            jnp.where(rollout.last, 0.0, 1.0),
            value,
            self._value(env, state.weights, rollout.next_obs),
            self.lambda_,
        )
        batch = Batch(
            obs=rollout.obs,
            action=rollout.action,
            log_pi=self._log_pi(env, params, state.weights, rollout.obs, rollout.action)[0],
            advantage=_standardised(advantage),
            target=advantage + value,
            weight=gamma ** rollout.time.astype(jnp.float32) if self.discounted_occupancy else jnp.ones_like(advantage),
        )
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), batch)

        def minibatch(carry: tuple[Any, Any], rows: Array) -> tuple[tuple[Any, Any], dict[str, Array]]:
            weights, optimiser = carry
            part = jax.tree.map(lambda leaf: leaf[rows], flat)
            gradient, metrics = jax.grad(self._loss, argnums=2, has_aux=True)(env, params, weights, part)
            change, optimiser = self._optimiser().update(gradient, optimiser, weights)
            return (optax.apply_updates(weights, change), optimiser), metrics

        orders = jax.vmap(lambda key: jax.random.permutation(key, self.steps_per_update))(
            jax.random.split(learn_key, self.epochs)
        ).reshape(self.epochs * self.minibatches, -1)
        (weights, optimiser), metrics = jax.lax.scan(minibatch, (state.weights, state.optimiser), orders)
        metrics = {"first_ratio_error": metrics["ratio_error"][0], **jax.tree.map(jnp.mean, metrics)}
        return PPOState(weights, optimiser, position, key), metrics

    def probabilities(self, env: Environment, params: Any, state: PPOState) -> Array:
        assert isinstance(env.observation_space, Discrete), "a policy is a table only over discrete observations"
        return jax.nn.softmax(self._logits(env, params, state.weights, jnp.arange(env.observation_space.size)))

    def policy(self, env: Environment, params: Any, state: PPOState) -> Policy:
        logits = partial(self._logits, env, params, state.weights)
        return Policy(lambda: (), lambda key, _, obs: ((), sample(key, logits(obs))))

    def _loss(self, env: Environment, params: Any, weights: Any, part: Batch) -> tuple[Array, dict[str, Array]]:
        log_pi, entropy = self._log_pi(env, params, weights, part.obs, part.action)
        surrogate = clipped_surrogate(log_pi - part.log_pi, part.advantage, self.clip)
        value_error = self._value(env, weights, part.obs) - part.target
        objective = jnp.mean(part.weight * (surrogate + self.entropy_cost * entropy))
        loss = -objective + self.value_cost * 0.5 * jnp.mean(jnp.square(value_error))
        ratio_error = jnp.max(jnp.abs(jnp.exp(log_pi - part.log_pi) - 1))
        return loss, {"entropy": jnp.mean(entropy), "ratio_error": ratio_error}

    def _log_pi(self, env: Environment, params: Any, weights: Any, obs: Array, action: Array) -> tuple[Array, Array]:
        """log pi(a given o) of the actions taken and the policy's entropy, both [...]."""
        log_pi = jax.nn.log_softmax(self._logits(env, params, weights, obs))
        return jnp.take_along_axis(log_pi, action[..., None], -1)[..., 0], -jnp.sum(jnp.exp(log_pi) * log_pi, -1)

    def _logits(self, env: Environment, params: Any, weights: Any, obs: Array) -> Array:
        return masked(outputs(self._policy_network(env), weights["policy"], obs), env.action_mask(params))

    def _value(self, env: Environment, weights: Any, obs: Array) -> Array:
        return outputs(self._value_network(env), weights["value"], obs)[..., 0]

    def _policy_network(self, env: Environment) -> ObservationFunction:
        return ObservationFunction(env.num_actions, self.network, self.width, env.observation_space)

    def _value_network(self, env: Environment) -> ObservationFunction:
        return ObservationFunction(1, self.network, self.width, env.observation_space)

    def _optimiser(self) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(self.max_gradient_norm), optax.adam(self.learning_rate, eps=1e-5))


def _standardised(advantage: Array) -> Array:
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)
