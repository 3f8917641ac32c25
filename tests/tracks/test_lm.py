import dataclasses
import io
import json

import numpy as np
import pytest

from seqrl_jax.tracks.lm import Plan, run_alignment
from seqrl_jax.bench.alignment_report import MARKERS, frontier_picture, write_alignment_report
from seqrl_jax.bench.alignment_results import holds_alignment, read_alignment, write_alignment
from seqrl_jax.bench.alignment_table import alignment_problems, alignment_rows, console_alignment, spread
from seqrl_jax.results.store import ResultsError
from seqrl_jax.tracks.suites import AlignmentSuite, check_alignment, suite
from seqrl_jax.lm.registry import METHODS
from seqrl_jax.naming import SpecError

PLAN = Plan("lm", ("sft", "best_of_16", "rloo", "dpo", "rlhf"), ("length_hack",), (0, 1), updates=6)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A rehearsal: every kind of method, six updates of each stage."""
    directory = tmp_path_factory.mktemp("lm")
    return directory, list(run_alignment(PLAN, directory))


def test_cells_say_where_each_seed_stands(ran):
    _, cells = ran
    by_method = {cell.method: cell for cell in cells}
    assert list(by_method) == list(PLAN.methods)
    sft = by_method["sft"]
    assert sft.kl == pytest.approx([0, 0], abs=1e-6) and sft.regret == pytest.approx([0, 0], abs=1e-4)
    assert sft.reward == pytest.approx(sft.reference_reward, abs=1e-9)
    assert sft.reward[0] != sft.reward[1]
    best = by_method["best_of_16"]
    assert all(0 < kl <= np.log(16) - 15 / 16 for kl in best.kl)
    assert all(reward > before for reward, before in zip(best.reward, sft.reward, strict=True))
    # The labeller of length_hack likes long answers, so that DPO's optimum is not that of the gold reward.
    assert by_method["rloo"].beta == 0.05 and by_method["dpo"].beta is None and by_method["rlhf"].beta is None
    assert all(value > 0 for value in by_method["rloo"].shortfall)
    assert all(kl > 0 for kl in by_method["rlhf"].kl)
    for cell in cells:
        assert all(regret >= -1e-6 for regret in cell.regret)
        assert all(a[0] <= b[0] + 1e-9 and a[1] <= b[1] + 1e-9 for a, b in zip(cell.frontier, cell.frontier[1:]))
        assert cell.frontier[-1][1] == pytest.approx(cell.best_reward[0])
    assert not alignment_problems(cells)


def test_finished_cells_are_kept_and_others_run_again(ran):
    directory, cells = ran
    stamped = dataclasses.replace(cells[2], created="2000-01-01T00:00:00+00:00")
    write_alignment(directory, stamped)
    again = list(run_alignment(dataclasses.replace(PLAN, methods=("rloo",)), directory))
    assert again[0].created == "2000-01-01T00:00:00+00:00"
    other = dataclasses.replace(PLAN, methods=("rloo:beta=0.2",))
    fresh = list(run_alignment(other, directory))
    assert fresh[0].beta == 0.2 and fresh[0].created > "2020"
    write_alignment(directory, cells[2])


def test_results_come_back_as_they_were_and_damage_is_named(ran, tmp_path):
    directory, cells = ran
    read, damage = read_alignment(directory)
    assert {cell.method for cell in read} >= set(PLAN.methods) and not damage
    assert next(cell for cell in read if cell.method == "dpo") == next(cell for cell in cells if cell.method == "dpo")
    path = write_alignment(tmp_path, cells[0])
    told = json.loads(path.read_text())
    (tmp_path / "short.json").write_text(json.dumps({**told, "kl": [0.0]}))
    (tmp_path / "torn.json").write_text(path.read_text()[:100])
    (tmp_path / "lacking.json").write_text(json.dumps({k: v for k, v in told.items() if k != "regret"}))
    (tmp_path / "else.json").write_text("[1]")
    read, damage = read_alignment(tmp_path)
    assert len(read) == 1
    assert [message.split(":")[0] for message in damage] == ["lacking.json", "short.json", "torn.json"]
    assert "kl: must have 2 entries" in damage[1] and "regret" in damage[0]
    assert holds_alignment(tmp_path) and not holds_alignment(tmp_path / "none")


def test_rows_carry_intervals_and_failures(ran):
    _, cells = ran
    hurt = dataclasses.replace(cells[2], reward=[None, 1.0], kl=[None, 2.0], regret=[None, 0.1], shortfall=[None, 0.2])
    row = alignment_rows([hurt])[0]
    assert (row["failed"], row["seeds"], row["reward"]["mean"]) == (1, 2, 1.0)
    assert alignment_rows([cells[0]])[0]["shortfall"] is None
    assert spread(row["reward"], 1) == "1.000 [1.000, 1.000] !1"
    assert spread(None, 2) == "failed" and spread(None) == ""


def test_a_policy_above_the_frontier_is_an_error(ran):
    _, cells = ran
    above = dataclasses.replace(cells[2], regret=[0.1, -0.05])
    assert "rloo on length_hack, seed 1: 0.05 above the frontier" in alignment_problems([above])


def test_the_page_has_every_method_and_escapes_what_files_say(ran, tmp_path):
    from rich.console import Console

    _, cells = ran
    bad = dataclasses.replace(cells[1], method="<script>alert(1)</script>")
    page = write_alignment_report([*cells, bad], tmp_path, ["<b>torn</b>"], "seqrl run lm").read_text()
    assert "<script>" not in page and "<b>torn" not in page and "&lt;script&gt;" in page
    assert all(f"<td>{name}</td>" in page for name in PLAN.methods)
    assert frontier_picture(cells).startswith(b"\x89PNG")
    looks = {(MARKERS[index % len(MARKERS)], index % 10) for index in range(len(METHODS))}
    assert len(looks) == len(METHODS)
    console = Console(width=80, record=True, file=io.StringIO())
    longest = max(METHODS, key=len)
    console.print(console_alignment([*cells, dataclasses.replace(cells[2], method=longest)]))
    lines = console.export_text().splitlines()
    assert any("length_hack" in line for line in lines)
    # Every method on one line of a terminal of 80 columns.
    told = [line.split()[0] for line in lines if "±" in line]
    assert told[: len(cells) + 1] == [*PLAN.methods, longest]
    assert "No results yet" in write_alignment_report([], tmp_path).read_text()


def test_a_cell_with_the_wrong_number_of_seeds_is_refused(ran):
    with pytest.raises(ResultsError, match="kl: must have 2 entries"):
        dataclasses.replace(ran[1][0], kl=[0.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ("dpoo",)}, "did you mean dpo"),
        ({"methods": ("dpo:beta=x",)}, "beta is 'x', expected a number"),
        ({"tasks": ("keyword", "keyword")}, "task 'keyword' stands twice"),
        ({"seeds": 0}, "at least one seed"),
    ],
)
def test_a_suite_that_cannot_run_is_refused_before_anything_is(change, message):
    lm = suite("lm")
    assert isinstance(lm, AlignmentSuite)
    check_alignment(lm)
    with pytest.raises(SpecError, match=message):
        check_alignment(dataclasses.replace(lm, **change))


def test_records_of_over_optimisation_are_shown_and_damaged_ones_told(tmp_path):
    row = {"proxy": "<i>unigram", "pairs": 50, "noise": 0.25, "optima": [[0.0, 0.1, 0.0], [1.0, 0.3, 1.1]]}
    good = {"kind": "overoptimisation", "rows": [row, {**row, "pairs": 1000, "noise": 0}], "command": "<b>python"}
    bad = {**good, "rows": [{**row, "optima": [[0.0, 0.1]]}]}
    (tmp_path / "good.json").write_text(json.dumps(good))
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    (tmp_path / "nan.json").write_text(json.dumps(good).replace("0.3", "NaN"))
    damaged = read_alignment(tmp_path)[1]
    page = write_alignment_report([], tmp_path, damaged).read_text()
    assert page.count("Over-optimisation") == 1 and page.count("data:image/png") == 1
    assert "<b>python" not in page and "&lt;b&gt;python" in page
    assert "bad.json: rows[0].optima: must hold KL, gold and proxy reward" in page
    assert page.count("nan.json: not JSON (NaN is not a number of JSON)") == 1


@pytest.mark.parametrize(
    "change, told",
    [({"format": 2}, "format 2, where this version reads 1"), ({"kl": [0.1]}, "kl: must have 2 entries")],
)
def test_a_cell_that_cannot_be_is_named_and_skipped(ran, tmp_path, change, told):
    cell = ran[1][0]
    path = write_alignment(tmp_path, cell)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    (tmp_path / "copy.json").write_text(json.dumps(dataclasses.asdict(cell)))
    cells, damaged = read_alignment(tmp_path)
    assert not cells and len(damaged) == 2
    assert any(told in message for message in damaged) and any("a copy" in message for message in damaged)
