"""Single turns: behind what was said before a turn of an earlier dialogue an utterance is said anew.

Nobody answers it, and no user is needed: what it is worth is for a critic to say.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.dialogue.conversation import Spoken, Talker
from seqrl_jax.dialogue.views import Spelling


def answers(past: Spoken, number: int, spelling: Spelling, talker: Talker, key: Array) -> Spoken:
    """[number, T]: at turns of dialogues [B, T], each as likely as any other, what a talker says there.

    Everything before is as it was, and nothing comes behind. `own` are the symbols of the new utterance alone.
    """
    turn_key, say_key = jax.random.split(key)
    begins = past.own & ~jnp.pad(past.own, ((0, 0), (1, 0)))[:, :-1]
    weight = begins.ravel().astype(jnp.float32)
    drawn = jax.random.choice(turn_key, begins.size, (number,), p=weight / weight.sum())
    dialogue, begin = jnp.divmod(drawn, begins.shape[1])
    before = jax.tree.map(lambda leaf: leaf[dialogue], past)
    one = lambda before, begin, key: _answer(before, begin, spelling, talker, key)
    return jax.vmap(one)(before, begin, jax.random.split(say_key, number))


def _answer(past: Spoken, begin: Array, spelling: Spelling, talker: Talker, key: Array) -> Spoken:
    """In one dialogue [T], from the place on where a turn begins."""
    child, legal = jnp.asarray(spelling.child), jnp.asarray(spelling.legal)
    finished = jnp.asarray(spelling.utterance) >= 0
    turn, zero = past.turn[begin], jnp.float32(0)

    def step(at: tuple[Any, Array], now: tuple[Array, Array, Array, Array]) -> tuple[tuple[Any, Array], Spoken]:
        (carry, node), (place, heard, mine, key) = at, now
        early = place < begin
        own = ~early & ~finished[node]
        chosen, log_prob = talker.choose(key, carry, legal[node])
        said = Spoken(
            symbol=jnp.where(own, chosen, jnp.where(early, heard, 0)),
            own=own,
            node=jnp.where(own, node, 0),
            reward=zero,
            log_prob=jnp.where(own, log_prob, 0.0),
            logged=zero,
            turn=jnp.where(own, turn, 0),
            valid=own | early,
        )
        carry = talker.hear(carry, said.symbol, own | (early & mine))
        return (carry, jnp.where(own, child[node, chosen], node)), said

    places = jnp.arange(len(past.symbol))
    along = (places, past.symbol, past.own, jax.random.split(key, len(places)))
    return jax.lax.scan(step, (talker.initial_carry, jnp.int32(0)), along)[1]
