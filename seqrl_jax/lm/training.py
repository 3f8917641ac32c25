"""What every training loop here shares: an optimiser whose rate falls to nothing, and one step of it."""

from __future__ import annotations

from collections.abc import Callable

import jax
import optax
from jax import Array

from seqrl_jax.networks.module import Weights

Loss = Callable[[Weights, Array], Array]
"""(weights, key) -> loss."""


def falling_adam(learning_rate: float, updates: int, max_norm: float = 1.0) -> optax.GradientTransformation:
    """Adam behind a clipped global norm; the rate falls linearly to 0 over so many updates."""
    return optax.chain(
        optax.clip_by_global_norm(max_norm), optax.adam(optax.linear_schedule(learning_rate, 0.0, updates))
    )


def descend(
    optimiser: optax.GradientTransformation, gradient: Weights, state: optax.OptState, weights: Weights
) -> tuple[Weights, optax.OptState]:
    """Weights and the optimiser's state, one step later."""
    change, state = optimiser.update(gradient, state, weights)
    return optax.apply_updates(weights, change), state


def gradient_step(
    optimiser: optax.GradientTransformation, loss: Callable[[Weights], Array], weights: Weights, state: optax.OptState
) -> tuple[tuple[Weights, optax.OptState], Array]:
    """Weights and the optimiser's state one step down a loss, and the loss before it."""
    value, gradient = jax.value_and_grad(loss)(weights)
    return descend(optimiser, gradient, state, weights), value


def minimise(loss: Loss, weights: Weights, key: Array, learning_rate: float, updates: int) -> tuple[Weights, Array]:
    """So many steps of `falling_adam` on a loss that draws its own batches. Returns weights, and losses [updates]."""
    optimiser = falling_adam(learning_rate, updates)

    def step(carry: tuple[Weights, optax.OptState], key: Array) -> tuple[tuple[Weights, optax.OptState], Array]:
        return gradient_step(optimiser, lambda weights: loss(weights, key), *carry)

    (weights, _), losses = jax.lax.scan(step, (weights, optimiser.init(weights)), jax.random.split(key, updates))
    return weights, losses
