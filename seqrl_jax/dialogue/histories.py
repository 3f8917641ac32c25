"""All dialogues of a small game, listed: what has been said, how likely the logs hold it, and what it earned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from seqrl_jax.dialogue.exact import Known, TooLarge
from seqrl_jax.dialogue.return_laws import Outcomes, outcomes_of, shifted


class Level(NamedTuple):
    """N histories at which a turn is decided.

    node: [N], their beliefs. reach: [N], how likely they are in the logs. opening: [N], the belief after the first
    reply. parent: [N], rows `n * A + a` of the level before, what was said there. chance: [N], of the reply to that.
    law: [N, G], of what has been earned.
    """

    node: np.ndarray
    reach: np.ndarray
    opening: np.ndarray
    parent: np.ndarray
    chance: np.ndarray
    law: np.ndarray


class Ends(NamedTuple):
    """E whole dialogues of one length. path: [turns, E], the rows `n * A + a` that they went by, level by level.
    weight: [E], how likely they are in the logs. opening: [E]. law: [E, G], of the return."""

    path: np.ndarray
    weight: np.ndarray
    opening: np.ndarray
    law: np.ndarray


@dataclass(frozen=True, eq=False)
class Histories:
    """levels: by turn. ends: by turns, from one on. grid: [G], returns."""

    levels: list[Level]
    ends: list[Ends]
    grid: np.ndarray


def histories_of(known: Known) -> Histories:
    """Raises: TooLarge for more histories of a turn than `known.limit`; ValueError as `outcomes_of`."""
    graph, outcomes = known.beliefs.graph, outcomes_of(known)
    begins = np.flatnonzero(graph.start)
    law = np.zeros((len(begins), 2 * outcomes.reach + 1))
    law[:, outcomes.reach] = 1.0
    nobody = np.full(len(begins), -1)
    levels = [Level(begins, graph.start[begins], begins, nobody, np.ones(len(begins)), law)]
    ends = []
    for turn in range(known.horizon):
        ends.append(_ends(known, outcomes, levels, last=turn + 1 == known.horizon))
        if turn + 1 < known.horizon:
            levels.append(_next(known, outcomes, levels[-1]))
    return Histories(levels, ends, np.arange(-outcomes.reach, outcomes.reach + 1) * outcomes.unit)


def _rows(known: Known, level: Level) -> tuple[np.ndarray, np.ndarray]:
    """Of every history and utterance, the row in the graph; and how likely it is in the logs [N, A]."""
    num_a = known.behaviour.shape[1]
    return (level.node[:, None] * num_a + np.arange(num_a)).ravel(), level.reach[:, None] * known.behaviour[level.node]


def _next(known: Known, outcomes: Outcomes, level: Level) -> Level:
    rows, said = _rows(known, level)
    follows = known.beliefs.graph.transition[rows].tocoo()
    keep = (follows.data > 0) & (said.ravel()[follows.row] > 0)
    parent, node, chance = follows.row[keep], follows.col[keep], follows.data[keep]
    if len(parent) > known.limit:
        raise TooLarge(f"{known.game.task.name}: too many dialogues to list")
    before = parent // known.behaviour.shape[1]
    law = np.zeros((len(parent), level.law.shape[1]))
    for step, outcome in outcomes.of.items():
        share = np.asarray(outcome.onward[rows[parent], node]).ravel() / chance
        law += share[:, None] * shifted(level.law[before], step)
    return Level(node, said.ravel()[parent] * chance, level.opening[before], parent, chance, law)


def _ends(known: Known, outcomes: Outcomes, levels: list[Level], last: bool) -> Ends:
    level = levels[-1]
    _, said = _rows(known, level)
    ending = {step: (outcome.paid if last else outcome.ended)[level.node] for step, outcome in outcomes.of.items()}
    mass = said * sum(ending.values())
    history, utterance = np.nonzero(mass > 0)
    law = sum(share[history, utterance][:, None] * shifted(level.law[history], step) for step, share in ending.items())
    path = [history * said.shape[1] + utterance]
    for earlier in reversed(levels[1:]):
        path.append(earlier.parent[path[-1] // said.shape[1]])
    return Ends(
        path=np.array(path[::-1]),
        weight=mass[history, utterance],
        opening=level.opening[history],
        law=law / law.sum(1, keepdims=True),
    )


def value_of(known: Known, histories: Histories, policy: list[np.ndarray]) -> float:
    """What policies [N, A] of the levels earn, without a discount."""
    graph, onward = known.beliefs.graph, np.zeros(0)
    for turn in reversed(range(len(histories.levels))):
        level = histories.levels[turn]
        q = graph.reward[level.node]
        if turn + 1 < len(histories.levels):
            after = histories.levels[turn + 1]
            q = q + np.bincount(after.parent, after.chance * onward, q.size).reshape(q.shape)
        onward = (policy[turn] * q).sum(1)
    return float(histories.levels[0].reach @ onward)
