"""The tightest interpolation between points of known value: linear programs, many at once.

A convex function lies below every combination of its values that mixes points into a belief. The best combination is
that of a linear program: `max sum_p drop_p lambda_p` with `sum_p lambda_p b_p <= belief`, where corners fill up what is
missing and drop_p is how far point p lies below what the corners say. Whatever feasible combination is found bounds
the function, so that a program may be left before its optimum.
"""

from __future__ import annotations

import numpy as np

PIVOTS = 4
"""At most so many times as many exchanges as there are states."""
ZERO = 1e-11
"""Shares smaller than this are rounding."""


def mixtures(belief: np.ndarray, drop: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of which points beliefs are mixed, by the primal simplex method from corners alone.

    Args: belief: [P, S], the points. drop: [P]. mass: [N, S].
    Returns: points [N, S] int and their weights [N, S], 0 where a corner stands; [N, 0] where there is no point.
    """
    count, num_s = mass.shape
    if not len(belief):
        return np.zeros((count, 0), int), np.zeros((count, 0))
    points = np.concatenate([belief, np.eye(num_s)])
    gain = np.concatenate([drop, np.zeros(num_s)])
    enough = ZERO * max(1e-300, float(drop.max()))
    basis = np.tile(len(belief) + np.arange(num_s), (count, 1))
    inverse, amount = np.tile(np.eye(num_s), (count, 1, 1)), mass.copy()
    open_ = np.arange(count)
    for _ in range(PIVOTS * num_s):
        price = np.einsum("ns,nst->nt", gain[basis[open_]], inverse[open_])
        reduced = gain - price @ points.T
        entering = reduced.argmax(1)
        going = reduced[np.arange(len(open_)), entering] > enough
        open_, entering = open_[going], entering[going]
        if not len(open_):
            break
        direction = np.einsum("nst,nt->ns", inverse[open_], points[entering])
        ratio = np.full_like(direction, np.inf)
        np.divide(amount[open_], direction, out=ratio, where=direction > ZERO)
        # Where nothing leaves but by rounding, the combination that stands is kept.
        leaves = np.isfinite(ratio).any(1)
        open_, entering, direction, ratio = open_[leaves], entering[leaves], direction[leaves], ratio[leaves]
        rows, leaving = np.arange(len(open_)), ratio.argmin(1)
        step = ratio[rows, leaving]
        pivot = inverse[open_, leaving] / direction[rows, leaving][:, None]
        amount[open_] = np.maximum(0, amount[open_] - step[:, None] * direction)
        inverse[open_] -= direction[:, :, None] * pivot[:, None]
        inverse[open_, leaving], amount[open_, leaving], basis[open_, leaving] = pivot, step, entering
    weights = np.where(basis < len(belief), amount, 0)
    points = np.where(basis < len(belief), basis, 0)
    # Rounding may have used more of a state than there is.
    used = np.einsum("nk,nks->ns", weights, belief[points])
    fits = np.divide(mass, used, out=np.ones_like(mass), where=used > mass).min(1, keepdims=True)
    return points, weights * fits
