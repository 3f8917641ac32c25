"""Where learning from preferences between logged dialogues ends, with unlimited data and capacity.

    minimise, over all policies of histories,  E[softplus(m) - P(w preferred to l) m],    m = beta (rho_w - rho_l)

for pairs of logged dialogues that open alike (see `preferences`). The expectation is over all pairs. It needs their
differences alone, so the dialogues of an opening are gathered by rho on a fine grid.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from seqrl_jax.dialogue.exact import Known
from seqrl_jax.dialogue.histories import Histories, histories_of, value_of

SPACING, FURTHEST = 0.02, 40.0
"""Of the grid of beta rho, whose ends nothing passes."""
ITERATIONS = 500

Weights = Callable[[int, int], float]
"""How much turn t of T counts."""


def preferred(known: Known, beta: float, weight: Weights = lambda turn, turns: 1.0) -> tuple[float, list[np.ndarray]]:
    """What the limit earns, and its policy: [N, A] at the histories of each turn (see `histories`).

    Args: beta: in units of return. Raises: TooLarge, ValueError as `histories_of`.
    """
    histories = histories_of(known)
    logits = [np.log(np.maximum(known.behaviour[level.node], 1e-300)) for level in histories.levels]
    sizes = [each.size for each in logits]
    loss = _loss(histories, logits, beta, weight)

    def flat(vector: np.ndarray) -> tuple[float, np.ndarray]:
        shifts = [part.reshape(each.shape) for part, each in zip(np.split(vector, np.cumsum(sizes)[:-1]), logits)]
        value, gradients = loss(shifts)
        return value, np.concatenate([gradient.ravel() for gradient in gradients])

    options = {"maxiter": ITERATIONS, "maxfun": 2 * ITERATIONS, "ftol": 1e-13, "gtol": 1e-9}
    found = minimize(flat, np.zeros(sum(sizes)), jac=True, method="L-BFGS-B", options=options)
    shifts = [part.reshape(each.shape) for part, each in zip(np.split(found.x, np.cumsum(sizes)[:-1]), logits)]
    policy = [softmax(each + shift, axis=1) for each, shift in zip(logits, shifts, strict=True)]
    return value_of(known, histories, policy), policy


def _loss(
    histories: Histories, reference: list[np.ndarray], beta: float, weight: Weights
) -> Callable[[list[np.ndarray]], tuple[float, list[np.ndarray]]]:
    """The expected loss and its gradients, of shifts [N, A] of the reference's logits at each turn."""
    mass = np.concatenate([ends.weight for ends in histories.ends])
    opening = np.concatenate([ends.opening for ends in histories.ends])
    merit = _merits(histories, opening, mass)
    openings = [np.flatnonzero(opening == each) for each in np.unique(opening)]
    against = _Against()

    def loss(shifts: list[np.ndarray]) -> tuple[float, list[np.ndarray]]:
        log_policy = [log_softmax(log_b + shift, axis=1) for log_b, shift in zip(reference, shifts, strict=True)]
        ratios = [log_p - log_b for log_p, log_b in zip(log_policy, reference, strict=True)]
        margin = beta * np.concatenate([_rho(ratios, ends.path, weight) for ends in histories.ends])
        total, slope = -float(mass @ (merit * margin)), -mass * merit
        for rows in openings:
            value, slopes = against(margin[rows], mass[rows])
            total += value
            slope[rows] += slopes
        gradients = [np.zeros(each.size) for each in reference]
        start = 0
        for ends in histories.ends:
            turns, count = ends.path.shape
            for turn, rows in enumerate(ends.path):
                worth = beta * weight(turn, turns) * slope[start : start + count]
                gradients[turn] += np.bincount(rows, worth, gradients[turn].size)
            start += count
        shaped = [gradient.reshape(each.shape) for gradient, each in zip(gradients, reference, strict=True)]
        return total, [g - np.exp(log_p) * g.sum(1, keepdims=True) for g, log_p in zip(shaped, log_policy, strict=True)]

    return loss


class _Against:
    """`sum_ij w_i w_j (softplus(f_i - f_j) - (f_i - f_j) / 2) / sum_i w_i` and its slopes in f, for many f.

    Each f is spread over three points of a grid as by a quadratic spline, so that slopes are continuous.
    """

    def __init__(self) -> None:
        self.size = round(2 * FURTHEST / SPACING) + 1
        apart = np.arange(1 - self.size, self.size) * SPACING
        self.length = next_fast_len(3 * self.size, real=True)
        self.kernel = rfft(np.logaddexp(0, apart) - apart / 2, self.length)

    def __call__(self, f: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray]:
        place = np.clip((f + FURTHEST) / SPACING, 1.0, self.size - 2.0)
        middle = np.round(place).astype(int)
        off = place - middle
        shares = (0.5 * (0.5 - off) ** 2, 0.75 - off**2, 0.5 * (0.5 + off) ** 2)
        changes = (off - 0.5, -2 * off, off + 0.5)
        heap = sum(np.bincount(middle + k - 1, weight * share, self.size) for k, share in enumerate(shares))
        spread = irfft(self.kernel * rfft(heap, self.length), self.length)[self.size - 1 : 2 * self.size - 1]
        spread /= weight.sum()
        slope = sum(spread[middle + k - 1] * change for k, change in enumerate(changes))
        return float(heap @ spread), 2 * weight * slope / SPACING


def _rho(ratios: list[np.ndarray], path: np.ndarray, weight: Weights) -> np.ndarray:
    turns = len(path)
    return sum(weight(turn, turns) * ratios[turn].ravel()[rows] for turn, rows in enumerate(path))


def _merits(histories: Histories, opening: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """[E]: how often a dialogue is preferred to one that opens alike, less how often that is preferred to it."""
    law = np.concatenate([ends.law for ends in histories.ends])
    preferred = np.tanh((histories.grid[:, None] - histories.grid[None]) / 2)
    _, number = np.unique(opening, return_inverse=True)
    others = np.zeros((number.max() + 1, law.shape[1]))
    np.add.at(others, number, mass[:, None] * law)
    others /= others.sum(1, keepdims=True)
    return np.einsum("eg,eg->e", law, (others @ preferred.T)[number])
