"""Records that are run again: the same, alike, different, or no longer to be had."""

import hashlib
import json

import msgspec
import numpy as np
import pytest

from seqrl_jax import cli
from seqrl_jax.results import store
from seqrl_jax.results.record import Bound
from seqrl_jax.runs.verify import compared, sampled, verify
from seqrl_jax.tracks.registry import TRACKS


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A directory with one agent's cells on two tasks, each run alone."""
    directory = tmp_path_factory.mktemp("recorded")
    for task in ("tiger", "aliased_line"):
        words = ["run", "--tasks", task, "--agents", "reinforce", "--seeds", "3", "--steps", "1000"]
        assert cli.main([*words, "--out", str(directory)]) == 0
    return directory


@pytest.fixture(scope="module")
def records(recorded):
    return {record.task: record for record in store.read(recorded)[0]}


def changed(record, **fields):
    return msgspec.structs.replace(record, **fields)


def test_a_cell_comes_out_as_it_was(recorded, tmp_path, capsys):
    """Within rounding always, and on one machine with one code bit for bit."""
    out = tmp_path / "attestation.json"
    assert cli.main(["verify", str(recorded), "--sample", "5", "--json", "--out", str(out)]) == 0
    output = json.loads(capsys.readouterr().out)
    assert (output["cells"], output["sample"], output["same"]) == (2, 2, 2)
    assert {verdict["task"] for verdict in output["verdicts"]} == {"tiger", "aliased_line"}
    assert json.loads(out.read_text()) == output
    # What is attested is named by its content.
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in recorded.glob("*.json")}
    assert {verdict["sha256"] for verdict in output["verdicts"]} == hashes and output["release"] is None


def test_an_attestation_names_the_release_and_the_line_that_it_is_about(recorded, tmp_path, capsys):
    made, out = tmp_path / "made", tmp_path / "attestation.json"
    assert cli.main(["release", str(recorded), "--out", str(made)]) == 0
    assert cli.main(["verify", str(made), "--sample", "1", "--out", str(out)]) == 0
    attested = json.loads(out.read_text())
    assert attested["release"] == hashlib.sha256((made / "MANIFEST.json").read_bytes()).hexdigest()
    (verdict,) = attested["verdicts"]
    lines = {
        hashlib.sha256(line).hexdigest(): json.loads(line)["task"]
        for line in (made / "records.jsonl").read_bytes().splitlines()
    }
    assert lines[verdict["sha256"]] == verdict["task"]


def test_what_cannot_be_run_as_it_was_is_said_before_it_is_run(records):
    tiger = records["tiger"]
    for made, why in (
        (changed(tiger, track="gone"), "no track 'gone'"),
        (changed(tiger, method="reinforcee"), "reinforce"),
        (changed(tiger, task_fingerprint="0" * 16), "the task is not what it was"),
        (
            changed(tiger, config={**tiger.config, "learning_rate": 7.0}),
            "settings are not what they were: learning_rate",
        ),
    ):
        verdict = verify(made, TRACKS)
        assert verdict.verdict == "other" and why in verdict.why


def test_a_score_outside_the_recorded_interval_is_different(records):
    tiger = records["tiger"]
    score = tiger.metrics["return"]
    moved = lambda by: changed(tiger, metrics={**tiger.metrics, "return": [value + by for value in score]})
    assert compared(tiger, tiger, "return")[0] == "same"
    more = changed(tiger, metrics={**tiger.metrics, "new": [1.0] * 3})
    assert compared(tiger, more, "return")[0] == "same", "what an older record does not say is no difference"
    assert compared(more, tiger, "return")[0] == "inside"
    assert compared(tiger, moved(1e-9), "return")[0] == "inside"
    point = changed(tiger, metrics={**tiger.metrics, "return": [0.5] * 3})
    rounded = changed(tiger, metrics={**tiger.metrics, "return": [0.5 + 1e-12] * 3})
    assert compared(point, rounded, "return")[0] == "inside"
    verdict, why = compared(tiger, moved(1000.0), "return")
    assert verdict == "different" and "was" in why
    failed = changed(
        tiger, metrics={name: [None] * 3 for name in tiger.metrics}, failures={"0": "a", "1": "a", "2": "a"}
    )
    assert compared(tiger, failed, "return")[0] == "different"


def test_what_is_told_beside_the_numbers_is_held_to_the_run(records):
    tiger = records["tiger"]
    bounds = dict(tiger.bounds)
    forged = {name: Bound(3 * bound.lower + 1, 3 * bound.upper + 1, "") for name, bound in bounds.items()}
    name, bound = next((name, bound) for name, bound in bounds.items() if name not in tiger.bounded_by)
    for fields, place in (
        ({"bounds": {**bounds, name: forged[name]}}, f"bounds.{name}"),
        ({"bounds": {key: value for key, value in bounds.items() if key != name}}, f"bounds.{name}"),
        ({"bounded_by": []}, "bounded_by"),
        ({"marked_wrong": not tiger.marked_wrong}, "marked_wrong"),
        ({"episodes": [7] * 3}, "episodes"),
    ):
        verdict, why = compared(changed(tiger, **fields), tiger, "return")
        assert (verdict, place in why) == ("different", True)
    wider = {**bounds, name: Bound(bound.lower - 1, bound.upper + 1, "")}
    assert compared(changed(tiger, bounds=wider), tiger, "return")[0] == "same", "both may be of one value"
    for odd in ("x", None, [1], 1.5, 0, True):
        made = changed(tiger, config={**tiger.config, "evaluations": odd})
        assert verify(made, TRACKS).verdict == "other"


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_honest_cells_are_seldom_called_different(records, seeds):
    """In 5 of 100 pairs or so; the interval of one side alone would be left by 10 to 15."""
    rng, count, tiger = np.random.default_rng(0), 400, records["tiger"]
    record = lambda scores: changed(
        tiger,
        seeds=list(range(seeds)),
        metrics={"return": scores.tolist()},
        standard_errors={},
        curves={},
        episodes=[None] * seeds,
        failures={},
    )
    pairs = [(record(rng.normal(size=seeds)), record(rng.normal(size=seeds))) for _ in range(count)]
    assert sum(compared(*pair, "return")[0] == "different" for pair in pairs) < 0.08 * count


def test_the_same_seed_chooses_the_same_cells(records):
    both = list(records.values())
    assert sampled(both, 1, 3) == sampled(both[::-1], 1, 3)
    assert {sampled(both, 1, seed)[0].task for seed in range(20)} == set(records)
