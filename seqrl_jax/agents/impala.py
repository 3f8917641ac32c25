"""IMPALA: actor-critic from data of an older policy, corrected by V-trace.

    V(h_t) <- v_t,    v_t = V(h_t) + sum_k gamma^k (prod c) rho_{t+k} delta_{t+k}
    theta <- theta + alpha rho_t (r_t + gamma v_{t+1} - V(h_t)) grad log pi(a_t | h_t)

Data are old here because a rollout is passed over several times, and each pass reads values and ratios anew. With a
memory of the whole history this is valid under partial observability where nothing is clipped; on the observation, a
window or a history without own actions it bootstraps from values that different states share (at lambda = 1: at the end
of a rollout alone).
Source: Espeholt et al. (2018), sec. 4.
"""

from __future__ import annotations

from typing import Any

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


@hyperparameters
class IMPALA(ActorCritic):
    """IMPALA with a memory.

    Attributes: lambda_: of the traces. clip_rho, clip_c: the largest weight of a step, and of a trace; the others: see
        `ActorCritic`.
    """

    lambda_: Share = 0.97
    clip_rho: PositiveFloat = 1.0
    clip_c: PositiveFloat = 1.0

    @property
    def marked_wrong(self) -> bool:
        return not self.reads_history and float(self.lambda_) < 1

    def prepared(self, env: Environment, params: Any, weights: Weights, carry: Carry, steps: Steps) -> Array:
        """[T, B]: log-probabilities of the actions, under the policy that took them."""
        _, out = unroll(self.network_in(env), weights, carry, steps.experience.inputs)
        return self.policy_from(env, params, out).log_prob(steps.experience.action)

    def objective(
        self, env: Environment, params: Any, weights: Weights, carry: Carry, steps: Steps, batch: Array
    ) -> Objective:
        network, inputs = self.network_in(env), steps.experience.inputs
        here, after = unroll_pairs(network, weights, carry, inputs, steps.following, self.bootstrap_truncated)
        policy, value = self.policy_from(env, params, here), here[..., -1]
        log_prob = policy.log_prob(steps.experience.action)
        target, advantage = jax.lax.stop_gradient(
            estimators.vtrace(
                steps.reward,
                steps.discount,
                steps.continues,
                value,
                after[..., -1],
                jnp.exp(log_prob - batch),
                self.lambda_,
                self.clip_rho,
                self.clip_c,
            )
        )
        return Objective(log_prob * advantage, policy.entropy(), value - target, {"advantage": jnp.std(advantage)})
