"""The recorded tables are released under names that anyone arrives at."""

from importlib.metadata import version
from pathlib import Path

import pytest

from seqrl_jax.cli import main
from seqrl_jax.results.manifest import checked
from seqrl_jax.results.provenance import read_measurement

pyarrow = pytest.importorskip("pyarrow")
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
RELEASED = read_measurement(RESULTS / "releases.json")


@pytest.mark.skipif(version("pyarrow") != RELEASED["pyarrow"], reason="another pyarrow writes other bytes")
def test_the_command_makes_what_was_released(tmp_path):
    """Of the table with the fewest cells."""
    row = min(RELEASED["rows"], key=lambda row: row["cells"])
    main(["release", str(RESULTS / row["table"]), "--out", str(tmp_path / "made")])
    made = checked(tmp_path / "made")
    assert (made.name, made.records, made.created) == (row["name"], row["cells"], row["created"])


def test_every_recorded_table_is_released():
    tables = {path.parent.name for path in RESULTS.glob("*/*--*.json")}
    assert {row["table"] for row in RELEASED["rows"]} == tables
