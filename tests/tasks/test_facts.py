import numpy as np

from seqrl_jax.tasks import make, tables
from seqrl_jax.tasks.facts import facts


def test_a_task_says_what_of_it_is_seen():
    said = facts(make("tmaze"))
    assert said["actions"] == "4: north, south, east, west" and said["horizon"] == "20 steps"
    assert (
        "corridor (10 states)" in said["what the agent sees"] and "cue_north (1 state)" in said["what the agent sees"]
    )
    assert said["states"].startswith("15: ") and said["discount"] == "0.9"


def test_the_twin_that_is_named_shows_the_state(solved):
    """Its best policy of the history earns what one earns that sees the state."""
    twin, solution = solved(facts(make("two_doors:horizon=4"))["fully observed twin"])
    values = solution.values
    assert twin.observations == twin.states and "fully observed twin" not in facts(twin)
    assert abs(values["history"].lower - values["state"].upper) < 1e-9


def test_long_lists_are_cut():
    states = facts(make("tmaze:length=10"))["states"]
    assert states.startswith("25: ") and states.endswith(", and 9 more")


def test_what_is_seen_of_a_large_task_is_counted_without_dense_arrays(monkeypatch):
    """As of the same task while its tables are arrays."""
    small = facts(make("flicker_grid"))
    monkeypatch.setattr(tables, "MOST_DENSE", 0)
    assert not isinstance(make("flicker_grid").observation, np.ndarray) and facts(make("flicker_grid")) == small
