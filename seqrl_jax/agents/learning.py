"""Gradient steps: the optimiser that agents share, and passes over a rollout in minibatches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.networks.module import Weights

LAST_RATE = 0.1
"""The share of its learning rate that an agent keeps at the end of a run."""


class TrainState(NamedTuple):
    """Weights, and the optimiser's state beside them."""

    weights: Weights
    opt_state: optax.OptState

    def apply(self, optimiser: optax.GradientTransformation, gradient: Weights) -> TrainState:
        """The state after a step down this gradient."""
        change, opt_state = optimiser.update(gradient, self.opt_state, self.weights)
        return TrainState(optax.apply_updates(self.weights, change), opt_state)


def train_state(optimiser: optax.GradientTransformation, weights: Weights) -> TrainState:
    """Before the first step."""
    return TrainState(weights, optimiser.init(weights))


def annealed_adam(
    learning_rate: Array | float, max_gradient_norm: Array | float, gradient_steps: Array | float
) -> optax.GradientTransformation:
    """Adam whose rate falls to a tenth over so many steps, for gradients scaled down to a global norm."""
    schedule = lambda count: learning_rate * falling(count, gradient_steps, LAST_RATE)
    return optax.chain(optax.clip_by_global_norm(max_gradient_norm), optax.adam(schedule, eps=1e-5))


def share_of_run(updates: Array, steps_per_update: int, run_steps: Array | float) -> Array:
    """How much of a run is over, in float32: a long run has more steps than an int32 can count."""
    return updates.astype(jnp.float32) * steps_per_update / run_steps


def falling(passed: Array, over: Array | float, end: Array | float) -> Array:
    """A schedule: from 1 in a straight line down to `end`, which is reached once `over` has passed, and stays."""
    return jnp.maximum(1.0 - (1.0 - end) * passed.astype(jnp.float32) / over, end)


Loss = Callable[[Weights, Any, Any, Array], tuple[Array, dict[str, Array]]]
"""(weights, carries [M, ...], batch [T, M, ...], key) -> loss, metrics."""


def epochs_over(
    key: Array,
    optimiser: optax.GradientTransformation,
    state: TrainState,
    loss: Loss,
    carry: Any,
    batch: Any,
    epochs: int,
    minibatches: int,
) -> tuple[TrainState, dict[str, Array]]:
    """Passes over a rollout, each in another order and in equal parts.

    A part is some of the environments with all their steps, so that a memory reads every sequence in order, from the
    carry with which the rollout began.

    Args: carry: [B, ...]. batch: [T, B, ...].
    Returns: the state, and the loss's metrics at every step [epochs * minibatches].
    """
    num_envs = jax.tree.leaves(batch)[0].shape[1]
    order_key, step_key = jax.random.split(key)

    def step(state: TrainState, at: tuple[Array, Array]) -> tuple[TrainState, dict[str, Array]]:
        columns, key = at
        part = jax.tree.map(lambda leaf: leaf[:, columns], batch)
        start = jax.tree.map(lambda leaf: leaf[columns], carry)
        gradient, metrics = jax.grad(loss, has_aux=True)(state.weights, start, part, key)
        return state.apply(optimiser, gradient), metrics

    orders = jax.vmap(lambda key: jax.random.permutation(key, num_envs))(jax.random.split(order_key, epochs))
    parts = orders.reshape(epochs * minibatches, -1)
    return jax.lax.scan(step, state, (parts, jax.random.split(step_key, len(parts))))
