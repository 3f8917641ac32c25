"""How fast a language model trains: tokens per second, and which share of the device's arithmetic that is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.lm.base import token_distribution
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.module import Weights
from seqrl_jax.throughput.ceilings import peak_of
from seqrl_jax.throughput.measure import Measurement, Program, measure


@dataclass(frozen=True)
class TrainingSpeed(Measurement):
    """One model's training. flops_per_token: forward and backward, what remat computes again not counted.

    peak: operations per second of the device. peak_is: `stated` by its maker, or `measured` on a matrix product.
    """

    parameters: int
    tokens_per_second: float
    flops_per_token: float
    peak: float
    peak_is: str

    @property
    def share_of_peak(self) -> float:
        """What counts of it by `flops_per_token`."""
        return self.tokens_per_second * self.flops_per_token / self.peak


def training_speed(model: GPT, batch: int, repeats: int) -> TrainingSpeed:
    """Time single steps of Adam on random texts as long as the context."""
    weights = model.initial_weights(jax.random.key(0))
    one = measure({"lm": step_of(model, weights, batch)}, repeats)[0]
    tokens = batch * model.context
    peak, source = peak_of(model.dtype)
    return TrainingSpeed(
        **vars(one),
        parameters=sum(leaf.size for leaf in jax.tree.leaves(weights)),
        tokens_per_second=one.steps_per_second * tokens,
        flops_per_token=flops_per_token(model),
        peak=peak,
        peak_is=source,
    )


def random_text_loss(model: GPT, batch: int, weights: Weights, key: Array) -> Array:
    """Nats per token of `batch` random texts as long as the context."""
    tokens = jax.random.randint(key, (batch, model.context + 1), 0, model.vocabulary)
    return -token_distribution(model.apply(weights, tokens[:, :-1])).log_prob(tokens[:, 1:]).mean()


def step_of(model: GPT, weights: Weights, batch: int) -> Program:
    """A gradient step on `batch` random texts; every weight it gives has a part in the result."""
    adam = optax.adam(1e-3)
    state = adam.init(weights)

    @jax.jit
    def step(weights: Weights, state: optax.OptState, key: Array) -> Array:
        value, gradient = jax.value_and_grad(partial(random_text_loss, model, batch))(weights, key)
        change, state = adam.update(gradient, state)
        after = optax.apply_updates(weights, change)
        totals = [leaf.sum().astype(jnp.float32) for leaf in jax.tree.leaves((after, state))]
        return value + jnp.stack(totals).sum()

    return Program(step, batch, 1, arguments=(weights, state))


def flops_per_token(model: GPT) -> float:
    """`6 N + 12 layers D T`, N the weights that stand in products. Chowdhery et al. (2022), app. B."""
    blocks = 12 * model.layers * model.width**2
    return 6.0 * (blocks + model.vocabulary * model.width) + 12.0 * model.layers * model.width * model.context
