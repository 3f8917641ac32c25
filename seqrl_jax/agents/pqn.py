"""Parallel on-policy Q-learning with lambda returns: no replay and no target network.

    Q(h_t, a_t) <- G_t,    G_t = r_t + gamma ((1 - lambda) max_a Q(h_{t+1}, a) + lambda G_{t+1})

computed once per rollout and fitted over a few passes; normalised features keep it from diverging. Right under partial
observability where the memory keeps the whole history. While exploration falls, G goes from Peng's Q(lambda), which
carries news far, to Watkins's, which is not biased by exploratory actions (see `estimators.on_policy`).

Source: Gallici et al. (2025), sec. 4 and algorithm 1; Sutton & Barto (2018), sec. 12.10.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax import estimators
from seqrl_jax.agents.base import MemorylessAgent, Policy, horizon_class, updates_in
from seqrl_jax.agents.exploration import Acting, explore, no_repeat
from seqrl_jax.agents.functions import function_of
from seqrl_jax.agents.greedy import greedy, greedy_table, mean_over_actions, outputs_at_start
from seqrl_jax.agents.history import HistoryFunction, single
from seqrl_jax.agents.networks import masked, of_action
from seqrl_jax.agents.rollout import (
    Magnitude,
    Position,
    StepInput,
    begin,
    bootstrap_discount,
    collect,
    measured,
    no_magnitude,
)
from seqrl_jax.agents.schedules import LAST_RATE, falling
from seqrl_jax.memory import GRU, Memory
from seqrl_jax.naming import check, require
from seqrl_jax.settings import Count, Fraction, PositiveFloat, Probability, RunSteps, Share
from seqrl_jax.tasks.environment import Environment, split_key_cheaply


class Batch(NamedTuple):
    """What an epoch learns from, all [T, B]."""

    seen: StepInput
    action: Array
    target: Array


class PQNState(NamedTuple):
    """Weights, the optimiser's state, magnitudes, where the environments stand, updates so far, and the key."""

    weights: Any
    optimiser: Any
    magnitude: Magnitude
    position: Position
    updates: Array
    key: Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["learning_rate", "run_steps", "lambda_", "max_gradient_norm", "epsilon_end", "exploration_share"],
    meta_fields=["memory", "num_envs", "rollout_length", "epochs", "minibatches", "bootstrap_truncated"],
)
@dataclass(frozen=True)
class PQN(MemorylessAgent):
    """PQN with a memory.

    Attributes:
        learning_rate: of Adam; it falls to a tenth over the `run_steps` steps of a run. lambda_: of the returns.
        max_gradient_norm: the global norm above which gradients are scaled down.
        epsilon_end: chance that a random action begins to repeat (see `explore`) once `exploration_share` of the run is
            over; until then it falls from 1.
        memory: the backbone.
        num_envs: B. rollout_length: T; episodes go on across rollouts.
        epochs, minibatches: passes over a rollout, and parts of each.
        bootstrap_truncated: whether the value after the horizon counts (see `bootstrap_discount`).
    """

    learning_rate: PositiveFloat = 0.002
    run_steps: RunSteps = 300_000.0
    lambda_: Share = 0.9
    max_gradient_norm: PositiveFloat = 1.0
    epsilon_end: Probability = 0.02
    exploration_share: Fraction = 0.7
    memory: Memory = GRU(32)
    num_envs: Count = 16
    rollout_length: Count = 32
    epochs: Count = 4
    minibatches: Count = 4
    bootstrap_truncated: bool = False

    def __post_init__(self) -> None:
        check(self)
        parts = {"num_envs": self.num_envs, "minibatches": self.minibatches}
        require(self.num_envs % self.minibatches == 0, "the environments do not divide into equal parts", **parts)

    @property
    def steps_per_update(self) -> int:
        return self.num_envs * self.rollout_length

    @property
    def memoryless(self) -> bool:
        return self.memory.reach == 1

    @property
    def marked_wrong(self) -> bool:
        return self.memory.reach is not None

    @property
    def acts(self) -> Literal["greedy"]:
        return "greedy"

    def for_run(self, horizon: int, steps: int) -> Self:
        memory, made = self.memory.for_horizon(horizon_class(horizon)), updates_in(self, steps) * self.steps_per_update
        return dataclasses.replace(self, memory=memory, run_steps=float(made))

    def init(self, key: Array, env: Environment, params: Any) -> PQNState:
        key, weights_key, begin_key = jax.random.split(key, 3)
        function = self.function(env)
        weights = function.init(weights_key)
        memory = Acting(function.initialise(weights, self.num_envs), no_repeat(self.num_envs))
        position = begin(begin_key, env, params, self.num_envs, memory)
        magnitude = no_magnitude()
        return PQNState(weights, self._optimiser(1.0).init(weights), magnitude, position, jnp.int32(0), key)

    def update(self, env: Environment, params: Any, state: PQNState) -> tuple[PQNState, dict[str, Array]]:
        key, collect_key, learn_key = jax.random.split(state.key, 3)
        function, mask, start = self.function(env), env.action_mask(params), state.position.memory.carry
        acting = function.acting(state.weights)
        steps = state.updates * self.steps_per_update
        epsilon = falling(steps, self.exploration_share * self.run_steps, self.epsilon_end)
        optimiser_now = self._optimiser(falling(steps, self.run_steps, LAST_RATE))

        def act(key: Array, memory: Acting, seen: StepInput) -> tuple[Acting, Array]:
            carry, q = acting(memory.carry, seen, split_key_cheaply(key))
            repeat, action = explore(key, memory.repeat, seen.first, greedy(q, mask), mask, epsilon)
            return Acting(carry, repeat), action

        position, r = collect(collect_key, env, params, state.position, act, self.rollout_length)
        magnitude = measured(state.magnitude, r, env.discount(params))
        here, after = function.unroll_pairs(
            state.weights, start, r.seen, r.action, r.next_obs, self.bootstrap_truncated
        )
        follows = r.action == greedy(here, mask)
        target = estimators.lambda_return(
            r.reward / magnitude.value,
            bootstrap_discount(r, env.discount(params), self.bootstrap_truncated),
            estimators.on_policy(r.last, follows, falling(steps, self.run_steps, 0.0)),
            jnp.max(masked(after, mask), -1),
            self.lambda_,
        )
        batch = Batch(r.seen, r.action, target)

        def minibatch(carry: tuple[Any, Any], columns: Array) -> tuple[tuple[Any, Any], Array]:
            weights, optimiser = carry
            part = jax.tree.map(lambda leaf: leaf[:, columns], batch)
            memory = jax.tree.map(lambda leaf: leaf[columns], start)

            def loss(weights: Any) -> Array:
                q = function.unroll(weights, memory, part.seen)
                return 0.5 * jnp.mean(jnp.square(of_action(q, part.action) - part.target))

            error, gradient = jax.value_and_grad(loss)(weights)
            change, optimiser = optimiser_now.update(gradient, optimiser, weights)
            return (optax.apply_updates(weights, change), optimiser), error

        orders = jax.vmap(lambda key: jax.random.permutation(key, self.num_envs))(
            jax.random.split(learn_key, self.epochs)
        ).reshape(self.epochs * self.minibatches, -1)
        (weights, optimiser), losses = jax.lax.scan(minibatch, (state.weights, state.optimiser), orders)
        metrics = {"td_error": jnp.sqrt(2 * jnp.mean(losses)), "q": magnitude.value * mean_over_actions(here, mask)}
        return PQNState(weights, optimiser, magnitude, position, state.updates + 1, key), metrics

    def probabilities(self, env: Environment, params: Any, state: PQNState) -> Array:
        return greedy_table(self.function(env).table(state.weights), env.action_mask(params))

    def policy(self, env: Environment, params: Any, state: PQNState) -> Policy:
        function, mask = self.function(env), env.action_mask(params)
        start = function.initialise(state.weights, 1)
        return single(function.acting(state.weights), start, lambda key, q: greedy(q, mask))

    def claim(self, env: Environment, params: Any, state: PQNState, key: Array) -> Array:
        q = outputs_at_start(self.function(env), state.weights, env, params, key)
        return state.magnitude.value * jnp.mean(jnp.max(masked(q, env.action_mask(params)), -1))

    def function(self, env: Environment) -> HistoryFunction:
        return function_of(self.memory, env.num_actions, env, normalise=True)

    def _optimiser(self, share: Array | float) -> optax.GradientTransformation:
        adam = optax.adam(self.learning_rate * share, eps=1e-5)
        return optax.chain(optax.clip_by_global_norm(self.max_gradient_norm), adam)
