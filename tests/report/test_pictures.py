import pytest

from seqrl_jax.report.pictures import all_pictures, limits, panels, spread, styles
from seqrl_jax.results.record import Bound, Curve


def test_curves_that_cannot_be_drawn_together_have_panels_of_their_own(record):
    one, other = record(), record(method="bad", curves={"return": Curve("hours", [0.0, 1.0], [[0.0] * 3, [0.1] * 3])})
    neither = record(method="none", curves={"price": Curve("steps", [0.0], [[0.0] * 3])})
    empty = record(method="empty", curves={"return": Curve("steps", [0.0], [[None] * 3])})
    found = panels([one, other, neither, empty], "return", "return", one.bounds)
    assert [(panel.x, list(panel.curves)) for panel in found] == [("steps", ["good"]), ("hours", ["bad"])]
    looks = styles([one, other])
    assert all_pictures(found, looks, set(), dpi=40).startswith(b"\x89PNG")


def test_a_curve_with_holes_a_collapse_and_no_bounds_is_drawn(record):
    values = [[0.0, 0.0, None], [None, None, None], [-1e6, 0.5, None]]
    holes = record(curves={"return": Curve("$x_1", [0.0, 1.0, 2.0], values)})
    for known in ({}, holes.bounds, {"best": Bound(-5.0, 1e6, "by hand")}):
        (panel,) = panels([holes], "return", "return", known)
        assert all_pictures([panel], styles([holes]), set(), dpi=40).startswith(b"\x89PNG")


def test_one_bound_alone_cuts_nothing_off_and_several_cut_a_collapse(record):
    curve = Curve("steps", [0.0, 1.0], [[-9.0] * 3, [0.5] * 3])
    lowest = {}
    for names in (("best",), ("random", "best")):
        made = record(curves={"return": curve})
        (panel,) = panels([made], "return", "return", {name: made.bounds[name] for name in names})
        lowest[names] = limits(panel)[0]
    assert lowest["best",] < -9 < -2 < lowest["random", "best"] < 0


def test_labels_are_moved_apart_and_stay_below_the_top():
    assert spread([0.1, 0.5], 0.1) == [0.1, 0.5]
    assert spread([0.5, 0.5], 0.1) == [0.5, 0.6]
    assert spread([0.95, 1.0], 0.1) == [pytest.approx(0.9), 1.0]
