import json
from pathlib import Path

import pytest

from seqrl_jax.agents import tuned as agents
from seqrl_jax.lm import tuned as lm
from seqrl_jax.tracks.registry import TRACKS
from seqrl_jax.tracks.sweeps import Sweep, sweeps

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def test_what_ships_is_what_was_recorded():
    found = sweeps()
    for path in (RESULTS / "tuning").glob("*.json"):
        recorded = json.loads(path.read_text())
        sweep = found["pomdp", recorded["agent"]]
        assert sweep is found["environments", recorded["agent"]]
        assert sweep.settings == [row["settings"] for row in recorded["rows"]]
        assert sweep.scores == pytest.approx([row["score"] for row in recorded["rows"]], abs=1e-4)
        assert (sweep.tasks, sweep.seeds) == (len(recorded["tasks"]), len(recorded["seeds"]))
    for path in (RESULTS / "tuning_lm").glob("*.json"):
        recorded = json.loads(path.read_text())
        sweep = found["lm", recorded["method"]]
        assert (sweep.settings, sweep.seeds) == (recorded["settings"], 3)
        assert sweep.scores == pytest.approx(recorded["scores"], abs=1e-4)


def test_the_choice_is_what_the_agent_ships_with():
    for (track, agent), sweep in sweeps().items():
        assert agent in TRACKS[track].methods and sweep.chosen in sweep.settings
        if track == "lm":
            assert sweep.chosen == lm.choices()[agent]
        else:
            assert sweep.chosen == {name: float(value) for name, value in agents.choices()[agent].items()}


def test_lines_follow_the_rate_and_the_shipped_settings_stand_first():
    settings = [{"learning_rate": rate, "cost": cost} for rate in (0.1, 0.01) for cost in (1, 2)]
    sweep = Sweep(["made"], "good", settings, [0.1, 0.2, 0.3, 0.4], {"learning_rate": 0.1, "cost": 2}, 1, 1, "tune")
    assert list(sweep.by_rate.items()) == [
        ("cost=2", [(0.01, 0.4), (0.1, 0.2)]),
        ("cost=1", [(0.01, 0.3), (0.1, 0.1)]),
    ]
    assert Sweep(["made"], "good", [{"policy.learning_rate": 1}], [0.5], {}, 1, 1, "tune").by_rate == {}
