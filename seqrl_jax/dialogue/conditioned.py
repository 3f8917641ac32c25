"""Where imitation of lucky dialogues ends: what is said in the logs, given that the return was high.

    pi(u | h) is proportional to pi_logs(u | h) P(R in top | h, u)

is the limit of filtered imitation and of return-conditioned models with unlimited data and capacity. It is computed
over beliefs, turns and what was earned so far: what has been earned is part of the history, and of the return.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from seqrl_jax.dialogue.exact import Known

FINEST = 1e-6
"""Rewards are told apart to this."""
LARGEST_STEP = 1000
"""Of a reward, in multiples of what all of them are multiples of."""


@dataclass(frozen=True, eq=False)
class Conditioned:
    """share: P(R in top) in the logs. value: what is earned by who speaks as the logs do where R is in the top."""

    share: float
    value: float


def conditioned_on_best(known: Known, best: float) -> Conditioned:
    """Imitation of the dialogues whose return is among the best share of all, with all their equals.

    Where no return in the top can be reached any more, it goes on as the logs do. Without a discount.
    Raises: ValueError where rewards are no multiples of one number, or the task has a discount.
    """
    task, graph, horizon = known.game.task, known.beliefs.graph, known.horizon
    if task.discount != 1:
        raise ValueError(f"{task.name}: returns are conditioned on without a discount")
    outcomes, unit = _outcomes(known)
    reach = horizon * max(abs(step) for step in outcomes)
    zero = np.zeros((graph.num_nodes, 2 * reach + 1))
    zero[:, reach] = 1.0
    shape = graph.reward.shape

    # What is still earned from each turn on, as a law over the grid; by node and utterance, and by node.
    ahead, law = [], zero
    for turn in reversed(range(horizon)):
        after = np.zeros((*shape, 2 * reach + 1))
        for step, (onward, paid, ended) in outcomes.items():
            # What the last turn leads to is not listed.
            done, follows = (paid, 0.0) if turn == horizon - 1 else (ended, (onward @ law).reshape(*shape, -1))
            after += _shifted(follows + done[..., None] * zero[:1], step)
        law = np.einsum("na,nag->ng", known.behaviour, after)
        ahead.append(after)
    ahead.reverse()

    total = graph.start @ law
    top = (np.cumsum(total) >= 1 - best + 1e-12) & (total > 0)
    value = np.zeros((graph.num_nodes, 2 * reach + 1))
    for t in reversed(range(horizon)):
        # [N, A, earned so far]: the chance that the whole return is in the top.
        padded = np.pad(top, reach)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).astype(float)
        weight = known.behaviour[..., None] * np.einsum("nag,eg->nae", ahead[t], windows)
        norm = weight.sum(1, keepdims=True)
        policy = np.where(norm > 1e-15, weight / np.where(norm > 0, norm, 1.0), known.behaviour[..., None])
        worth = np.zeros((*shape, 2 * reach + 1))
        for step, (onward, paid, _) in outcomes.items():
            following = (onward @ _shifted(value, -step)).reshape(*shape, -1)
            worth += following + (unit * step * paid)[..., None]
        value = (policy * worth).sum(1)
    return Conditioned(float(total[top].sum()), float(graph.start @ value[:, reach]))


def _outcomes(known: Known) -> tuple[dict[int, tuple[sparse.csr_matrix, np.ndarray, np.ndarray]], float]:
    """Reward, as a multiple of the unit -> probabilities of the next beliefs [N * A, N] that come with it, [N, A]
    of it, and [N, A] of an end that comes with it; and the unit."""
    task, graph, belief = known.game.task, known.beliefs.graph, known.beliefs.belief
    possible = np.unique(np.round(task.reward[task.transition > 0] / FINEST).astype(np.int64))
    common = int(np.gcd.reduce(possible)) or 1
    steps = possible // common
    if np.abs(steps).max(initial=0) > LARGEST_STEP:
        raise ValueError(f"{task.name}: rewards are no small multiples of one number")
    row = graph.transition.tocoo()
    node, action = row.row // task.num_actions, row.row % task.num_actions
    reply = graph.label[row.col]
    outcomes = {}
    for step in steps:
        mass = task.transition * np.isclose(task.reward, step * common * FINEST, atol=FINEST)
        going = np.einsum("ast,ato->aso", mass * ~task.terminal, task.observation)
        data = np.einsum("es,es->e", belief[node], going[action, :, reply])
        paid, ended = (np.einsum("ns,as->na", belief, part.sum(2)) for part in (mass, mass * task.terminal))
        outcomes[int(step)] = (sparse.csr_matrix((data, (row.row, row.col)), shape=graph.transition.shape), paid, ended)
    return outcomes, common * FINEST


def _shifted(array: np.ndarray, step: int) -> np.ndarray:
    """[..., G]: what stood at g stands at g + step; what leaves the grid has no mass."""
    moved = np.zeros_like(array)
    if step >= 0:
        moved[..., step:] = array[..., : array.shape[-1] - step]
    else:
        moved[..., :step] = array[..., -step:]
    return moved
