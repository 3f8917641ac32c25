"""Imitation of the logs before anything else is learned, by the network that learns it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from seqrl_jax.dialogue.data import Data, batch_of
from seqrl_jax.dialogue.method import Method, Training
from seqrl_jax.dialogue.offline import imitation
from seqrl_jax.dialogue.reader import predictions
from seqrl_jax.dialogue.views import Spelling


def imitated(method: Method, spelling: Spelling, data: Data, training: Training, updates: int, batch: int) -> Training:
    """The training with weights, and target weights, that imitate the log with their head `policy`; the optimiser
    begins anew."""
    if not updates:
        return training
    reader = method.reader(spelling)

    def one(carry: tuple[Any, Any, Any], _: None) -> tuple[tuple[Any, Any, Any], None]:
        weights, opt_state, key = carry
        key, draw_key = jax.random.split(key)
        drawn = jax.random.randint(draw_key, (batch,), 0, data.symbol.shape[0])
        symbol, said = batch_of(data, spelling, drawn)

        def loss(weights: Any) -> Any:
            return imitation(predictions(reader, weights, symbol)["policy"], said, said.own.astype(jnp.float32))

        change, opt_state = method.optimiser.update(jax.grad(loss)(weights), opt_state, weights)
        return (optax.apply_updates(weights, change), opt_state, key), None

    (weights, _, key), _ = jax.lax.scan(one, (training.weights, training.opt_state, training.key), length=updates)
    return training._replace(weights=weights, target=weights, opt_state=method.optimiser.init(weights), key=key)
