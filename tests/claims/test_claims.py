import json
import math
from pathlib import Path

import pytest

from seqrl_jax import cli
from seqrl_jax.claims import base, dialogue, gradients, learned, lm, memory, values
from seqrl_jax.claims.base import SOURCES, Claim, Estimate, Evidence, Missing, above, below, decided, judged, within
from seqrl_jax.claims.registry import CLAIMS
from seqrl_jax.release import release
from seqrl_jax.report.sections import sections
from seqrl_jax.results import store
from seqrl_jax.tracks.registry import TRACKS
from seqrl_jax.tracks.suites import SUITES

RECORDED = Path(__file__).parents[2] / "benchmarks" / "results"
BY_ID = {claim.id: claim for claim in CLAIMS}


@pytest.fixture(scope="module")
def told():
    """Every claim on the recorded results."""
    evidence = Evidence(RECORDED)
    return {claim.id: judged(claim, evidence) for claim in CLAIMS}


def write(directory, name, **content):
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("low", "high", "is_above", "is_below", "is_within"),
    [
        (0.6, 0.9, True, False, False),
        (0.1, 0.4, False, True, True),
        (0.4, 0.6, None, None, None),
        (0.5, 0.5, False, False, True),
        (None, None, None, None, None),
    ],
)
def test_a_rule_asks_for_the_whole_interval(low, high, is_above, is_below, is_within):
    found = Estimate(0.5, low, high)
    assert above(0.5)(found) is is_above
    assert below(0.5)(found) is is_below
    assert within(0.0, 0.5)(found) is is_within


def test_there_are_claims_of_every_part_of_the_lecture_under_distinct_names():
    assert len(BY_ID) == len(CLAIMS) >= 30
    assert {claim.source for claim in CLAIMS} == set(SOURCES)
    assert all(part.CLAIMS for part in (values, gradients, learned, memory, lm, dialogue))


def test_every_claim_runs_on_the_recorded_results(told):
    decided_ = [found for found in told.values() if found.holds is not None]
    assert len(decided_) >= 30
    assert all(math.isfinite(found.value) and found.unit for found in decided_)
    assert all(found.evidence for found in told.values())
    assert all(found.low <= found.value + 1e-9 for found in decided_)


def test_the_three_state_line_needs_a_random_policy(told):
    found = told["stochastic_beats_deterministic"]
    assert found.holds and found.value == pytest.approx(10 / 11, abs=1e-4) and "0.5," in found.evidence
    assert told["memory_beats_randomness"].value == pytest.approx(0.95 - 10 / 11, abs=1e-4)


def test_exact_claims_have_known_numbers(told):
    assert told["information_gathering"].value == pytest.approx(0.8 - -0.1)
    assert told["naive_retries"].value == pytest.approx(1 / 3)
    assert told["delay_costs"].value == pytest.approx(1 - 0.95)
    assert told["mean_of_talking_biased"].holds and told["leave_one_out_unbiased"].value == 0


def test_identities_of_alignment_hold_and_a_wrong_one_would_not(told):
    for name in ("tilting_is_optimal", "policy_is_a_reward_model", "dpo_gradient_weight", "tokens_telescope"):
        assert told[name].holds
    wrong = lm._identity("wrong", "", base.DPO, lambda: 0.01)
    assert judged(wrong, Evidence()).holds is False


def test_what_is_not_recorded_is_not_decided_and_says_how_to_record_it(tmp_path):
    for evidence in (Evidence(), Evidence(tmp_path)):
        for name, command in (
            ("memory_beats_observation", "seqrl run quick"),
            ("stored_beats_zero", "stale_states.py"),
        ):
            found = judged(BY_ID[name], evidence)
            assert found.holds is None and found.value is None and command in found.evidence


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no results: .* does not exist"):
        Evidence(tmp_path / "none")


@pytest.mark.parametrize(
    ("low", "high", "holds"), [(-0.005, 0.005, True), (0.02, 0.03, False), (0.0, 0.02, None), (None, None, None)]
)
def test_recurrence_on_observed_tasks_is_decided_by_its_interval(tmp_path, low, high, holds):
    write(tmp_path, learned.FLICKER[0], observed_twins={"difference": 0.0, "low": low, "high": high})
    assert judged(BY_ID["drqn_equals_dqn_when_observed"], Evidence(tmp_path)).holds is holds


def test_a_bias_on_one_task_decides(tmp_path):
    rows = [
        {"task": "good", "estimator": "reward_to_go", "relative_bias": 1e-15},
        {"task": "flat", "estimator": "reward_to_go", "relative_bias": None},
        {"task": "bad", "estimator": "reward_to_go", "relative_bias": 0.2},
    ]
    write(tmp_path, gradients.AUDIT, rows=rows[:2])
    assert judged(BY_ID["reward_to_go_unbiased"], Evidence(tmp_path)).holds
    write(tmp_path, gradients.AUDIT, rows=rows)
    found = judged(BY_ID["reward_to_go_unbiased"], Evidence(tmp_path))
    assert found.holds is False and found.value == 0.2 and "bad" in found.evidence


def test_a_measurement_of_another_form_leaves_its_claim_alone_undecided(tmp_path):
    write(tmp_path, learned.STALE[0], rows=[{"age": 0}])
    write(tmp_path, learned.FLICKER[0], rows=[])
    for name in ("stored_beats_zero", "drqn_equals_dqn_when_observed"):
        assert judged(BY_ID[name], Evidence(tmp_path)).holds is None
    (tmp_path / learned.LATENT[0]).write_text("{")
    found = judged(BY_ID["learned_model_predicts"], Evidence(tmp_path))
    assert found.holds is None and learned.LATENT[0] in found.evidence
    for rows in ([1], "x", [{"gold_peaks": "x", "gold_ends": 3, "proxy": "unigram"}]):
        write(tmp_path, lm.PROXIES[0], rows=rows)
        assert judged(BY_ID["proxy_is_over_optimised"], Evidence(tmp_path)).holds is None


@pytest.mark.parametrize(("shift", "holds"), [(0.1, True), (-0.1, False), (0.0, False)])
def test_two_methods_are_paired_by_seed(tmp_path, make_record, shift, holds):
    other = [0.2, 0.5, 0.3]
    for method, scores in (("first", [value + shift for value in other]), ("second", other)):
        store.write(tmp_path / "quick", make_record(method=method, metrics={"return": scores}))
    claim = learned._gain("made", "", "first", "second", "quick", tasks=("tmaze:length=10",))
    found = judged(claim, Evidence(tmp_path))
    assert found.value == pytest.approx(shift) and found.holds is holds


def test_a_release_is_evidence_of_the_suites_that_it_holds(tmp_path, make_record):
    pytest.importorskip("pyarrow")
    records = [make_record(method="first"), make_record(method="second", suite="other")]
    release(sections(records, TRACKS)[0], tmp_path / "made")
    evidence = Evidence(tmp_path / "made")
    assert evidence.record("quick", "first", "tmaze:length=10") == records[0]
    assert evidence.record("other", "second", "tmaze:length=10") == records[1]
    with pytest.raises(Missing, match="not recorded: second on tmaze:length=10 in the suite quick"):
        evidence.record("quick", "second", "tmaze:length=10")


def test_a_claim_of_every_task_is_that_of_its_worst(tmp_path, make_record):
    """What has no such metric is left out; one task against it is enough, however well it does on others."""
    claim = BY_ID["baseline_helps"]
    lm_record = lambda task, method, **metrics: make_record(track="lm", task=task, method=method, metrics=metrics)
    for task in SUITES["lm"].tasks:
        for method in ("lm_reinforce", "lm_reinforce_baseline"):
            store.write(tmp_path / "lm", lm_record(task, method, reward=[1.0, 1.1, 1.3]))
    for task, gain in (("keyword", -0.5), ("mod_sum", -0.1)):
        for method, shift in (("lm_reinforce", 0.0), ("lm_reinforce_baseline", gain)):
            values = [value + shift for value in (1.0, 1.1, 1.3)]
            store.write(tmp_path / "lm", lm_record(task, method, shortfall=values, reward=values))
    found = judged(claim, Evidence(tmp_path))
    assert found.holds and found.value == pytest.approx(-0.1) and "mod_sum" in found.evidence
    store.write(tmp_path / "lm", lm_record("mod_sum", "lm_reinforce_baseline", shortfall=[1.2, 1.3, 1.5]))
    found = judged(claim, Evidence(tmp_path))
    assert found.holds is False and found.value == pytest.approx(0.2) and "the worst of the 2" in found.evidence
    diverged = {"shortfall": [1.2, None, 1.5], "reward": [1.2, None, 1.5]}
    store.write(tmp_path / "lm", lm_record("mod_sum", "lm_reinforce_baseline", **diverged))
    assert judged(claim, Evidence(tmp_path)).holds is None, "a seed that failed is no reason to leave out its task"
    assert judged(BY_ID["policy_gradient_on_frontier"], Evidence(tmp_path)).holds is None


def test_a_score_that_no_task_allows_is_missing(tmp_path, make_record):
    store.write(tmp_path / "quick", make_record(bounds={}, bounded_by=[]))
    with pytest.raises(Missing, match="no task of the suite quick has bounds"):
        base.score_of(Evidence(tmp_path), "quick", "ppo", "normalised", ["tmaze:length=10"])


def test_failed_seeds_leave_a_metric_undecided(tmp_path, make_record):
    store.write(tmp_path / "quick", make_record(failures={"1": "diverged"}, metrics={"return": [0.2, None, 0.3]}))
    with pytest.raises(Missing, match="some seeds"):
        Evidence(tmp_path).by_seed("quick", "ppo", "tmaze:length=10", "return")


def test_damaged_records_are_named(tmp_path):
    write(tmp_path / "quick", "broken.json", schema=1)
    evidence = Evidence(tmp_path)
    judged(BY_ID["memory_beats_observation"], evidence)
    assert "broken.json" in evidence.damage[0]


def test_a_summary_gives_each_claim_a_line(tmp_path):
    lines = base.summary([BY_ID["information_gathering"], BY_ID["stored_beats_zero"]], tmp_path / "none").splitlines()
    assert lines[0].startswith("holds ") and lines[0].endswith("for what it shows. 0.9 return. (information_gathering)")
    assert lines[1].startswith("not decided ") and lines[1].endswith("however old. (stored_beats_zero)")


def test_the_command_tells_machines_and_people(capsys, monkeypatch):
    made = (
        Claim(
            "a", "It is so.", base.DPO, "above 0", lambda _: decided(Estimate(1.0, 0.5, 2.0), above(0), "nats", "exact")
        ),
        Claim("b", "It is not.", base.DPO, "above 0", lambda _: decided(base.exactly(-1.0), above(0), "nats", "exact")),
        BY_ID["stored_beats_zero"],
    )
    monkeypatch.setattr("seqrl_jax.commands.claims.CLAIMS", made)
    assert cli.main(["claims", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["claims"]
    assert {"id", "statement", "source", "measured", "low", "high", "holds"} <= set(told[0])
    assert [claim["holds"] for claim in told] == [True, False, None] and told[2]["measured"] is None
    assert cli.main(["claims"]) == 0
    out = capsys.readouterr().out
    assert "1 [0.5, 2] nats" in out and "3 claims: 1 holds, 1 does not, 1 not decided" in out
    assert cli.main(["claims", "no/such/place"]) == 2
    assert "no/such/place does not exist" in capsys.readouterr().err


def test_the_least_sure_fall_is_the_one_that_counts(tmp_path):
    """Also where an interval begins at 0, and where a larger mean is less sure."""
    row = lambda pairs, peaks: {"proxy": "unigram", "pairs": pairs, "gold_peaks": peaks, "gold_ends": [0.0] * 5}
    write(tmp_path, lm.PROXIES[0], rows=[row(1, [3.0] * 5), row(2, [3.0, 8.0, 0.0, 3.0, 8.0]), row(3, [0.0] * 5)])
    found = judged(BY_ID["proxy_is_over_optimised"], Evidence(tmp_path))
    assert found.holds is False and "3 pairs" in found.evidence
    write(tmp_path, lm.PROXIES[0], rows=[row(1, [0.0] * 5), row(2, [-1.0] * 5)])
    assert "2 pairs" in judged(BY_ID["proxy_is_over_optimised"], Evidence(tmp_path)).evidence
