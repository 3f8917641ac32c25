"""A gap is told beside the history value and beside what there is to win."""

from seqrl_jax.exact.gaps import Gap, gaps
from seqrl_jax.exact.interval import Interval


def test_gaps_are_shares_of_the_least_that_there_may_be():
    values = {"random": Interval(1.0, 1.0, "m"), "history": Interval(2.0, 2.5, "m"), "state": Interval(3.0, 3.0, "m")}
    assert gaps(values) == {"random": Gap(0, 0, 0), "history": Gap(0.5, 0.25, 0.5), "state": Gap(0, 0, 0)}


def test_of_what_may_be_nothing_there_is_no_share():
    values = {"random": Interval(-1.0, -1.0, "m"), "history": Interval(-1.0, 2.0, "m")}
    assert gaps(values)["history"] == Gap(3.0, None, None)
    below = {"random": Interval(-9.0, -9.0, "m"), "history": Interval(-4.0, -2.0, "m")}
    assert gaps(below)["history"] == Gap(2.0, 1.0, 0.4)
