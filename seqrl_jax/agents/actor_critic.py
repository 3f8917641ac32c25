"""What actor-critic agents share: one network for policy and value, rollouts that go on, passes over each of them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.action_law import action_law, law_size
from seqrl_jax.agents.base import Policy
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.agents.learning import epochs_over, falling
from seqrl_jax.agents.network import (
    HistoryNetwork,
    acting,
    auxiliary_loss,
    policy_of,
    scale_outputs,
    table,
)
from seqrl_jax.agents.on_policy import OnPolicy, OnPolicyState
from seqrl_jax.agents.rollout import (
    Magnitude,
    Rollout,
    bootstrap_discount,
    collect,
    measured,
)
from seqrl_jax.naming import require
from seqrl_jax.networks.experience import Experience, StepInput
from seqrl_jax.networks.module import Carry, Weights
from seqrl_jax.settings import Weight
from seqrl_jax.tasks.environment import Environment


class Steps(NamedTuple):
    """A rollout as losses read it, all [T, B, ...].

    experience: what was given, done and paid. following: the inputs that really followed each step. reward: in units of
    the largest return. discount, continues: see `estimators`. weight: gamma^(steps into the episode), or 1.
    """

    experience: Experience
    following: StepInput
    reward: Array
    discount: Array
    continues: Array
    weight: Array


class Objective(NamedTuple):
    """surrogate, entropy: of the policy, [T, M]. value_error: of the value, [T, M]. metrics: scalars."""

    surrogate: Array
    entropy: Array
    value_error: Array
    metrics: dict[str, Array]


@hyperparameters
class ActorCritic(OnPolicy):
    """Policy and value function as two linear layers over one memory; a `Table` makes both tables.

    Attributes:
        entropy_cost, value_cost: weights in the loss; that of the entropy falls to nothing over the run.
        discounted_occupancy: weigh step t of an episode by gamma^t, as the gradient of a discounted J has it; the
            common practice leaves it out and follows another gradient.
        The others: see `OnPolicy`.
    """

    entropy_cost: Weight = 0.06
    value_cost: Weight = 0.5
    discounted_occupancy: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        why = "a policy is compared with itself at the same state: let it use the posterior's mean"
        require(not self.memory.draws, why, use="sample")

    @property
    def acts(self) -> Literal["sampled"]:
        return "sampled"

    @abstractmethod
    def prepared(self, env: Environment, params: Any, weights: Weights, carry: Carry, steps: Steps) -> Any:
        """What all passes over a rollout learn from besides its steps, [T, B, ...], by the weights that acted."""

    @abstractmethod
    def objective(
        self, env: Environment, params: Any, weights: Weights, carry: Carry, steps: Steps, batch: Any
    ) -> Objective:
        """What a pass improves, on a part [T, M] of the steps and of what was prepared."""

    def reduced(self, metrics: dict[str, Array]) -> dict[str, Array]:
        """Metrics of an update from those of its gradient steps [epochs * minibatches]."""
        return jax.tree.map(jnp.mean, metrics)

    def update(self, env: Environment, params: Any, state: OnPolicyState) -> tuple[OnPolicyState, dict[str, Array]]:
        key, collect_key, learn_key = jax.random.split(state.key, 3)
        start, gamma = state.position.carry, env.discount(params)
        step = acting(self.network_in(env), state.train.weights)

        def act(key: Array, carry: Carry, inputs: StepInput) -> tuple[Carry, Array]:
            carry, out = step(carry, inputs, None)
            return carry, self.policy_from(env, params, out).sample(seed=key)

        position, rollout = collect(collect_key, env, params, state.position, act, self.rollout_length)
        magnitude = measured(state.magnitude, rollout, gamma)
        weights = self._rescaled(env, state.train.weights, state.magnitude, magnitude)
        steps = self._steps(rollout, magnitude, gamma)
        batch = self.prepared(env, params, weights, start, steps)
        entropy_cost = self.entropy_cost * falling(self.progress(state.updates), 1.0, 0.0)

        def loss(weights: Weights, carry: Carry, part: tuple[Steps, Any], key: Array) -> tuple[Array, dict[str, Array]]:
            steps, batch = part
            goal = self.objective(env, params, weights, carry, steps, batch)
            actor = -jnp.mean(steps.weight * (goal.surrogate + entropy_cost * goal.entropy))
            critic = self.value_cost * 0.5 * jnp.mean(jnp.square(goal.value_error))
            seen = env.observation_mask(params)
            auxiliary, terms = auxiliary_loss(self.network_in(env), weights, carry, steps.experience, seen, key)
            return actor + critic + auxiliary, {"entropy": jnp.mean(goal.entropy), **goal.metrics, **terms}

        state = state._replace(train=state.train._replace(weights=weights))
        train, metrics = epochs_over(
            learn_key, self.optimiser, state.train, loss, start, (steps, batch), self.epochs, self.minibatches
        )
        metrics = self.reduced(metrics)
        diagnostics = self.memory.diagnose(state.diagnostics, metrics)
        return OnPolicyState(train, magnitude, position, state.updates + 1, diagnostics, key), metrics

    def probabilities(self, env: Environment, params: Any, state: OnPolicyState) -> Array:
        return self.policy_from(env, params, table(self.network_in(env), state.train.weights)).probs

    def policy(self, env: Environment, params: Any, state: OnPolicyState) -> Policy:
        choose = lambda key, out: self.policy_from(env, params, out).sample(seed=key)
        step = acting(self.network_in(env), state.train.weights)
        return policy_of(step, self.memory.initial_carry(1), choose, lambda out: state.magnitude.value * out[-1])

    def network_in(self, env: Environment) -> HistoryNetwork:
        """Outputs: the law of the action, and behind it the value in units of the largest return."""
        return self.network(env, law_size(env.action_space) + 1)

    def policy_from(self, env: Environment, params: Any, out: Array) -> Any:
        """[...]: what acts by outputs [..., law_size + 1]."""
        return action_law(env.action_space, out[..., :-1], env.action_mask(params))

    def _steps(self, rollout: Rollout, magnitude: Magnitude, gamma: Array) -> Steps:
        time = rollout.time.astype(jnp.float32)
        return Steps(
            experience=rollout.experience(magnitude),
            following=rollout.next_inputs,
            reward=rollout.reward / magnitude.value,
            discount=bootstrap_discount(rollout, gamma, self.bootstrap_truncated),
            continues=jnp.where(rollout.last, 0.0, 1.0),
            weight=gamma**time if self.discounted_occupancy else jnp.ones_like(time),
        )

    def _rescaled(self, env: Environment, weights: Weights, before: Magnitude, after: Magnitude) -> Weights:
        """The weights whose value says the same in the new unit as it said in the old one."""
        scale = jnp.ones(law_size(env.action_space) + 1).at[-1].set(before.value / after.value)
        return scale_outputs(weights, scale)
