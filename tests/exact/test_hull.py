"""Mixtures, excesses and regions are those of another solver of linear programs."""

import numpy as np
import pytest
from scipy.optimize import linprog

from seqrl_jax.exact.hull import excesses, mixtures, regions


@pytest.mark.parametrize("seed", range(5))
def test_the_best_mixture_is_that_of_another_solver(seed):
    rng = np.random.default_rng(seed)
    belief, mass = rng.dirichlet(np.full(4, 0.7), 12), rng.dirichlet(np.ones(4), 20)
    drop = rng.random(12)
    point, weight = mixtures(belief, drop, mass)
    used = np.einsum("nk,nks->ns", weight, belief[point])
    assert (weight >= 0).all() and (used <= mass + 1e-12).all()
    best = [-linprog(-drop, A_ub=belief.T, b_ub=row).fun for row in mass]
    np.testing.assert_allclose((weight * drop[point]).sum(1), best, rtol=1e-8)


def test_corners_alone_mix_what_holds_nothing_of_a_point():
    _, weight = mixtures(np.array([[0.5, 0.5, 0.0]]), np.array([1.0]), np.array([[0.0, 0.4, 0.6], [0.2, 0.4, 0.4]]))
    np.testing.assert_allclose(weight.sum(1), [0, 0.4])


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
@pytest.mark.parametrize("seed", range(3))
def test_a_vector_rises_above_others_by_as_much_as_another_solver_says(seed, scale):
    rng = np.random.default_rng(seed)
    others, vectors = rng.normal(size=(12, 4)), rng.normal(0.5, size=(20, 4))
    excess, belief = excesses(scale * vectors, scale * others)
    assert (belief >= 0).all() and belief.sum(1) == pytest.approx(1)
    for vector, found, where in zip(vectors, excess, belief, strict=True):
        # The largest x with b (vector - other) >= x for every other, b a belief.
        rows = np.column_stack([others - vector, np.ones(len(others))])
        answer = linprog([0, 0, 0, 0, -1], rows, np.zeros(12), [[1, 1, 1, 1, 0]], [1], [(0, None)] * 4 + [(None, None)])
        assert found / scale == pytest.approx(-answer.fun, abs=1e-8)
        assert where @ vector - (others @ where).max() == pytest.approx(-answer.fun, abs=1e-8)


@pytest.mark.parametrize("far", [1.0, -1e4, 1e8])
def test_vectors_that_differ_by_rounding_alone_rise_as_far_as_they_stand_from_others(far):
    vectors = np.array([[0.0], [np.spacing(abs(far))]]) + far
    excess, belief = excesses(vectors, np.array([[-far]]))
    assert excess == pytest.approx([2 * far, 2 * far])
    assert (belief == 1).all()


@pytest.mark.parametrize("seed", range(3))
def test_boxes_are_the_least_around_where_a_vector_is_the_largest(seed):
    vectors = np.random.default_rng(seed).normal(size=(10, 4))
    least, largest = regions(vectors)
    for vector, low, high in zip(vectors, least, largest, strict=True):
        for s in range(4):
            side = np.eye(4)[s]
            ends = [linprog(sign * side, vectors - vector, np.zeros(10), [np.ones(4)], [1]) for sign in (1, -1)]
            if all(end.success for end in ends):
                assert (low[s], high[s]) == pytest.approx((ends[0].fun, -ends[1].fun), abs=1e-8)


@pytest.mark.parametrize("size", [1.0, 1e-6, 1e-8, 1e-10])
def test_boxes_hold_the_regions_of_vectors_that_hardly_differ(size):
    """Tangents of a parabola, beside one vector that is far below them and sets the unit."""
    touched = np.arange(9) / 8
    vectors = np.concatenate([size * np.stack([2 * touched - touched**2, -(touched**2)], axis=1), [[-1.0, -1.0]]])
    least, largest = regions(vectors)
    shares = np.linspace(0, 1, 2001)
    best = (vectors @ np.stack([shares, 1 - shares])).argmax(0)
    # What two vectors differ by near where they cross may be rounding of the far one.
    margin = 1e-9 + 1e-14 / size
    assert (least[best, 0] - margin <= shares).all() and (shares <= largest[best, 0] + margin).all()
