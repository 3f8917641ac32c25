import itertools
import re

import pytest

from seqrl_jax.report.console import improvement_grid, profile_grid, render
from seqrl_jax.report.grid import Grid, Line, fold, rendered
from seqrl_jax.report.overall import improvement
from seqrl_jax.results.record import Bound

HOSTILE = "<script>alert(1)</script>[bold]\x1b[2J"


def bounds(**ends):
    return {name: Bound(*end, "by hand") for name, end in ends.items()}


@pytest.fixture
def made(section, record):
    wrong = {"method": "bad", "marked_wrong": True, "failures": {"1": "diverged"}, "curves": {}, "policy": "greedy"}
    return section(
        record(warnings=["seed 2: it was close"], metrics={"return": [0.9, 0.91, 0.92], "price": [1.0, 2.0, 3.0]}),
        record(metrics={"return": [0.0, None, 0.2]}, **wrong),
        record(task="second:length=10,horizon=30"),
        notes_below=("what a reader should know",),
    )


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_method_task_and_statistic_is_there_at_any_width(made, width):
    text = render([made], width)
    for name in ("good", "bad†", "first", "length=10", "plain", "IQM", "optimality gap", "worst task", "price"):
        assert name in text, name
    assert max(map(len, text.splitlines())) <= width


def test_a_table_says_how_to_read_it(made):
    text = " ".join(render([made], 200).split())
    assert "0 is random, 1 the best" in text and "†: wrong on purpose" in text and "!n: n seeds failed" in text
    assert "what a reader should know" in text and "warning: good on first, seed 2: it was close" in text
    assert "1 of 3 seeds failed (1): diverged" in text
    assert "0.10±" in text and "!1" in text and "seeds in each cell: 3" in text
    assert "Judged policies: sampled: good; greedy: bad." in text


def test_cells_that_nobody_would_read_are_left_out_and_it_says_where_they_are(section, record):
    cells = [(f"first:size={size}", method) for size in range(2501) for method in ("good", "bad")]
    text = render([section(*(record(task=task, method=method) for task, method in cells))], 200)
    assert "size=7" not in text and "IQM" in text and "--format csv" in text


def test_one_seed_is_a_dash(section, record):
    assert "0.30±–" in render([section(record(metrics={"return": [0.3]}))], 80)


def test_a_cell_without_any_score_is_called_failed(section, record):
    lost = {"metrics": {"return": [None] * 3}, "failures": {str(seed): "diverged" for seed in range(3)}, "curves": {}}
    for known in ({}, {"bounds": {}, "bounded_by": []}):
        lines = render([section(record(**known), record(method="bad", **lost, **known))], 80).splitlines()
        assert any(line.split() == ["bad", "failed"] for line in lines), lines


def test_memory_that_is_proved_is_marked_and_intervals_show_both_ends(section, record):
    wide = bounds(random=(0, 0), plain=(0.5, 0.75), best=(1, 1))
    text = render([section(record(metrics={"return": [0.9, 0.91, 0.92]}, bounds=wide))], 80)
    assert re.search(r"0\.82±0\.\d\d\|0\.64±0\.\d\d\*", text), text
    low = render([section(record(metrics={"return": [0.6, 0.61, 0.62]}, bounds=wide))], 80)
    assert "Memory score" not in low, "nothing is proved to use memory"


def test_tasks_without_certificates_show_the_return_and_say_so(section, record):
    text = render([section(record(bounds={}, bounded_by=[]))], 80)
    assert "return, higher is better, not certified" in text and "0.30±" in text and "Normalised" not in text


def test_an_impossible_score_is_an_error(section, record):
    text = " ".join(render([section(record(metrics={"return": [0.1, 2.0, 0.1]}))], 80).split())
    assert "error: good on first: a seed scores 2, above the proven bound 1" in text


def test_records_cannot_steer_the_terminal(section, record):
    hostile = record(task=HOSTILE, method=HOSTILE, warnings=[HOSTILE], metrics={"return": [0.1, 9.0, 0.1]})
    for width in (60, 200):
        text = render([section(hostile)], width)
        assert "\x1b" not in text and "[bold]" in text.replace("\n", "")
        assert max(map(len, text.splitlines())) <= width


def test_several_tracks_stand_one_below_the_other(section, record, track):
    from seqrl_jax.report.sections import sections

    tracks = {"made": track(), "other": track(name="other", scales=())}
    found, _ = sections([record(), record(track="other", method="elsewhere")], tracks)
    text = render(found, 80)
    assert text.index("made: 1 task, 1 method") < text.index("other: 1 task, 1 method") < text.index("elsewhere")


def test_an_empty_directory_says_so():
    assert "no results yet" in render([], 80)


def test_profiles_and_improvements_are_tables(made):
    assert len(profile_grid(made).lines) == 2
    (line,) = improvement_grid(improvement(made, "good", "bad")).lines
    assert line.label == "P(good > bad)" and line.entries == ["1.00 [1.00, 1.00]"]


def test_columns_are_folded_into_blocks_that_fit():
    assert fold([10, 10, 10], 25) == [[0, 1], [2]]
    assert fold([50], 10) == [[0]]
    blocks = fold([5] * 20, 33)
    assert list(itertools.chain(*blocks)) == list(range(20)) and all(len(block) <= 6 for block in blocks)


def test_a_grid_repeats_its_labels_in_every_block():
    grid = Grid("title", ["first", "second"], [Line("a label", ["1" * 30, "2" * 30])])
    assert len(rendered(grid, 50)) == 3 and len(rendered(grid, 100)) == 2
