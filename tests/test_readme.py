"""What README and docs say is what the package does: their code runs, and their commands are commands."""

import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from seqrl_jax.commands.arguments import parser

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/commands.md", "docs/python.md", "docs/results.md", "docs/alignment.md")
TEXT = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def commands():
    """Every line of a block that begins with `seqrl`, and what stands between backticks so; comments cut off."""
    lines = [line for block in blocks("") for line in block.splitlines() if line.startswith("seqrl ")]
    lines = [re.split(r"\s{2,}", line)[0] for line in lines]
    return sorted({*lines, *re.findall(r"`(seqrl [^`]+)`", TEXT)})


def test_there_is_something_to_check():
    assert blocks("python") and len(commands()) > 10


@pytest.mark.parametrize("code", blocks("python"))
def test_every_python_block_runs(code):
    """In an interpreter of its own, as a reader of the checkout would run it, with nothing of the tests in it."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", commands())
def test_every_command_is_one(command):
    """Its words are parsed; nothing is run. A command that is only mentioned has no arguments: it has a help."""
    words = shlex.split(command)[1:]
    if len(words) == 1:
        with pytest.raises(SystemExit, match=r"^0$"):
            parser().parse_args([*words, "--help"])
    else:
        module = parser().parse_args(words).command
        assert callable(import_module(f"seqrl_jax.commands.{module}").run)


def test_every_folder_that_is_named_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([\w/]+)` \|", text, re.MULTILINE)
    folders = [name for name in named if "/" in name or (ROOT / name).is_dir()]
    assert len(folders) > 10 and all((ROOT / name).is_dir() for name in folders)
    packages = {f"seqrl_jax/{path.name}" for path in (ROOT / "seqrl_jax").iterdir() if (path / "__init__.py").exists()}
    assert packages <= set(folders), "a folder that is not explained"


def test_the_first_page_is_short_and_leads_to_every_other():
    """The reader of the README finds each page that stands beside it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} - {"docs/index.md"}
    assert pages <= set(re.findall(r"\]\((docs/\w+\.md)\)", text)) and len(text.splitlines()) < 120
