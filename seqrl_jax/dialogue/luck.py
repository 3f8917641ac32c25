"""How much of a return was earned, and how much was luck.

In a problem that is regularised towards a reference, beta log pi*/pi_ref(u|s) = Q*(s, u) - V*(s), so that for every
trajectory (without a discount; with one, turn t counts gamma^t)

    sum_t r_t = V*(s_0) + sum_t beta log pi*/pi_ref(u_t|s_t) + sum_t luck_t,
    luck_t = r_t + V*(s_{t+1}) - E[r_t + V*(s_{t+1}) | s_t, u_t].

Whatever infers the policy from whole returns (preferences between dialogues, returns to go as a condition, the best
dialogues of a log) takes the last sum for merit. Luck has mean 0 whatever is said. How far that goes is measured by its
share of the variance of returns where the reference speaks, with the reference's own values, the limit of high beta:
there merit and luck are uncorrelated, and share the variance between them.
"""

from __future__ import annotations

import numpy as np

from seqrl_jax.dialogue.exact import Known, Plan, action_values
from seqrl_jax.dialogue.steps import Steps, steps_of
from seqrl_jax.exact.graph import DecisionGraph

ROUNDING = 1e-12
"""A variance below so much of the mean square is none."""


def luck_share(known: Known) -> float:
    """The variance of a dialogue's luck over that of its return, where the logs speak: 0 with a user who leaves nothing
    to chance, 1 where nothing that is said matters.

    The opening counts as neither: both are variances given how the dialogue begins.
    """
    return_variance, luck_variance = variances(known, known.behaviour, known.logged)
    return luck_variance / return_variance if return_variance > 0 else 0.0


def variances(known: Known, policy: np.ndarray, plan: Plan) -> tuple[float, float]:
    """(of the return, of the luck against the plan's values), means over openings, when a policy [N, A] speaks."""
    graph, steps = known.beliefs.graph, steps_of(known)
    q = np.stack([action_values(graph, onward) for onward in plan.values[1:]])
    nothing = np.zeros_like(plan.values)
    return _variance(graph, steps, policy, nothing, np.zeros_like(q)), _variance(graph, steps, policy, plan.values, q)


def _variance(graph: DecisionGraph, steps: Steps, policy: np.ndarray, values: np.ndarray, q: np.ndarray) -> float:
    """Of the discounted sum of r + gamma V(next belief) - Q over a dialogue, a mean over openings.

    Args: policy: [N, A]. values: V, [H + 1, N]. q: [H, N, A].
    """
    first, second = np.zeros((2, len(steps.node)))
    for t in reversed(range(graph.horizon)):
        value = values[t + 1][steps.node]
        after = graph.discount * (value + first)
        after_square = graph.discount**2 * (value**2 + 2 * value * first + second)
        first, second = np.zeros((2, len(steps.node)))
        for a, (onward, paid) in enumerate(zip(steps.onward, steps.paid, strict=True)):
            said, less = policy[steps.node, a], q[t][steps.node, a]
            mean = steps.reward[a] + onward @ after
            square = steps.square[a] + 2 * (paid @ after) + onward @ after_square
            first += said * (mean - less)
            second += said * (square - 2 * less * mean + less**2)
    opened = lambda of_step: np.bincount(steps.node, steps.weight * of_step, graph.num_nodes)
    square = opened(second)
    variance = float(graph.start @ (square - opened(first) ** 2))
    return variance if variance > ROUNDING * (graph.start @ square) else 0.0
