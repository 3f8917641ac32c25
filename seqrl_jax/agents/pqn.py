"""Parallel on-policy Q-learning with lambda returns: no replay and no target network.

    Q(h_t, a_t) <- G_t,    G_t = r_t + gamma ((1 - lambda) max_a Q(h_{t+1}, a) + lambda G_{t+1})

computed once per rollout and fitted over a few passes; normalised features keep it from diverging. Right under partial
observability where the memory keeps the whole history, own actions included. While exploration falls, G goes from
Peng's Q(lambda), which carries news far, to Watkins's, which is not biased by exploratory actions (see
`estimators.on_policy`).

Source: Gallici et al. (2025), sec. 4 and algorithm 1; Sutton & Barto (2018), sec. 12.10.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax import estimators
from seqrl_jax.agents.action_values import best, greedy, mean_over_actions, of_action, outputs_at_start
from seqrl_jax.agents.base import Policy
from seqrl_jax.agents.exploration import EpsilonZ, ExplorationField
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.agents.learning import epochs_over, falling
from seqrl_jax.agents.network import (
    HistoryNetwork,
    acting,
    auxiliary_loss,
    policy_of,
    scale_outputs,
    table,
    unroll,
    unroll_pairs,
)
from seqrl_jax.agents.on_policy import OnPolicy, OnPolicyState
from seqrl_jax.agents.rollout import (
    bootstrap_discount,
    collect,
    measured,
)
from seqrl_jax.networks.distributions import Greedy
from seqrl_jax.networks.experience import Experience, StepInput
from seqrl_jax.networks.module import Carry, Weights
from seqrl_jax.settings import PositiveFloat, Share
from seqrl_jax.tasks.environment import Environment, num_actions, split_key_cheaply


class PQNBatch(NamedTuple):
    """What an epoch learns from, all [T, B]."""

    experience: Experience
    target: Array


@hyperparameters
class PQN(OnPolicy):
    """PQN with a memory. Attributes: lambda_: of the returns. exploration: which random actions are taken; the others:
    see `OnPolicy`."""

    learning_rate: PositiveFloat = 0.002
    max_gradient_norm: PositiveFloat = 1.0
    lambda_: Share = 0.9
    exploration: ExplorationField = EpsilonZ()

    @property
    def acts(self) -> Literal["greedy"]:
        return "greedy"

    def initial_carry(self, batch: int) -> tuple[Carry, Any]:
        return self.memory.initial_carry(batch), self.exploration.initial_carry(batch)

    def update(self, env: Environment, params: Any, state: OnPolicyState) -> tuple[OnPolicyState, dict[str, Array]]:
        key, collect_key, learn_key = jax.random.split(state.key, 3)
        network, mask, start = self.network_in(env), env.action_mask(params), state.position.carry[0]
        step = acting(network, state.train.weights)
        progress = self.progress(state.updates)

        def act(key: Array, carry: tuple[Carry, Any], inputs: StepInput) -> tuple[tuple[Carry, Any], Array]:
            memory, q = step(carry[0], inputs, split_key_cheaply(key))
            exploring, action = self.exploration.explore(key, carry[1], inputs.first, greedy(q, mask), mask, progress)
            return (memory, exploring), action

        position, r = collect(collect_key, env, params, state.position, act, self.rollout_length)
        magnitude = measured(state.magnitude, r, env.discount(params))
        weights = scale_outputs(state.train.weights, state.magnitude.value / magnitude.value)
        pair_key, learn_key = jax.random.split(learn_key)
        here, after = unroll_pairs(network, weights, start, r.inputs, r.next_inputs, self.bootstrap_truncated, pair_key)
        target = estimators.lambda_return(
            r.reward / magnitude.value,
            bootstrap_discount(r, env.discount(params), self.bootstrap_truncated),
            estimators.on_policy(r.last, r.action == greedy(here, mask), falling(progress, 1.0, 0.0)),
            best(after, mask),
            self.lambda_,
        )

        def loss(weights: Weights, carry: Carry, batch: PQNBatch, key: Array) -> tuple[Array, dict[str, Array]]:
            draw_key, auxiliary_key = jax.random.split(key)
            experience = batch.experience
            _, q = unroll(network, weights, carry, experience.inputs, draw_key)
            error = jnp.mean(jnp.square(of_action(q, experience.action) - batch.target))
            auxiliary, terms = auxiliary_loss(
                network, weights, carry, experience, env.observation_mask(params), auxiliary_key
            )
            return 0.5 * error + auxiliary, {"squared_error": error, **terms}

        batch = PQNBatch(r.experience(magnitude), target)
        train = state.train._replace(weights=weights)
        train, metrics = epochs_over(
            learn_key, self.optimiser, train, loss, start, batch, self.epochs, self.minibatches
        )
        metrics = jax.tree.map(jnp.mean, metrics)
        error = jnp.sqrt(metrics.pop("squared_error"))
        metrics = {"td_error": error, "q": magnitude.value * mean_over_actions(here, mask), **metrics}
        diagnostics = self.memory.diagnose(state.diagnostics, metrics)
        return OnPolicyState(train, magnitude, position, state.updates + 1, diagnostics, key), metrics

    def probabilities(self, env: Environment, params: Any, state: OnPolicyState) -> Array:
        return Greedy(table(self.network_in(env), state.train.weights), env.action_mask(params)).probs

    def policy(self, env: Environment, params: Any, state: OnPolicyState) -> Policy:
        choose = lambda key, q: Greedy(q, env.action_mask(params)).mode()
        value = lambda q: state.magnitude.value * best(q, env.action_mask(params))
        step = acting(self.network_in(env), state.train.weights)
        return policy_of(step, self.memory.initial_carry(1), choose, value)

    def claim(self, env: Environment, params: Any, state: OnPolicyState, key: Array) -> Array:
        q = outputs_at_start(self.network_in(env), state.train.weights, env, params, key)
        return state.magnitude.value * jnp.mean(best(q, env.action_mask(params)))

    def network_in(self, env: Environment) -> HistoryNetwork:
        """Outputs: action values in units of the largest return."""
        return self.network(env, num_actions(env), normalise=True)
