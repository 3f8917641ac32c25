"""Regular grids on the faces of the belief simplex, and interpolation between their points.

Lovejoy (1991), "Computationally feasible bounds for partially observed Markov decision processes": a convex function
lies below its interpolation on a triangulation, so values at grid points that are upper bounds give upper bounds
everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import comb

import numpy as np
from scipy import sparse

from seqrl_jax.exact.budget import Meter
from seqrl_jax.tasks.tabular import TabularPOMDP

MAX_SUPPORTS = 2000
SNAP = 1e-10
"""Coordinates so close to the grid are on it."""


@dataclass(frozen=True, eq=False)
class Face:
    """The grid on the beliefs over `states` [k]: all points with coordinates in multiples of 1 / resolution.

    points: [G, k], sorted so that a point's row follows from its coordinates, see `_below`.
    """

    states: np.ndarray
    resolution: int
    points: np.ndarray


def faces(task: TabularPOMDP, budget: int) -> list[Face]:
    """Grids of about `budget` points in all, on the largest sets of states that a reachable belief can mix."""
    supports = _maximal(_reachable_supports(task))
    share = max(1, budget // len(supports))
    return [_grid(np.flatnonzero(support), share) for support in supports]


def interpolation(face: Face, belief: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Write beliefs as mixtures of grid points, by Freudenthal's triangulation.

    Args: belief: [N, k] over the face's states.
    Returns: grid points [N, k] int and their weights [N, k], each row of weights sums to 1.
    """
    k, resolution = len(face.states), face.resolution
    # Partial sums from the right turn the simplex into x_1 = M >= x_2 >= ... >= x_k >= 0.
    x = resolution * belief[:, ::-1].cumsum(1)[:, ::-1]
    x[:, 0] = resolution
    nearest = np.round(x)
    x = np.where(np.abs(x - nearest) < SNAP, nearest, x)
    base = np.floor(x).astype(np.int64)
    fraction = x - base
    order = np.argsort(-fraction[:, 1:], axis=1, kind="stable")
    sorted_fraction = np.take_along_axis(fraction[:, 1:], order, 1)
    weights = -np.diff(sorted_fraction, axis=1, prepend=1.0, append=0.0)
    below, places = _below(resolution, k), np.arange(k - 1, 0, -1)
    first = len(face.points) - 1 - below[base[:, 1:], places].sum(1)
    # From corner to corner one coordinate rises by 1. A corner without weight may lie outside the simplex; it repeats
    # the last one instead.
    rise = np.take_along_axis(below[base[:, 1:] + 1, places] - below[base[:, 1:], places], order, 1)
    points = np.column_stack([first, first[:, None] - (rise * (sorted_fraction > 0)).cumsum(1)])
    return points, weights


def snapped(grid: list[Face]) -> float:
    """By how much, in all coordinates together, `interpolation` may have moved a belief."""
    return max(2 * len(face.states) * SNAP / face.resolution for face in grid)


def transition_to_grid(task: TabularPOMDP, grid: list[Face], belief: np.ndarray, meter: Meter) -> sparse.csr_matrix:
    """Where each action leads from beliefs [N, S]: weights on the grid points of all faces in order, [N * A, G].

    Row `n * A + a` sums to the probability of not ending. Raises: OverBudget.
    """
    num_a = task.num_actions
    kernel = task.kernel
    offsets = np.cumsum([0, *(len(face.points) for face in grid)])
    rows, columns, values = [], [], []
    for a in range(num_a):
        meter.stop_if_late()
        entered, shows = belief @ kernel.moves[a], kernel.shows[a].tocsc()
        for o in np.flatnonzero(np.diff(shows.indptr)):
            joint = entered * shows[:, [o]].toarray().ravel()
            mass = joint.sum(1)
            waiting = mass > 0
            for face, offset in zip(grid, offsets):
                outside = np.delete(joint, face.states, axis=1)
                mine = np.flatnonzero(waiting & (outside.sum(1) <= 0))
                waiting[mine] = False
                if len(mine):
                    points, weights = interpolation(face, joint[mine][:, face.states] / mass[mine, None])
                    used, corner = np.nonzero(weights)
                    rows.append(mine[used] * num_a + a)
                    columns.append(points[used, corner] + offset)
                    values.append(weights[used, corner] * mass[mine[used]])
    shape = (len(belief) * num_a, int(offsets[-1]))
    if not rows:
        return sparse.csr_matrix(shape)
    return sparse.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)


def embedded(task: TabularPOMDP, grid: list[Face]) -> np.ndarray:
    """All grid points as beliefs over all states, [G, S]."""
    beliefs = []
    for face in grid:
        full = np.zeros((len(face.points), task.num_states))
        full[:, face.states] = face.points
        beliefs.append(full)
    return np.concatenate(beliefs)


def _grid(states: np.ndarray, budget: int) -> Face:
    k = len(states)
    resolution = 1
    while k > 1 and comb(resolution + k, k - 1) <= budget:
        resolution += 1
    count = comb(resolution + k - 1, k - 1)
    sums = np.array(list(combinations_with_replacement(range(resolution, -1, -1), k - 1)), np.int64)
    sums = sums.reshape(count, k - 1)
    corners = np.column_stack([np.full(count, resolution), sums])
    points = -np.diff(corners, axis=1, append=0) / resolution
    return Face(states, resolution, points)


def _below(resolution: int, k: int) -> np.ndarray:
    """Entry [x, n] is C(x + n - 1, n), the number of sequences x > x_1 >= ... >= x_n >= 0.

    The corner (M, x_2, ..., x_k) of a grid stands `sum_i below[x_i, k + 1 - i]` rows from its last point, so its row
    needs no search.
    """
    table = np.zeros((resolution + 2, k), np.int64)
    table[1:, 0] = 1
    for n in range(1, k):
        table[:, n] = table[:, n - 1].cumsum()
    return table


def _reachable_supports(task: TabularPOMDP) -> set[tuple[bool, ...]]:
    """The sets of states that a reachable belief may mix; all states in one set when there are too many."""
    kernel = task.kernel
    frontier = {tuple(support) for support in kernel.first[1] > 0}
    found = set(frontier)
    for _ in range(task.horizon - 1):
        after = set()
        for support in frontier:
            for a in range(task.num_actions):
                entered = np.flatnonzero(np.array(support, float) @ kernel.moves[a])
                shown = kernel.shows[a][entered].toarray().T > 0
                shown = shown[shown.any(1)]
                rows = np.zeros((len(shown), task.num_states), bool)
                rows[:, entered] = shown
                after |= set(map(tuple, rows))
        frontier = after - found
        found |= frontier
        if not frontier:
            break
        if len(found) > MAX_SUPPORTS:
            return {tuple(~task.terminal)}
    return found


def _maximal(supports: set[tuple[bool, ...]]) -> np.ndarray:
    rows = np.array(sorted(supports, key=sum, reverse=True))
    kept: list[np.ndarray] = []
    for row in rows:
        if not any((larger >= row).all() for larger in kept):
            kept.append(row)
    return np.array(kept)
