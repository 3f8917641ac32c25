import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl_jax.results.store import ResultsError, cell_path, file_name, read_cells, write_cell


def test_a_cell_comes_back_as_it_was_written(tmp_path, make_cell):
    cell = make_cell(scores=np.array([0.2, np.nan, 0.4]), seeds=np.arange(3))
    path = write_cell(tmp_path, cell)
    (again,), damage = read_cells(tmp_path)
    assert again == cell and damage == [] and path == cell_path(tmp_path, cell)
    assert again.scores == [0.2, None, 0.4] and again.failed == 1 and again.finished == [0.2, 0.4]
    assert "NaN" not in path.read_text()


@settings(max_examples=50, deadline=None)
@given(agent=st.text(min_size=1), task=st.text(min_size=1))
def test_any_name_makes_a_safe_file_name(agent, task):
    name = file_name(agent, task)
    assert name.isascii() and "/" not in name and not name.startswith(".") and len(name) < 200


def test_specs_that_look_alike_have_files_of_their_own():
    specs = ["tmaze:length=10", "tmaze_length=10", "Tmaze:length=10", "tmaze:length=1,0", "a/b.POMDP", "a_b.POMDP"]
    assert len({file_name("ppo", spec).lower() for spec in specs}) == len(specs)


def test_a_crash_before_the_last_moment_leaves_the_old_file(tmp_path, make_cell, monkeypatch):
    old = make_cell()
    write_cell(tmp_path, old)

    def crash(*_):
        raise OSError("power cut")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="power cut"):
        write_cell(tmp_path, make_cell(scores=[1.0, 1.0, 1.0]))
    monkeypatch.undo()
    assert read_cells(tmp_path) == ([old], [])
    assert len(list(tmp_path.iterdir())) == 1, "no temporary file is left"


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": 99}',
        '{"something": "else"}',
        "\x00\x01",
        '{"format": 1}',
    ],
)
def test_a_damaged_file_is_named_and_skipped(tmp_path, make_cell, damage):
    write_cell(tmp_path, make_cell())
    (tmp_path / "broken.json").write_text(damage)
    cells, messages = read_cells(tmp_path)
    assert len(cells) == 1 and len(messages) == 1 and messages[0].startswith("broken.json: ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scores", [0.1]),
        ("scores", ["high", 0, 0]),
        ("seeds", [0, 0, 1]),
        ("steps", [100, 0]),
        ("curve", [[0.0, 0.0, 0.0]]),
        ("certified", {}),
        ("evaluation", "somehow"),
        ("created", "yesterday"),
        ("run_seconds", -1.0),
        ("memoryless", "yes"),
        ("standard_errors", [-1.0, 0.0, 0.0]),
    ],
)
def test_a_field_that_does_not_fit_is_named(tmp_path, make_cell, field, value):
    with pytest.raises(ResultsError, match=field):
        make_cell(**{field: value})
    path = write_cell(tmp_path, make_cell())
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    cells, messages = read_cells(tmp_path)
    assert cells == [] and field in messages[0]


def test_a_missing_directory_is_one_clear_error(tmp_path):
    with pytest.raises(ResultsError, match="no results directory"):
        read_cells(tmp_path / "nowhere")


def test_a_copied_file_does_not_count_twice(tmp_path, make_cell):
    path = write_cell(tmp_path, make_cell())
    (tmp_path / "copy.json").write_bytes(path.read_bytes())
    cells, messages = read_cells(tmp_path)
    assert len(cells) == 1 and "a copy" in messages[0]
