"""Where imitation of lucky dialogues ends: what is said in the logs, given that the return was high.

    pi(u | h) is proportional to pi_logs(u | h) P(R in top | h, u)

is the limit of filtered imitation and of return-conditioned models with unlimited data and capacity. It is computed
over beliefs, turns and what was earned so far: where replies tell it, it is part of the history, and of the return.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqrl_jax.dialogue.exact import Known, TooLarge
from seqrl_jax.dialogue.return_laws import outcomes_of, shifted

MOST_NUMBERS = 50_000_000
"""Of the laws of what is still earned: by turn, belief, utterance and sum."""


@dataclass(frozen=True, eq=False)
class Conditioned:
    """share: P(R in top) in the logs. value: what is earned by who speaks as the logs do where R is in the top."""

    share: float
    value: float


def conditioned_on_best(known: Known, best: float) -> Conditioned:
    """Imitation of the dialogues that at least 1 - best of all fall short of, and of those that nobody outdoes.

    Where no return in the top can be reached any more, it goes on as the logs do. Without a discount.
    Raises: ValueError as `outcomes_of`; TooLarge.
    """
    graph, horizon = known.beliefs.graph, known.horizon
    outcomes = outcomes_of(known)
    reach = outcomes.reach
    if horizon * graph.reward.size * (2 * reach + 1) > MOST_NUMBERS:
        raise TooLarge(f"{known.game.task.name}: too many sums that may be earned")
    zero = np.zeros((graph.num_nodes, 2 * reach + 1))
    zero[:, reach] = 1.0
    shape = graph.reward.shape

    # What is still earned from each turn on, as a law over the grid; by node and utterance, and by node.
    ahead, law = [], zero
    for turn in reversed(range(horizon)):
        after = np.zeros((*shape, 2 * reach + 1))
        for step, (onward, paid, ended) in outcomes.of.items():
            # What the last turn leads to is not listed.
            done, follows = (paid, 0.0) if turn == horizon - 1 else (ended, (onward @ law).reshape(*shape, -1))
            after += shifted(follows + done[..., None] * zero[:1], step)
        law = (known.behaviour[:, None] @ after)[:, 0]
        ahead.append(after)
    ahead.reverse()

    total = graph.start @ law
    less, possible = np.cumsum(total) - total, np.flatnonzero(total)
    top = (total > 0) & ((less >= 1 - best - 1e-12) | (np.arange(len(total)) == possible[-1]))
    value = np.zeros((graph.num_nodes, 2 * reach + 1))
    # [G]: what has still to be earned, at least, by what was so far, for the whole return to be in the top.
    due = np.clip(top.argmax() + reach - np.arange(len(top)), 0, len(top))
    for t in reversed(range(horizon)):
        at_least = np.cumsum(ahead[t][..., ::-1], -1)[..., ::-1]
        # [N, A, earned so far]: the chance of that.
        weight = known.behaviour[..., None] * np.pad(at_least, ((0, 0), (0, 0), (0, 1)))[..., due]
        norm = weight.sum(1, keepdims=True)
        policy = np.where(norm > 1e-15, weight / np.where(norm > 0, norm, 1.0), known.behaviour[..., None])
        worth = np.zeros((*shape, 2 * reach + 1))
        for step, (onward, paid, _) in outcomes.of.items():
            following = (onward @ shifted(value, -step)).reshape(*shape, -1)
            worth += following + (outcomes.unit * step * paid)[..., None]
        value = (policy * worth).sum(1)
    return Conditioned(float(total[top].sum()), float(graph.start @ value[:, reach]))
