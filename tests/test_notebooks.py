"""The notebooks as files: what they show, and which claims they end with. `make notebooks` runs them."""

import json
import re
from pathlib import Path

import pytest

from seqrl_jax.claims import CLAIMS, SOURCES, base, memory

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(path, kind):
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def text(cells):
    return "\n".join("".join(cell["source"]) for cell in cells)


def shown(path):
    """What its code printed."""
    outputs = [output for cell in cells(path, "code") for output in cell["outputs"]]
    return "\n".join("".join(output.get("text", "")) for output in outputs)


def test_there_is_one_for_each_part_of_the_lecture_and_one_of_memories_and_logs():
    assert [path.name[:3] for path in NOTEBOOKS] == [f"{number:02}_" for number in range(1, len(SOURCES) + 2)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_was_run_from_its_first_cell_to_its_last(path):
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_says_nothing_of_the_machine_that_ran_it(path):
    assert not re.search(r"/(home|root|tmp|work|Users)/", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("path", "source"), list(zip(NOTEBOOKS, SOURCES)), ids=lambda part: getattr(part, "stem", part)
)
def test_it_ends_with_the_claims_of_its_part(path, source):
    mine = [claim for claim in CLAIMS if claim.source == source and claim not in memory.CLAIMS]
    assert not [claim.id for claim in mine if f"({claim.id})" not in shown(path)]


def test_the_last_one_ends_with_the_claims_of_memories():
    assert not [claim.id for claim in memory.CLAIMS if f"({claim.id})" not in shown(NOTEBOOKS[-1])]
    assert {claim.source for claim in memory.CLAIMS} == {base.HISTORIES}


def test_every_notebook_that_is_named_is_there():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *NOTEBOOKS]
    names = {name for page in pages for name in re.findall(r"\b\d\d_\w+\.ipynb", page.read_text(encoding="utf-8"))}
    assert len(names) >= len(NOTEBOOKS) and names <= {path.name for path in NOTEBOOKS}
