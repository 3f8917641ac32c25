"""The fits of `benchmarks/overoptimisation.py`."""

import importlib
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def measured():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        return importlib.import_module("overoptimisation")


def test_what_a_fit_misses_on_average_is_not_explained(measured):
    """d = 1, 2, 3 and gains of 1, 0, 1: `alpha d - beta d^2` misses 4/19 of (3, -3, 1), 16/19 in squares, and the mean
    2/3."""
    points = np.array([[1.0, 1.0], [4.0, 0.0], [9.0, 1.0]])
    assert measured.fitted(points, 0.0, lambda d: d)["r2"] == pytest.approx(1 - (16 / 19) / (2 / 3))


def test_a_form_that_holds_is_found(measured):
    d = np.linspace(0.5, 3, 9)
    points = np.stack([d**2, 0.2 + d * (1.5 - 0.4 * np.log(d))], 1)
    assert measured.fitted(points, 0.2, np.log) == pytest.approx({"alpha": 1.5, "beta": 0.4, "r2": 1.0})


def test_fits_begin_at_the_reference_and_not_where_the_largest_beta_ends(measured):
    """pi_0 earns .2; gold follows the form of the optima from there, and their first point lies well above it."""
    d = np.linspace(0.5, 3, 9)
    optima = np.stack([d**2, 0.2 + d * (1.5 - 0.4 * np.log(d)), d], 1)
    best = np.stack([[0.0, 1.0, 4.0], 0.2 + np.array([0.0, 0.7, 0.8]), [0.0, 1.0, 2.0]], 1)
    summed = measured.summary([{"optima": optima.tolist(), "best_of_n": best.tolist()}])
    assert summed["fit_optima"] == pytest.approx({"alpha": 1.5, "beta": 0.4, "r2": 1.0})
    assert summed["fit_best_of_n"] == pytest.approx({"alpha": 1.0, "beta": 0.3, "r2": 1.0})
