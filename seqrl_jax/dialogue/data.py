"""A log as methods read it: decisions in symbols, in units of the deviation of its returns."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.dialogue.logs import Log, spelled
from seqrl_jax.dialogue.views import Spelling

ROUNDING = 1e-6
"""Relative, by which returns differ that are the same."""


class Groups(NamedTuple):
    """N dialogues, those that are alike in a group. order: [N], in which groups stand together. first, count: [N],
    where in that order the group of a dialogue begins, and how many it has."""

    order: Any
    first: Any
    count: Any

    def pairs(self, key: Array, number: int) -> Array:
        """[2 * number]: dialogues, and behind them one of the group of each."""
        first_key, second_key = jax.random.split(key)
        one = jax.random.randint(first_key, (number,), 0, self.order.shape[0])
        share = jax.random.uniform(second_key, one.shape)
        place = self.first[one] + (share * self.count[one].astype(jnp.float32)).astype(jnp.int32)
        return jnp.concatenate([one, self.order[place]])


class Hidden(NamedTuple):
    """What a log knows and no agent sees. state: [N, H] int32, of the user, when each turn begins. alike: dialogues
    that begin in one state with the same opening."""

    state: Any
    alike: Groups


class Data(NamedTuple):
    """A log of N dialogues in symbols, [N, T] (see `logs.Spelled`); rewards in units of the returns'
    standard deviation, so that a temperature means the same in every game.

    onward: the discount up to the next own symbol, 0 where none follows. merit: [N], see `merits`. earned: [N], the
    return, discounted from turn to turn. alike: dialogues with the same opening. unit: a scalar. least, most: scalars,
    between which every return to go lies, in these units. hidden: for methods that see it, else None.
    """

    symbol: Any
    own: Any
    node: Any
    turn: Any
    reward: Any
    onward: Any
    merit: Any
    earned: Any
    alike: Groups
    unit: Any
    least: Any
    most: Any
    hidden: Hidden | None


class Batch(NamedTuple):
    """Decisions of logged dialogues; T places (each looks back on all symbols before it), B dialogues.

    symbol: [T, B], what was said. own: [T, B] bool, whether by the agent. legal: [T, B, V] bool. turn: [T, B].
    reward: [T, B], of a turn, on its last own symbol. onward: [T, B], the discount up to the next decision, 0 where
    none follows. merit, earned: [B], see `Data`. unit, least, most: scalars.
    """

    symbol: Array
    own: Array
    legal: Array
    turn: Array
    reward: Array
    onward: Array
    merit: Array
    earned: Array
    unit: Array
    least: Array
    most: Array


def data_of(log: Log, spelling: Spelling, discount: float, sees_state: bool = False) -> Data:
    """What is learned from, numpy. sees_state: whether by a method that looks at the user's states."""
    said = spelled(log, spelling)
    earned = log.returns(discount)
    # Equal floats have a deviation of their rounding, which is no unit.
    spread = float(earned.std())
    unit = spread if spread > ROUNDING * max(1.0, float(np.abs(earned).max())) else 1.0
    to_go = np.zeros((len(earned), log.reward.shape[1] + 1))
    for t in reversed(range(log.reward.shape[1])):
        to_go[:, t] = log.reward[:, t] / unit + discount * to_go[:, t + 1]
    # An utterance's last own symbol is followed by the user's, if anything follows.
    ends_turn = said.own & ~np.pad(said.own, ((0, 0), (0, 1)))[:, 1:]
    goes_on = said.turn < log.length[:, None] - 1
    onward = np.where(said.own, np.where(ends_turn, np.where(goes_on, discount, 0.0), 1.0), 0.0)
    opening, start = log.reply[:, 0], log.state[:, 0]
    number = lambda array: np.asarray(array, np.float32)
    return Data(
        symbol=said.symbol,
        own=said.own,
        node=said.node,
        turn=said.turn,
        reward=number(said.reward / unit),
        onward=number(onward),
        merit=number(merits(earned)),
        earned=number(earned / unit),
        alike=_groups(opening),
        unit=number(unit),
        least=number(to_go[:, :-1].min()),
        most=number(to_go[:, :-1].max()),
        hidden=Hidden(log.state[:, :-1].astype(np.int32), _groups(opening + (opening.max() + 1) * start))
        if sees_state
        else None,
    )


def merits(earned: np.ndarray) -> np.ndarray:
    """[N]: the share of all N dialogues that earned less, and 1 for those that nobody outdoes.

    Equals are in the best share of all together or not at all: counted upwards, a log of which most fail alike would be
    its own best fifth; and where more than a fifth are the best, they are it.
    """
    values, which = np.unique(earned, return_inverse=True)
    # [values], the number of the return that each is, apart from rounding.
    rank = np.cumsum(np.diff(values, prepend=values[0]) > ROUNDING * max(1.0, float(np.abs(earned).max())))[which]
    share = np.searchsorted(np.sort(rank), rank, "left") / len(rank)
    return np.where(rank == rank.max(), 1.0, share)


def _groups(kind: np.ndarray) -> Groups:
    """Dialogues of one kind [N] in a group."""
    order = np.argsort(kind, kind="stable")
    first, last = (np.searchsorted(kind[order], kind, side) for side in ("left", "right"))
    return Groups(order.astype(np.int32), first.astype(np.int32), (last - first).astype(np.int32))


def batch_of(data: Data, spelling: Spelling, index: Array) -> tuple[Array, Batch]:
    """All symbols [T, M] of these dialogues, and the decisions at places 1 ... T - 1."""
    symbol = data.symbol[index].T
    later = lambda array: array[index].T[1:]
    return symbol, Batch(
        symbol=symbol[1:],
        own=later(data.own),
        legal=jnp.asarray(spelling.legal)[later(data.node)],
        turn=later(data.turn),
        reward=later(data.reward),
        onward=later(data.onward),
        merit=data.merit[index],
        earned=data.earned[index],
        unit=data.unit,
        least=data.least,
        most=data.most,
    )
