"""How fast a language model learns, reads and writes: tokens per second, and which share of the device's arithmetic
that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.lm.base import token_distribution
from seqrl_jax.lm.sampling import sample
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.module import Weights
from seqrl_jax.throughput.ceilings import peak_of
from seqrl_jax.throughput.measure import Measurement, Program, measure


@dataclass(frozen=True)
class LanguageSpeed(Measurement):
    """One model at one occupation. flops_per_token: of products; what remat computes again does not count.

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


class Occupation(NamedTuple):
    """A program of B texts, how many of their tokens count, and operations for each of these."""

    program: Program
    tokens: int
    flops_per_token: float


def speeds(model: GPT, batch: int, repeats: int, of: Sequence[str] | None = None) -> list[LanguageSpeed]:
    """Time what a model does with `batch` texts as long as its context: these of `OCCUPATIONS`, or all, alternating."""
    weights = model.initial_weights(jax.random.key(0))
    occupations = {name: OCCUPATIONS[name](model, weights, batch) for name in of or OCCUPATIONS}
    measured = measure({name: occupation.program for name, occupation in occupations.items()}, repeats)
    peak, source = peak_of(model.dtype)
    return [
        LanguageSpeed(
            **vars(one),
            parameters=sum(leaf.size for leaf in jax.tree.leaves(weights)),
            tokens_per_second=one.steps_per_second * occupation.tokens,
            flops_per_token=occupation.flops_per_token,
            peak=peak,
            peak_is=source,
        )
        for one, occupation in zip(measured, occupations.values(), strict=True)
    ]


def training(model: GPT, weights: Weights, batch: int) -> Occupation:
    """A step of Adam on random texts, forward and backward."""
    return Occupation(step_of(model, weights, batch), batch * model.context, 3 * forward_flops(model, model.context))


def reading(model: GPT, weights: Weights, batch: int) -> Occupation:
    """Prompts of half the context, in one pass that fills the cache; nothing is said of them, so no logits."""
    length = model.context // 2

    @jax.jit
    def read(weights: Weights, key: Array) -> Array:
        carry, hidden = model.apply(
            weights, model.initial_carry(batch, length), _random_texts(model, batch, length, key), method="read"
        )
        return _all_of((carry, hidden))

    return Occupation(Program(read, batch, 1, arguments=(weights,)), batch * length, hidden_flops(model, length))


def writing(model: GPT, weights: Weights, batch: int) -> Occupation:
    """The other half of the context, drawn token by token from the cache; what is read before takes time, too, and
    counts neither as tokens nor as operations."""
    length = model.context // 2

    @jax.jit
    def write(weights: Weights, key: Array) -> Array:
        before, drawn = jax.random.split(key)
        prompts = _random_texts(model, batch, model.context - length, before)
        return _all_of(sample(model, weights, drawn, prompts, length))

    program = Program(write, batch, 1, arguments=(weights,))
    return Occupation(program, batch * length, forward_flops(model, model.context))


OCCUPATIONS: Mapping[str, Callable[[GPT, Weights, int], Occupation]] = {
    "training": training,
    "reading": reading,
    "writing": writing,
}


def random_text_loss(model: GPT, batch: int, weights: Weights, key: Array) -> Array:
    """Nats per token of `batch` random texts as long as the context."""
    tokens = _random_texts(model, batch, model.context + 1, key)
    return -token_distribution(model.apply(weights, tokens[:, :-1])).log_prob(tokens[:, 1:]).mean()


def step_of(model: GPT, weights: Weights, batch: int) -> Program:
    """A gradient step on `batch` random texts; every weight it gives has a part in the result."""
    adam = optax.adam(1e-3)
    state = adam.init(weights)

    @jax.jit
    def step(weights: Weights, state: optax.OptState, key: Array) -> Array:
        value, gradient = jax.value_and_grad(partial(random_text_loss, model, batch))(weights, key)
        change, state = adam.update(gradient, state)
        return value + _all_of((optax.apply_updates(weights, change), state))

    return Program(step, batch, 1, arguments=(weights, state))


def forward_flops(model: GPT, attended: int) -> float:
    """Operations for the logits behind a token that attends to so many places; a gradient takes three times as many."""
    return hidden_flops(model, attended) + 2.0 * model.vocabulary * model.width


def hidden_flops(model: GPT, attended: int) -> float:
    """`2 N + 4 layers D T` without logits, N the blocks' weights that stand in products. Chowdhery et al. (2022), app.
    B."""
    return 24.0 * model.layers * model.width**2 + 4.0 * model.layers * model.width * attended


def _random_texts(model: GPT, batch: int, length: int, key: Array) -> Array:
    return jax.random.randint(key, (batch, length), 0, model.vocabulary)


def _all_of(tree: object) -> Array:
    """A number that everything has a part in, so that nothing is left out."""
    return jnp.stack([leaf.sum().astype(jnp.float32) for leaf in jax.tree.leaves(tree)]).sum()
