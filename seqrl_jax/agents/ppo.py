"""Proximal policy optimisation, on the observation or on the history.

    maximise E[min(rho_t A_t, clip(rho_t, 1 - eps, 1 + eps) A_t)],    rho_t = pi_theta(a_t | h_t) / pi_old(a_t | h_t)

with GAE(lambda) advantages, where h_t is what the memory keeps of o_0, a_0, ... o_t. With a memory of the whole history
this is valid under partial observability. Where h_t is the observation, a window, or a history without the agent's own
actions it is not: the advantage bootstraps from the value of h_{t+1}, exactly as in `policy_gradient`. At lambda = 1 it
does so at the end of a rollout alone.
Source: Schulman et al. (2017), eq. 7.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax import estimators
from seqrl_jax.agents.actor_critic import ActorCritic, Objective, Steps
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.agents.network import unroll, unroll_pairs
from seqrl_jax.networks.module import Carry, Weights
from seqrl_jax.settings import PositiveFloat, Share
from seqrl_jax.tasks.environment import Environment


def clipped_surrogate(log_ratio: Array, advantage: Array, clip: Array | float) -> Array:
    """The objective of one step, `min(rho A, clip(rho, 1 - clip, 1 + clip) A)`, with rho = exp(log_ratio).

    Args: log_ratio, advantage: [...].
    Returns: [...]. Source: Schulman et al. (2017), eq. 7.
    """
    ratio = jnp.exp(log_ratio)
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)


class PPOBatch(NamedTuple):
    """What an epoch learns from, all [T, B]: pi_old of the actions, standardised advantages, targets of the value."""

    log_prob: Array
    advantage: Array
    target: Array


@hyperparameters
class PPO(ActorCritic):
    """PPO with a memory. Attributes: lambda_: of GAE. clip: eps; the others: see `ActorCritic`."""

    lambda_: Share = 0.97
    clip: PositiveFloat = 0.2

    @property
    def marked_wrong(self) -> bool:
        return not self.reads_history and float(self.lambda_) < 1

    def prepared(self, env: Environment, params: Any, weights: Weights, carry: Carry, steps: Steps) -> PPOBatch:
        network, inputs = self.network_in(env), steps.experience.inputs
        here, after = unroll_pairs(network, weights, carry, inputs, steps.following, self.bootstrap_truncated)
        value, next_value = here[..., -1], after[..., -1]
        advantage = estimators.gae(steps.reward, steps.discount, steps.continues, value, next_value, self.lambda_)
        log_prob = self.policy_from(env, params, here).log_prob(steps.experience.action)
        return PPOBatch(log_prob, (advantage - advantage.mean()) / (advantage.std() + 1e-8), advantage + value)

    def objective(
        self, env: Environment, params: Any, weights: Weights, carry: Carry, steps: Steps, batch: PPOBatch
    ) -> Objective:
        _, out = unroll(self.network_in(env), weights, carry, steps.experience.inputs)
        policy = self.policy_from(env, params, out)
        log_ratio = policy.log_prob(steps.experience.action) - batch.log_prob
        return Objective(
            surrogate=clipped_surrogate(log_ratio, batch.advantage, self.clip),
            entropy=policy.entropy(),
            value_error=out[..., -1] - batch.target,
            metrics={"ratio_error": jnp.max(jnp.abs(jnp.exp(log_ratio) - 1))},
        )

    def reduced(self, metrics: dict[str, Array]) -> dict[str, Array]:
        return {"first_ratio_error": metrics["ratio_error"][0], **jax.tree.map(jnp.mean, metrics)}
