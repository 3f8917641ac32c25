"""What tracks say of tasks and methods in a few words."""

import pytest

from seqrl_jax.tracks.registry import TRACKS
from seqrl_jax.tracks.suites import SUITES, shipped


@pytest.mark.parametrize("name", TRACKS)
def test_every_name_of_a_track_has_facts_and_no_other_is_an_error(name):
    track = TRACKS[name]
    for method in (*track.methods, "nothing:of=it", "<b>", ""):
        facts = track.method_facts(method)
        assert all(isinstance(text, str) and text for text in facts.values())
    assert track.method_facts("nothing:of=it") == {}
    for task in track.tasks:
        assert all(isinstance(text, str) and text for text in track.task_facts(task).values())


def test_what_an_agent_reads_is_told():
    facts = TRACKS["pomdp"].method_facts
    assert facts("a2c_obs") == {"reads": "o_t", "acts": "sampled"}
    assert facts("ppo")["reads"] == "o_0, a_0, o_1, ... o_t"
    assert facts("q_window:memory=window")["acts"] == "greedy"
    assert TRACKS["dialogue"].method_facts("cql:view=utterance")["learns from"] == "logs"


def test_a_learner_shows_its_update_rule():
    """That of what learns, also where it acts on something else than the observation."""
    methods = TRACKS["pomdp"].methods
    assert "clip(rho_t, 1 - eps, 1 + eps)" in methods["ppo"].detail == methods["belief_ppo"].detail
    assert "theta <- theta + alpha" in methods["reinforce"].detail
    assert all(TRACKS[name].methods[m].detail for name in ("lm", "dialogue") for m in TRACKS[name].methods)


def test_tasks_of_suites_are_the_packages_own():
    assert {"tmaze", "tmaze:length=10"} <= shipped(TRACKS["pomdp"])
    assert "tmaze:length=11" not in shipped(TRACKS["pomdp"])
    assert all(task in shipped(TRACKS[suite.track]) for suite in SUITES.values() for task in suite.tasks)
