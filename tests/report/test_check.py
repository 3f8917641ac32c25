"""What `seqrl check` finds in records, each fault by itself."""

import json

import pytest

from seqrl_jax import cli
from seqrl_jax.report.check import findings
from seqrl_jax.report.sections import Section, in_order
from seqrl_jax.results import store
from seqrl_jax.results.code import fingerprint
from seqrl_jax.results.record import Bound
from seqrl_jax.tracks.base import Suite
from seqrl_jax.tracks.registry import TRACKS

CODE = ("seqrl_jax.keys",)
SUITE = Suite("test", "two by two", "made", ("first", "second"), ("good", "bad"), seeds=3, steps=100)


@pytest.fixture
def found(track, record):
    """The findings of records that differ from a sound one by some fields each: {(kind, check): texts}."""

    class Coded(track):
        def code(self, method):
            return CODE

        def task_code(self, task):
            return ()

    def found(*changes, skipped=(), suites=None, tuning_seeds=(2000,)):
        made = [record(**{"code_fingerprint": fingerprint(CODE), **fields}) for fields in changes]
        section = Section(Coded(), in_order(made, Coded()))
        texts = {}
        for finding in findings([section], skipped, suites or {}, tuning_seeds):
            texts.setdefault((finding.kind, finding.check), []).append(finding.text)
        return texts

    return found


def test_sound_records_are_passed(found):
    assert found({}, {"method": "bad"}) == {}


def test_results_that_are_not_there_are_not_passed(tmp_path, capsys):
    assert cli.main(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "error: files: there are no records\n0 records, 1 error, 0 warnings\n"


def test_what_was_skipped_is_an_error(found):
    assert found({}, skipped=["a.json: not JSON"]) == {("error", "files"): ["a.json: not JSON"]}


def test_a_score_above_what_is_proved_is_an_error(found):
    (text,) = found({"metrics": {"return": [0.2, 0.3, 1.1]}})["error", "bounds"]
    assert "above the proven bound 1" in text


def test_two_intervals_of_one_value_have_to_meet(found):
    wide = {"random": Bound(0, 0, ""), "plain": Bound(0.5, 0.5, ""), "best": Bound(0.9, 1.1, "")}
    assert found({}, {"method": "bad", "bounds": wide}) == {}
    apart = wide | {"plain": Bound(0.6, 0.7, "")}
    (text,) = found({}, {"method": "bad", "bounds": apart})["error", "bounds"]
    assert text == "first: plain is in [0.5, 0.5] by the record of good, in [0.6, 0.7] by that of bad"
    # Of a task that has changed the values may have, too; that it has is an error of its own.
    (text,) = found({}, {"method": "bad", "bounds": apart, "task_fingerprint": "other"})["error", "bounds"]
    assert "has changed" in text


def test_certified_values_stand_in_their_order_under_names_that_are_known(found):
    bounds = {"random": Bound(0, 0, ""), "plain": Bound(0.5, 0.5, ""), "best": Bound(1, 1, "")}
    (text,) = found({"bounds": {**bounds, "random": Bound(1.5, 2, "")}})["error", "bounds"]
    assert "is at most 1" in text and "at least 1.5" in text
    (text,) = found({"bounds": {**bounds, "zz": Bound(0, 9, "")}, "bounded_by": ["zz"]})["error", "bounds"]
    assert "zz" in text


def test_a_seed_without_a_score_says_why(found):
    silent = {"metrics": {"return": [0.2, None, 0.3]}}
    (text,) = found({**silent, "failures": {}})["error", "seeds"]
    assert "no return and no failure of seed 1" in text
    assert ("error", "seeds") not in found({**silent, "failures": {"1": "its return is not finite"}})


def test_an_exact_score_above_what_is_proved_is_an_error_whatever_its_error_is_said_to_be(found):
    for errors in ({"return": [0.1] * 3}, {"return": [None] * 3}):
        assert found({"metrics": {"return": [0.2, 0.3, 1.1]}, "standard_errors": errors})["error", "bounds"]


def test_seeds_that_settings_were_chosen_on_are_not_reported(found):
    (text,) = found({"seeds": [1999, 2000, 2001]}, tuning_seeds=(2000, 2001, 2002))["error", "seeds"]
    assert text == "good on first reports seeds that settings were chosen on: 2000 and 2001"


def test_missing_cells_are_counted_by_suite(found):
    (text,) = found({}, {"task": "second"}, suites={"test": SUITE})["warning", "cells"]
    assert text == "suite test: 2 of 4 cells missing, first bad on first"
    assert found({"suite": "another"}, suites={"test": SUITE}) == {}


def test_cells_of_another_version_of_a_task_are_told(found):
    """The installed task has the fingerprint aa."""
    assert found({}, {"method": "bad"}) == {}
    other = {"task_fingerprint": "ff"}
    assert found(other, {"method": "bad", **other}, {"task": "second"}) == {
        ("warning", "tasks"): ["first is another task than is installed by this name in 2 of 2 cells"]
    }
    # What is not the package's own is not read or called because a record names it.
    assert found({"task": "elsewhere:task", **other}) == {}


def test_a_task_of_the_package_is_held_to_what_is_installed(tmp_path, record, capsys):
    for task in ("tiger", "tmaze:length=7", "tmaze:long=7", "nowhere.POMDP"):
        store.write(tmp_path, record(track="pomdp", task=task, method="ppo", bounds={}, bounded_by=[]))
    assert cli.main(["check", str(tmp_path), "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    texts = [finding["text"] for finding in findings if finding["check"] == "tasks"]
    assert len(texts) == 3
    assert [text.split()[0] for text in texts] == ["tiger", "tmaze:length=7", "tmaze:long=7"]
    assert "'long'" in texts[2]


def test_a_problem_and_its_name_have_one_fingerprint():
    for track, task in (
        ("pomdp", "tiger"),
        ("dialogue", "task:tiger"),
        ("environments", "memory_chain"),
        ("lm", "keyword"),
    ):
        (problem,) = TRACKS[track].problems([task], lambda done, total: None)
        assert TRACKS[track].fingerprint(task) == problem.fingerprint


def test_other_code_seeds_and_budgets_are_told(found):
    texts = found({"code_fingerprint": None}, {"method": "bad"})
    assert texts == {("warning", "code"): ["made: 1 of 2 cells made by other code than is installed, of good"]}
    fewer = {"seeds": [0], "metrics": {"return": [0.2]}, "episodes": [None], "curves": {}, "steps_asked": 50}
    assert found({}, {"method": "bad", **fewer})["warning", "runs"] == [
        "suite test: cells of 1–3 seeds",
        "suite test: runs of 50–100 steps",
    ]


def test_seeds_that_differ_are_a_warning_though_they_are_as_many(found):
    assert found({}, {"method": "bad", "seeds": [2, 1, 0]}) == {}
    (text,) = found({}, {"method": "bad", "seeds": [10, 11, 12]})["warning", "runs"]
    assert text == "suite test: cells of as many seeds, which are not the same"


def test_errors_come_first_and_are_the_exit_code(tmp_path, record, capsys):
    high = record(track="pomdp", task="tiger", method="ppo", metrics={"return": [2.0, 2.0, 2.0]})
    store.write(tmp_path, high)
    (tmp_path / "cut.json").write_text("{")
    assert cli.main(["check", str(tmp_path), "--json"]) == 1
    output = json.loads(capsys.readouterr().out)
    kinds = [finding["kind"] for finding in output["findings"]]
    assert output["records"] == 1 and output["errors"] == 3 and kinds == sorted(kinds)
    assert cli.main(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 record, 3 errors, ")
    assert cli.main(["check", str(tmp_path / "nowhere")]) == 2
