"""Linear programs over beliefs, many at once: mixtures of points of known value, and of vectors that bound another.

A convex function lies below every combination of its values that mixes points into a belief. The best combination is
that of a linear program: `max sum_p drop_p lambda_p` with `sum_p lambda_p b_p <= belief`, where corners fill up what is
missing and drop_p is how far point p lies below what the corners say. And a linear function of the belief rises nowhere
by more than epsilon above the largest of others if a mixture of these, plus epsilon, is as large at every corner: the
best mixture is that of a matrix game. Whatever feasible combination is found is a proof, so that a program may be left
before its optimum.
"""

from __future__ import annotations

import numpy as np

PIVOTS = 12
"""At most so many times as many exchanges as there are states."""
ZERO = 1e-11
"""Shares smaller than this are rounding."""
LEAST = 1e-300
"""A number above 0 that changes none beside it."""


def mixtures(belief: np.ndarray, drop: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of which points beliefs are mixed.

    Args: belief: [P, S], the points. drop: [P]. mass: [N, S].
    Returns: points [N, S] int and their weights [N, S], 0 where a corner stands; [N, 0] where there is no point.
    """
    if not len(belief):
        return np.zeros((len(mass), 0), int), np.zeros((len(mass), 0))
    points, weights, _ = _packed(belief, drop, mass, np.zeros_like(mass), np.zeros(len(belief)))
    # Rounding may have used more of a state than there is.
    used = np.einsum("nk,nks->ns", weights, belief[points])
    fits = np.divide(mass, used, out=np.ones_like(mass), where=used > mass).min(1, keepdims=True)
    return points, weights * fits


def excesses(vectors: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By how much vectors [N, S] rise above the largest of others [K, S], each at the belief where that is most.

    As a game: one side mixes the others, one chooses a state. With all payoffs positive that is the program `max sum_k
    y_k` with `sum_k y_k (level + vector - other_k) <= 1`, whose prices are the belief (von Neumann's reduction).

    Returns: [N], proved bounds, below 0 where a mixture is larger everywhere; [N, S], the beliefs.
    """
    # Measured from their middle: far from 0, what tells numbers apart would be lost in a unit as small as their spread.
    least, most = min(others.min(), vectors.min()), max(others.max(), vectors.max())
    spread, middle = (most - least) or 1.0, (least + most) / 2
    level = 1 + (others.max() - vectors.min()) / spread
    columns, every = level - (others - middle) / spread, np.ones(len(others))
    which, weights, price = _packed(columns, every, np.ones_like(vectors), (vectors - middle) / spread, every)
    weights = weights / weights.sum(1, keepdims=True)
    mixture = np.einsum("nk,nks->ns", weights, others[which])
    # Of a program that was left before its optimum they may all be below 0.
    price = np.maximum(LEAST, price)
    return (vectors - mixture).max(1), price / price.sum(1, keepdims=True)


def regions(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes around the beliefs at which each of K vectors, [K, S], is the largest.

    The least share of a state there, or of all others together, is `max nu` with `nu + sum_k y_k (vector - other_k) <=
    mass`, where mass is 1 at that state, or at all others; what rounding used above it is taken off nu.

    Returns: [K, S] least and [K, S] largest shares, proved; where a vector is nowhere the largest, they may cross.
    """
    count, num_s = vectors.shape
    scaled = vectors / (np.ptp(vectors) or 1.0)
    columns, gain = np.concatenate([-scaled, np.ones((1, num_s))]), np.append(np.zeros(count), 1)
    sides = np.concatenate([np.eye(num_s), 1 - np.eye(num_s)])
    mass, offset = np.tile(sides, (count, 1)), np.repeat(scaled, len(sides), axis=0)
    which, amount, _ = _packed(columns, gain, mass, offset, 1 - gain)
    used = np.einsum("nk,nks->ns", amount, columns[which]) + (amount * (which < count)).sum(1)[:, None] * offset
    least = (amount * (which == count)).sum(1) - np.maximum(0, used - mass).max(1)
    states, others = np.moveaxis(least.reshape(count, 2, num_s), 1, 0)
    return states, 1 - others


def _packed(
    points: np.ndarray, gain: np.ndarray, mass: np.ndarray, offset: np.ndarray, moved: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`max sum_p gain_p y_p` with `sum_p y_p (points_p + moved_p offset_n) <= mass_n`, by the primal simplex method
    from y = 0.

    Args: points: [P, S]. gain, moved: [P]. mass, offset: [N, S].
    Returns: points [N, S] int and their amounts [N, S], 0 where nothing stands; the prices [N, S] of what there is.
    """
    count, num_s = mass.shape
    columns = np.concatenate([points, np.eye(num_s)])
    gains, moves = np.append(gain, np.zeros(num_s)), np.append(moved, np.zeros(num_s))
    table = np.column_stack([columns, moves]).T.copy()
    enough = ZERO * max(LEAST, float(gain.max()))
    basis = np.tile(len(points) + np.arange(num_s), (count, 1))
    inverse, amount = np.tile(np.eye(num_s), (count, 1, 1)), mass.copy()
    open_ = np.arange(count)
    for _ in range(PIVOTS * num_s):
        price = np.einsum("ns,nst->nt", gains[basis[open_]], inverse[open_])
        reduced = np.column_stack([price, (price * offset[open_]).sum(1)]) @ table
        np.subtract(gains, reduced, out=reduced)
        entering = reduced.argmax(1)
        going = reduced[np.arange(len(open_)), entering] > enough
        open_, entering = open_[going], entering[going]
        if not len(open_):
            break
        column = columns[entering] + moves[entering][:, None] * offset[open_]
        direction = np.einsum("nst,nt->ns", inverse[open_], column)
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
    stands = basis < len(points)
    price = np.einsum("ns,nst->nt", gains[basis], inverse)
    return np.where(stands, basis, 0), np.where(stands, amount, 0), price
