"""What group baselines do to the policy gradient of a dialogue, by enumeration.

A group of dialogues begins alike, and each turn's reward is compared with the group's at that turn:

    A_t = sum_{k >= t} gamma^k (r_k - b_k)

Dialogues end at different turns, and what b_k is where some have ended decides what is learned. The mean over the
members that still talk compares those that went on with each other: that they went on counts for nothing. Members that
ended count 0 in the others; left out of one's own baseline (leave one out), or not (a mean over all), which shrinks the
gradient by 1 - 1/n.

The expectation of each estimate is the gradient of E[sum_k gamma^k f_k] at fixed f: r_k itself for leave one out,
(1 - 1/n) r_k for the mean over all, and (1 - c_k)(r_k - m_k) while a dialogue lasts for the mean over those that talk,
where m_k is their mean reward and c_k = E[1 / (1 + M)], M the number of others that talk at turn k, binomial as the
group begins alike.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from seqrl_jax.exact.chain import Chain

Baseline = Literal["none", "leave_one_out", "mean_of_all", "mean_of_talking"]
BASELINES: tuple[Baseline, ...] = ("none", "leave_one_out", "mean_of_all", "mean_of_talking")


def expected_gradient(chain: Chain, policy: np.ndarray, baseline: Baseline, members: int) -> np.ndarray:
    """[M, A]: the expectation of the estimate of dJ / dlogits, for a policy [M, A] of what is known of the past.

    Args: chain: of a task (`exact.chain`); nodes are numbered by what is known, `chain.history`. members: n of a group.
    """
    by_node = policy[chain.history]
    gradient = np.zeros_like(policy)
    for first in np.flatnonzero(chain.start):
        begin = np.zeros(chain.num_nodes)
        begin[first] = 1.0
        alive = _alive(chain, by_node, begin)
        onward = np.zeros(chain.num_nodes)
        for t in reversed(range(chain.horizon)):
            weight, centre = _compared(chain, by_node, alive[t], baseline, members)
            q = chain.discount**t * weight * (chain.reward - centre) + chain.ahead(onward)
            onward = (by_node * q).sum(1)
            score = (chain.start[first] * alive[t])[:, None] * by_node * (q - onward[:, None])
            np.add.at(gradient, chain.history, score)
    return gradient


def _alive(chain: Chain, by_node: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """[H, N]: the probability of being in a node, and talking, at every turn."""
    rows = []
    for _ in range(chain.horizon):
        rows.append(begin)
        begin = (begin[:, None] * by_node).ravel() @ chain.transition
    return np.array(rows)


def _compared(
    chain: Chain, by_node: np.ndarray, alive: np.ndarray, baseline: Baseline, members: int
) -> tuple[float, float]:
    """(w, m) of f = w (r - m) at a turn."""
    if baseline == "mean_of_all":
        return 1 - 1 / members, 0.0
    talking = alive.sum()
    if baseline != "mean_of_talking" or talking == 0:
        return 1.0, 0.0
    alone = (1 - (1 - talking) ** members) / (members * talking)
    return 1 - alone, float(alive @ (by_node * chain.reward).sum(1) / talking)
