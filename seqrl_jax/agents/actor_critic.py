"""What actor-critic agents share: one network for policy and value, rollouts that go on, passes over each of them."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import Annotated, Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.agents.base import MemorylessAgent, Policy, horizon_class, updates_in
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.agents.learning import TrainState, annealed_adam, epochs_over, falling, share_of_run, train_state
from seqrl_jax.agents.network import (
    HistoryNetwork,
    acting,
    auxiliary_loss,
    init_weights,
    policy_of,
    scale_outputs,
    table,
)
from seqrl_jax.agents.reading import MemoryField, ReadingAgent
from seqrl_jax.agents.rollout import (
    Magnitude,
    Position,
    Rollout,
    begin,
    bootstrap_discount,
    collect,
    measured,
    no_magnitude,
)
from seqrl_jax.naming import Fitted, check, require
from seqrl_jax.networks import GRU
from seqrl_jax.networks.distributions import Categorical, masked_categorical
from seqrl_jax.networks.experience import Experience, StepInput
from seqrl_jax.networks.module import Carry, Weights
from seqrl_jax.settings import Count, PositiveFloat, Weight
from seqrl_jax.tasks.environment import Environment


class ActorCriticState(NamedTuple):
    """What is learned, magnitudes, where the environments stand, updates so far, the memory's diagnostics, the key."""

    train: TrainState
    magnitude: Magnitude
    position: Position
    updates: Array
    diagnostics: Any
    key: Array


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
class ActorCritic(ReadingAgent, MemorylessAgent):
    """Policy and value function as two linear layers over one memory.

    Attributes:
        learning_rate: of Adam. entropy_cost, value_cost: weights in the loss.
        run_steps: of the whole run, over which the learning rate falls to a tenth and the entropy cost to nothing.
        max_gradient_norm: the global norm above which gradients are scaled down.
        memory: the backbone; a `Table` makes policy and value tables over the observation.
        previous_action, previous_reward: whether the memory reads a_{t-1} and r_{t-1} beside o_t.
        num_envs: B. rollout_length: T; episodes go on across rollouts.
        epochs, minibatches: passes over a rollout, and parts of each.
        discounted_occupancy: weigh step t of an episode by gamma^t, as the gradient of a discounted J has it; the
            common practice leaves it out and follows another gradient.
        bootstrap_truncated: whether the value after the horizon counts (see `bootstrap_discount`).
    """

    learning_rate: PositiveFloat = 0.01
    run_steps: Annotated[float, Fitted()] = 300_000.0
    entropy_cost: Weight = 0.06
    value_cost: Weight = 0.5
    max_gradient_norm: PositiveFloat = 0.5
    memory: MemoryField = GRU(32)
    previous_action: bool | None = None
    previous_reward: bool = False
    num_envs: Count = 16
    rollout_length: Count = 32
    epochs: Count = 4
    minibatches: Count = 4
    discounted_occupancy: bool = True
    bootstrap_truncated: bool = False

    def __post_init__(self) -> None:
        check(self)
        self.require_readable()
        parts = {"num_envs": self.num_envs, "minibatches": self.minibatches}
        require(self.num_envs % self.minibatches == 0, "the environments do not divide into equal parts", **parts)
        why = "a policy is compared with itself at the same state: let it use the posterior's mean"
        require(not self.memory.draws, why, use="sample")

    @property
    def steps_per_update(self) -> int:
        return self.num_envs * self.rollout_length

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

    def for_run(self, horizon: int, steps: int) -> Self:
        memory, made = self.memory.for_horizon(horizon_class(horizon)), updates_in(self, steps) * self.steps_per_update
        return dataclasses.replace(self, memory=memory, run_steps=float(made))

    def init(self, key: Array, env: Environment, params: Any) -> ActorCriticState:
        key, weights_key, begin_key = jax.random.split(key, 3)
        weights = init_weights(self.network_in(env), weights_key)
        carry = self.memory.initial_carry(self.num_envs)
        return ActorCriticState(
            train=train_state(self._optimiser, weights),
            magnitude=no_magnitude(),
            position=begin(begin_key, env, params, self.num_envs, carry),
            updates=jnp.int32(0),
            diagnostics=self.memory.initial_diagnostics(),
            key=key,
        )

    def update(
        self, env: Environment, params: Any, state: ActorCriticState
    ) -> tuple[ActorCriticState, dict[str, Array]]:
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
        entropy_cost = self.entropy_cost * falling(
            share_of_run(state.updates, self.steps_per_update, self.run_steps), 1.0, 0.0
        )

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
            learn_key, self._optimiser, state.train, loss, start, (steps, batch), self.epochs, self.minibatches
        )
        metrics = self.reduced(metrics)
        diagnostics = self.memory.diagnose(state.diagnostics, metrics)
        return ActorCriticState(train, magnitude, position, state.updates + 1, diagnostics, key), metrics

    def alarms(self, state: ActorCriticState) -> dict[str, Array]:
        return self.memory.alarms(state.diagnostics)

    def probabilities(self, env: Environment, params: Any, state: ActorCriticState) -> Array:
        return self.policy_from(env, params, table(self.network_in(env), state.train.weights)).probs

    def policy(self, env: Environment, params: Any, state: ActorCriticState) -> Policy:
        choose = lambda key, out: self.policy_from(env, params, out).sample(seed=key)
        return policy_of(acting(self.network_in(env), state.train.weights), self.memory.initial_carry(1), choose)

    def network_in(self, env: Environment) -> HistoryNetwork:
        """Outputs: the logits of the policy, and behind them the value in units of the largest return."""
        return self.network(env, env.num_actions + 1)

    def policy_from(self, env: Environment, params: Any, out: Array) -> Categorical:
        """[...]: what acts by outputs [..., A + 1]."""
        return masked_categorical(out[..., :-1], env.action_mask(params))

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
        scale = jnp.ones(env.num_actions + 1).at[-1].set(before.value / after.value)
        return scale_outputs(weights, scale)

    @property
    def _optimiser(self) -> optax.GradientTransformation:
        steps = self.run_steps / self.steps_per_update * self.epochs * self.minibatches
        return annealed_adam(self.learning_rate, self.max_gradient_norm, steps)
