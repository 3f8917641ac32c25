"""What utterances pay, as laws: returns are on a grid of multiples of one number.

Methods read what is said and no rewards. Only where replies tell them is what has been earned known to who reads, and
what is still to come the same whatever was paid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from seqrl_jax.dialogue.exact import Known
from seqrl_jax.dialogue.steps import replies_tell_rewards
from seqrl_jax.tasks.tables import with_data

FINEST = 1e-6
"""Rewards that differ by less count as equal."""
LARGEST_STEP = 1000
"""Of a reward, in multiples of what all of them are multiples of."""


class Outcome(NamedTuple):
    """Of one reward. onward: [N * A, N], how likely it comes with each next belief. paid: [N, A], how likely it comes
    at all. ended: [N, A], how likely the dialogue ends with it."""

    onward: sparse.csr_matrix
    paid: np.ndarray
    ended: np.ndarray


@dataclass(frozen=True, eq=False)
class Outcomes:
    """of: by rewards, in multiples of the unit. reach: no return is further from 0, in such multiples."""

    of: dict[int, Outcome]
    unit: float
    reach: int


def outcomes_of(known: Known) -> Outcomes:
    """Raises: ValueError where rewards are no multiples of one number, or no reply tells of one, or the task has a
    discount."""
    task, graph, belief = known.game.task, known.beliefs.graph, known.beliefs.belief
    if task.discount != 1:
        raise ValueError(f"{task.name}: laws of returns are computed without a discount")
    if not replies_tell_rewards(known):
        raise ValueError(f"{task.name}: laws of returns are computed where replies tell what was paid")
    transition, reward, observation, _ = task.lists
    possible = np.unique(np.round(np.concatenate([pay.data for pay in reward]) / FINEST).astype(np.int64))
    common = int(np.gcd.reduce(possible)) or 1
    steps = possible // common
    if np.abs(steps).max(initial=0) > LARGEST_STEP:
        raise ValueError(f"{task.name}: rewards are no small multiples of one number")
    row = graph.transition.tocoo()
    node, action = row.row // task.num_actions, row.row % task.num_actions
    reply = graph.label[row.col]
    unit = common * FINEST
    found = {}
    for step in steps:
        pairs = zip(transition, reward, strict=True)
        mass = [with_data(law, law.data * np.isclose(pay.data, step * unit, atol=FINEST)) for law, pay in pairs]
        ending = [with_data(law, law.data * task.terminal[law.indices]) for law in mass]
        parts = zip(mass, ending, observation, strict=True)
        going = np.stack([((law - end) @ show).toarray() for law, end, show in parts])
        data = np.einsum("es,es->e", belief[node], going[action, :, reply])
        paid, ended = (belief @ np.stack([law.sum(1) for law in part], 1) for part in (mass, ending))
        onward = sparse.csr_matrix((data, (row.row, row.col)), shape=graph.transition.shape)
        found[int(step)] = Outcome(onward, paid, ended)
    return Outcomes(found, unit, known.horizon * int(np.abs(steps).max(initial=0)))


def shifted(law: np.ndarray, step: int) -> np.ndarray:
    """[..., G]: what stood at g stands at g + step; what leaves the grid has no mass."""
    moved = np.zeros_like(law)
    if step >= 0:
        moved[..., step:] = law[..., : law.shape[-1] - step]
    else:
        moved[..., :step] = law[..., -step:]
    return moved
