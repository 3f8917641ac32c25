"""What the leaderboard's script decides, run outside of a browser."""

import json
import shutil
import subprocess
from importlib.resources import files

import pytest

NAMES = {
    "tables": [{"name": "quick", "track": "pomdp"}, {"name": "talk", "track": "dialogue"}],
    "tasks": [{"name": "tmaze"}, {"name": "tiger"}, {"name": "wordle"}],
    "agents": [
        {"label": "ppo", "track": "pomdp", "wrong": False},
        {"label": "dqn†", "track": "pomdp", "wrong": True},
        {"label": "cql", "track": "dialogue", "wrong": False},
    ],
}
ROWS = [
    [0, 0, 0, 2.1, "2.1", 0.9, "0.90", None, "–", 10, 0, 200, 3.5, 0],
    [0, 1, 1, -7.0, "-7", 0.1, "0.10", 0.2, "0.20", 10, 1, 1000, 2.0, 1],
    [0, 1, 0, -3.0, "-3", None, "–", None, "–", 5, 0, 200, 10.0, 2],
    [1, 2, 2, 1.0, "1", 0.9, "0.90", None, "–", 5, 0, 0, 0.0, 3],
]


@pytest.fixture(scope="session")
def script():
    """An expression of JavaScript -> its value."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    source = (files("seqrl_jax") / "report" / "static" / "rows.js").read_text()

    def run(expression):
        program = f"const NAMES = {json.dumps(NAMES)}, ROWS = {json.dumps(ROWS)};"
        code = f"{source};{program}process.stdout.write(JSON.stringify({expression}))"
        return json.loads(subprocess.run([node, "-e", code], check=True, capture_output=True, text=True).stdout)

    return run


@pytest.mark.parametrize(
    "wanted, passing",
    [
        ({}, [0, 1, 2, 3]),
        ({"task": "1"}, [1, 2]),
        ({"agent": "0", "task": "1"}, [2]),
        ({"track": "dialogue"}, [3]),
        ({"table": "0", "marked": "right"}, [0, 2]),
        ({"marked": "wrong"}, [1]),
        ({"text": "PPO  ti"}, [2]),
        ({"text": "quick maze"}, [0]),
        ({"text": "nothing"}, []),
    ],
)
def test_a_row_passes_where_everything_that_is_wanted_is_so(script, wanted, passing):
    found = script(f"ROWS.filter((row) => rows.matches(row, {json.dumps(wanted)}, NAMES)).map((row) => row[13])")
    assert found == passing


@pytest.mark.parametrize(
    "key, direction, order",
    [
        ("normalised", "descending", [0, 3, 1, 2]),
        ("normalised", "ascending", [1, 0, 3, 2]),
        ("memory", "descending", [1, 0, 2, 3]),
        ("seconds", "ascending", [3, 1, 0, 2]),
        ("score", "descending", [0, 3, 2, 1]),
        ("task", "ascending", [1, 2, 0, 3]),
        ("agent", "descending", [0, 2, 1, 3]),
    ],
)
def test_rows_are_sorted_and_what_has_no_number_is_last(script, key, direction, order):
    assert script(f'rows.sorted(ROWS, "{key}", "{direction}", NAMES).map((row) => row[13])') == order


def test_the_columns_are_those_that_are_written(script):
    from seqrl_jax.report.site.board import Cell

    assert script("rows.PLACE") == {name: place for place, name in enumerate(Cell._fields)}


def test_pages_end_where_the_rows_do(script):
    assert script("rows.page([1, 2, 3, 4, 5], 1, 2)") == {"number": 1, "last": 2, "rows": [3, 4]}
    assert script("rows.page([1, 2, 3, 4, 5], 9, 2)") == {"number": 2, "last": 2, "rows": [5]}
    assert script("rows.page([], 3, 2)") == {"number": 0, "last": 0, "rows": []}


def test_text_is_sorted_by_the_number_that_it_begins_with(script):
    texts = ["0.53* [0.50, 0.56]", " -1.2e+05 – ", "failed", "–", "", "9 of 10", "greedy", "1,234,567", "3, 4"]
    assert script(f"{json.dumps(texts)}.map((text) => rows.value(text, false))") == [
        0.53,
        -1.2e5,
        None,
        None,
        None,
        9,
        "greedy",
        1234567,
        3,
    ]
    assert script('rows.value(" 3d_maze ", true)') == "3d_maze"
    assert script("rows.nearest([0, 10, 30], 19)") == 1
