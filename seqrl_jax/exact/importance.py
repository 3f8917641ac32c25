"""What old data is worth: importance-weighted estimates of a policy's value, their exact spread and exact bias.

Episodes of a behaviour mu are weighted by `rho_t = prod_{k <= t} pi(a_k | o_k) / mu(a_k | o_k)`. That is unbiased, and
its weights grow ever more unequal with the distance between the policies: the effective share of the episodes is
`E[rho]^2 / E[rho^2]` (Kong, 1992). Clipping each ratio at c bounds the weights and biases the estimate: it evaluates
`min(pi, c mu)`, a policy that loses mass at every step.
"""

from __future__ import annotations

import numpy as np

from seqrl_jax.exact.chain import Chain
from seqrl_jax.exact.state import evaluate_memoryless
from seqrl_jax.tasks.tabular import TabularPOMDP


def effective_share(chain: Chain, target: np.ndarray, behaviour: np.ndarray) -> float:
    """The share of the behaviour's episodes that counts, in (0, 1]; policies [O, A], the behaviour's above 0."""
    second = (target**2 / behaviour)[chain.label]
    growth = np.ones(chain.num_nodes)
    for _ in range(chain.horizon):
        # Ended episodes keep the weight they have: what does not go on counts 1.
        ended = 1 - chain.ahead(np.ones(chain.num_nodes))
        growth = (second * (ended + chain.ahead(growth))).sum(1)
    return float(1 / (chain.start @ growth))


def clipped_value(task: TabularPOMDP, target: np.ndarray, behaviour: np.ndarray, clip: float) -> float:
    """The expectation of `sum_t gamma^t r_t prod_{k <= t} min(rho_k, clip)` over the behaviour's episodes."""
    return float(evaluate_memoryless(task, np.minimum(target, clip * behaviour)))


def clipping_bias(task: TabularPOMDP, target: np.ndarray, behaviour: np.ndarray, clip: float) -> float:
    """By how much the clipped estimate misses the target's value, in units of return."""
    return clipped_value(task, target, behaviour, clip) - float(evaluate_memoryless(task, target))
