"""Mixtures of points are those of a linear program."""

import numpy as np
import pytest
from scipy.optimize import linprog

from seqrl_jax.exact.hull import mixtures


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
