"""Proximal policy optimisation, on the observation or on the history.

    maximise E[min(rho_t A_t, clip(rho_t, 1 - eps, 1 + eps) A_t)],    rho_t = pi_theta(a_t | h_t) / pi_old(a_t | h_t)

with GAE(lambda) advantages, where h_t is what the memory keeps of o_0 ... o_t. With a memory of the whole history this
is valid under partial observability. Where h_t is the observation or a window it is not: the advantage bootstraps from
the value of h_{t+1}, exactly as in `policy_gradient`; also at lambda = 1, since a rollout may end inside an episode.
Source: Schulman et al. (2017), eq. 7.
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
from seqrl_jax.agents.functions import function_of
from seqrl_jax.agents.history import HistoryFunction, single
from seqrl_jax.agents.latent import COLLAPSED, POSTERIOR_COLLAPSE, Latent, count_collapsed
from seqrl_jax.agents.networks import masked, of_action, sample
from seqrl_jax.agents.rollout import (
    Experience,
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
from seqrl_jax.settings import Count, PositiveFloat, RunSteps, Share, Weight
from seqrl_jax.tasks.environment import Environment, split_key_cheaply


def clipped_surrogate(log_ratio: Array, advantage: Array, clip: Array | float) -> Array:
    """The objective of one step, `min(rho A, clip(rho, 1 - clip, 1 + clip) A)`, with rho = exp(log_ratio).

    Args: log_ratio, advantage: [...].
    Returns: [...]. Source: Schulman et al. (2017), eq. 7.
    """
    ratio = jnp.exp(log_ratio)
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)


class Batch(NamedTuple):
    """What an epoch learns from, all [T, B]; `weight` is gamma^(steps into the episode), or 1."""

    experience: Experience
    log_pi: Array
    advantage: Array
    target: Array
    weight: Array


class PPOState(NamedTuple):
    """Weights, the optimiser's state, magnitudes, where the environments stand, updates so far, and the key.

    collapsed_for: see `latent.count_collapsed`.
    """

    weights: Any
    optimiser: Any
    magnitude: Magnitude
    position: Position
    updates: Array
    collapsed_for: Array
    key: Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["learning_rate", "run_steps", "lambda_", "clip", "entropy_cost", "value_cost", "max_gradient_norm"],
    meta_fields=[
        "memory",
        "num_envs",
        "rollout_length",
        "epochs",
        "minibatches",
        "discounted_occupancy",
        "bootstrap_truncated",
    ],
)
@dataclass(frozen=True)
class PPO(MemorylessAgent):
    """PPO whose policy and value function are two linear layers over one memory.

    A minibatch is a part of the environments with all their steps, so that the memory reads every sequence in order,
    from the carry with which the rollout began.

    Attributes:
        learning_rate: of Adam. lambda_: of GAE. clip: eps. entropy_cost, value_cost: weights in the loss.
        run_steps: of the whole run, over which the learning rate falls to a tenth and the entropy cost to nothing.
        max_gradient_norm: the global norm above which gradients are scaled down.
        memory: the backbone; a `Table` makes policy and value tables over the observation.
        num_envs: B. rollout_length: T; episodes go on across rollouts.
        epochs, minibatches: passes over a rollout, and parts of each.
        discounted_occupancy: weigh step t of an episode by gamma^t, as the gradient of a discounted J has it; the
            common practice leaves it out and follows another gradient.
        bootstrap_truncated: whether the value after the horizon counts (see `bootstrap_discount`).
    """

    learning_rate: PositiveFloat = 0.01
    run_steps: RunSteps = 300_000.0
    lambda_: Share = 0.97
    clip: PositiveFloat = 0.2
    entropy_cost: Weight = 0.06
    value_cost: Weight = 0.5
    max_gradient_norm: PositiveFloat = 0.5
    memory: Memory | Latent = GRU(32)
    num_envs: Count = 16
    rollout_length: Count = 32
    epochs: Count = 4
    minibatches: Count = 4
    discounted_occupancy: bool = True
    bootstrap_truncated: bool = False

    def __post_init__(self) -> None:
        check(self)
        parts = {"num_envs": self.num_envs, "minibatches": self.minibatches}
        require(self.num_envs % self.minibatches == 0, "the environments do not divide into equal parts", **parts)
        why = "PPO compares a policy with itself at the same state: let it use the posterior's mean"
        require(not (isinstance(self.memory, Latent) and self.memory.use == "sample"), why, use="sample")

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
    def acts(self) -> Literal["sampled"]:
        return "sampled"

    def for_run(self, horizon: int, steps: int) -> Self:
        memory, made = self.memory.for_horizon(horizon_class(horizon)), updates_in(self, steps) * self.steps_per_update
        return dataclasses.replace(self, memory=memory, run_steps=float(made))

    def init(self, key: Array, env: Environment, params: Any) -> PPOState:
        key, weights_key, begin_key = jax.random.split(key, 3)
        function = self.function(env)
        weights = function.init(weights_key)
        memory = function.initialise(weights, self.num_envs)
        position = begin(begin_key, env, params, self.num_envs, memory)
        magnitude, updates = no_magnitude(), jnp.int32(0)
        return PPOState(weights, self._optimiser(1.0).init(weights), magnitude, position, updates, jnp.int32(0), key)

    def update(self, env: Environment, params: Any, state: PPOState) -> tuple[PPOState, dict[str, Array]]:
        key, collect_key, learn_key = jax.random.split(state.key, 3)
        function, start = self.function(env), state.position.memory
        acting = function.acting(state.weights)

        def act(key: Array, memory: Any, seen: StepInput) -> tuple[Any, Array]:
            memory, out = acting(memory, seen, None)
            return memory, sample(key, self._logits(env, params, out))

        position, rollout = collect(collect_key, env, params, state.position, act, self.rollout_length)
        magnitude = measured(state.magnitude, rollout, env.discount(params))
        steps = state.updates * self.steps_per_update
        entropy_cost = self.entropy_cost * falling(steps, self.run_steps, 0.0)
        optimiser_now = self._optimiser(falling(steps, self.run_steps, LAST_RATE))

        here, after = function.unroll_pairs(
            state.weights, start, rollout.seen, rollout.action, rollout.next_obs, self.bootstrap_truncated
        )
        gamma = env.discount(params)
        value = here[..., -1]
        advantage = estimators.gae(
            rollout.reward / magnitude.value,
            bootstrap_discount(rollout, gamma, self.bootstrap_truncated),
            jnp.where(rollout.last, 0.0, 1.0),
            value,
            after[..., -1],
            self.lambda_,
        )
        batch = Batch(
            experience=rollout.experience(magnitude),
            log_pi=of_action(jax.nn.log_softmax(self._logits(env, params, here)), rollout.action),
            advantage=_standardised(advantage),
            target=advantage + value,
            weight=gamma ** rollout.time.astype(jnp.float32) if self.discounted_occupancy else jnp.ones_like(advantage),
        )

        def minibatch(carry: tuple[Any, Any], at: tuple[Array, Array]) -> tuple[tuple[Any, Any], dict[str, Array]]:
            (weights, optimiser), (columns, key) = carry, at
            part = jax.tree.map(lambda leaf: leaf[:, columns], batch)
            memory = jax.tree.map(lambda leaf: leaf[columns], start)
            gradient, metrics = jax.grad(self._loss, argnums=2, has_aux=True)(
                env, params, weights, memory, part, entropy_cost, key
            )
            change, optimiser = optimiser_now.update(gradient, optimiser, weights)
            return (optax.apply_updates(weights, change), optimiser), metrics

        orders = jax.vmap(lambda key: jax.random.permutation(key, self.num_envs))(
            jax.random.split(learn_key, self.epochs)
        ).reshape(self.epochs * self.minibatches, -1)
        keys = jax.random.split(split_key_cheaply(learn_key), len(orders))
        (weights, optimiser), metrics = jax.lax.scan(minibatch, (state.weights, state.optimiser), (orders, keys))
        metrics = {"first_ratio_error": metrics["ratio_error"][0], **jax.tree.map(jnp.mean, metrics)}
        collapsed_for = count_collapsed(state.collapsed_for, metrics)
        return PPOState(weights, optimiser, magnitude, position, state.updates + 1, collapsed_for, key), metrics

    def alarms(self, state: PPOState) -> dict[str, Array]:
        return {POSTERIOR_COLLAPSE: state.collapsed_for >= COLLAPSED}

    def probabilities(self, env: Environment, params: Any, state: PPOState) -> Array:
        return jax.nn.softmax(self._logits(env, params, self.function(env).table(state.weights)))

    def policy(self, env: Environment, params: Any, state: PPOState) -> Policy:
        function = self.function(env)
        choose = lambda key, out: sample(key, self._logits(env, params, out))
        return single(function.acting(state.weights), function.initialise(state.weights, 1), choose)

    def _loss(
        self,
        env: Environment,
        params: Any,
        weights: Any,
        memory: Any,
        part: Batch,
        entropy_cost: Array,
        key: Array,
    ) -> tuple[Array, dict[str, Array]]:
        function, experience = self.function(env), part.experience
        out = function.unroll(weights, memory, experience.seen)
        log_law = jax.nn.log_softmax(self._logits(env, params, out))
        log_pi, entropy = of_action(log_law, experience.action), -jnp.sum(jnp.exp(log_law) * log_law, -1)
        surrogate = clipped_surrogate(log_pi - part.log_pi, part.advantage, self.clip)
        objective = jnp.mean(part.weight * (surrogate + entropy_cost * entropy))
        loss = -objective + self.value_cost * 0.5 * jnp.mean(jnp.square(out[..., -1] - part.target))
        ratio_error = jnp.max(jnp.abs(jnp.exp(log_pi - part.log_pi) - 1))
        model_loss, terms = function.model_loss(weights, memory, experience, env.observation_mask(params), key)
        return loss + model_loss, {"entropy": jnp.mean(entropy), "ratio_error": ratio_error, **terms}

    def function(self, env: Environment) -> HistoryFunction:
        """Outputs: the logits of the policy, and behind them the value in units of the largest return."""
        return function_of(self.memory, env.num_actions + 1, env)

    def _logits(self, env: Environment, params: Any, out: Array) -> Array:
        return masked(out[..., :-1], env.action_mask(params))

    def _optimiser(self, share: Array | float) -> optax.GradientTransformation:
        adam = optax.adam(self.learning_rate * share, eps=1e-5)
        return optax.chain(optax.clip_by_global_norm(self.max_gradient_norm), adam)


def _standardised(advantage: Array) -> Array:
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)
