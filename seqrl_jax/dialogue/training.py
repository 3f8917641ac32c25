"""Training on a log, and talking with what was learned: pure functions, of one seed, for `jit` and `vmap`."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from scipy.stats import rankdata

from seqrl_jax.dialogue.conversation import Spoken, Talker, converse
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.logs import Log, spelled
from seqrl_jax.dialogue.offline import Batch, Offline
from seqrl_jax.dialogue.reader import Outputs, Reader, first_weights, read
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.networks.module import Weights
from seqrl_jax.networks.recurrent import GRU


class Data(NamedTuple):
    """A log of N dialogues in symbols, [N, T] (see `logs.Spelled`); rewards in units of the largest absolute return.

    onward: the discount up to the next own symbol, 0 where none follows. merit: [N], where the return stands among all,
    in [0, 1]. unit: a scalar.
    """

    symbol: Any
    own: Any
    node: Any
    reward: Any
    onward: Any
    merit: Any
    unit: Any


def data_of(log: Log, spelling: Spelling, discount: float) -> Data:
    """What is learned from, numpy."""
    said = spelled(log, spelling)
    unit = float(np.abs(log.returns).max()) or 1.0
    # An utterance's last own symbol is followed by the user's, if anything follows.
    ends_turn = said.own & ~np.pad(said.own, ((0, 0), (0, 1)))[:, 1:]
    goes_on = said.turn < log.length[:, None] - 1
    onward = np.where(said.own, np.where(ends_turn, np.where(goes_on, discount, 0.0), 1.0), 0.0)
    merit = (rankdata(log.returns) - 0.5) / len(log.returns)
    number = lambda array: np.asarray(array, np.float32)
    return Data(
        said.symbol, said.own, said.node, number(said.reward / unit), number(onward), number(merit), number(unit)
    )


class Training(NamedTuple):
    """weights, those of the target network, the optimiser's state, the key."""

    weights: Weights
    target: Weights
    opt_state: optax.OptState
    key: Array


def reader_of(method: Offline, spelling: Spelling) -> Reader:
    """The network that a method learns."""
    return Reader(spelling.num_symbols, method.heads(spelling.num_symbols), GRU(method.width), method.conditions)


def begin(method: Offline, spelling: Spelling, key: Array) -> Training:
    """Before the first update."""
    key, weights_key = jax.random.split(key)
    weights = first_weights(reader_of(method, spelling), weights_key)
    return Training(weights, weights, _optimiser(method).init(weights), key)


def update(method: Offline, spelling: Spelling, data: Data, training: Training) -> tuple[Training, dict[str, Array]]:
    """One step down the loss on dialogues drawn from the log."""
    key, draw_key = jax.random.split(training.key)
    reader = reader_of(method, spelling)
    index = jax.random.randint(draw_key, (method.batch,), 0, data.symbol.shape[0])
    symbol, batch = _batch(data, spelling, index)
    condition = method.condition(batch)
    # The condition of the places looked ahead of stands at the places looked back from.
    target = _behind(read(reader, training.target, symbol, _widened(condition)))

    def loss(weights: Weights) -> tuple[Array, dict[str, Array]]:
        return method.loss(_behind(read(reader, weights, symbol, _widened(condition))), target, batch)

    gradient, metrics = jax.grad(loss, has_aux=True)(training.weights)
    change, opt_state = _optimiser(method).update(gradient, training.opt_state, training.weights)
    weights = optax.apply_updates(training.weights, change)
    polyak = optax.incremental_update(weights, training.target, method.polyak)
    return Training(weights, polyak, opt_state, key), metrics


def talker_of(method: Offline, spelling: Spelling, weights: Weights) -> Talker:
    """What was learned, as it speaks."""
    reader = reader_of(method, spelling)
    wanted = jnp.full((1, 1), method.wanted(), jnp.int32)
    nothing: Outputs = {name: jnp.zeros(size) for name, size in method.heads(spelling.num_symbols)}

    def choose(key: Array, carry: tuple[Any, Outputs, Array], legal: Array) -> tuple[Array, Array]:
        law = method.law(carry[1], legal)
        chosen = law.sample(seed=key)
        return chosen, law.log_prob(chosen)

    def hear(carry: tuple[Any, Outputs, Array], symbol: Array, earned: Array) -> tuple[Any, Outputs, Array]:
        memory, outputs = reader.apply(weights, carry[0], symbol[None, None], carry[2][None, None], wanted)
        return memory, {name: leaf[0, 0] for name, leaf in outputs.items()}, jnp.bool_(False)

    return Talker((reader.memory.initial_carry(1), nothing, jnp.bool_(True)), choose, hear)


class Talk(NamedTuple):
    """What E dialogues earned, cost and took, [E] each: the return; sum of log pi - log pi_logs; turns."""

    earned: Array
    divergence: Array
    turns: Array


def talk(method: Offline, game: Game, spelling: Spelling, weights: Weights, key: Array, episodes: int) -> Talk:
    """So many dialogues with the game's user."""
    one = lambda key: converse(key, game, spelling, talker_of(method, spelling, weights))
    spoken: Spoken = jax.vmap(one)(jax.random.split(key, episodes))
    last = lambda array: array.max(1).astype(jnp.float32) + 1
    discount = game.task.discount ** spoken.turn.astype(jnp.float32)
    return Talk(
        earned=(discount * spoken.reward).sum(1),
        divergence=(spoken.log_prob - spoken.logged).sum(1),
        turns=last(spoken.turn),
    )


def _batch(data: Data, spelling: Spelling, index: Array) -> tuple[Array, Batch]:
    """All symbols [T, M] of these dialogues, and the decisions at places 1 ... T - 1."""
    taken = lambda array: array[index].T
    symbol = taken(data.symbol)
    batch = Batch(
        symbol=symbol[1:],
        own=taken(data.own)[1:],
        legal=jnp.asarray(spelling.legal)[taken(data.node)[1:]],
        reward=taken(data.reward)[1:],
        onward=taken(data.onward)[1:],
        merit=data.merit[index],
    )
    return symbol, batch


def _behind(outputs: Outputs) -> Outputs:
    """What was thought before each of the places 1 ... T - 1."""
    return {name: leaf[:-1] for name, leaf in outputs.items()}


def _widened(condition: Array | None) -> Array | None:
    return None if condition is None else jnp.concatenate([condition[:1], condition])


def _optimiser(method: Offline) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(method.learning_rate))
