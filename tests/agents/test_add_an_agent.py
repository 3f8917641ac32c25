"""The page that tells how to add an agent, followed."""

import importlib.util
import json
import re
from pathlib import Path

from seqrl_jax import cli
from seqrl_jax.agents.registry import AGENTS, Entry

PAGE = (Path(__file__).parents[2] / "docs" / "add_an_agent.md").read_text(encoding="utf-8")


def test_the_page_adds_an_agent_in_one_file_and_one_line(tmp_path, monkeypatch, capsys):
    module, line = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(module.splitlines()) <= 40 and len(line.splitlines()) == 1
    path = tmp_path / "a2c.py"
    path.write_text(module, encoding="utf-8")
    found = importlib.util.spec_from_file_location("a2c", path)
    added = importlib.util.module_from_spec(found)
    monkeypatch.setitem(__import__("sys").modules, "a2c", added)
    found.loader.exec_module(added)
    monkeypatch.setitem(AGENTS, "a2c", None)
    exec(line, {"AGENTS": AGENTS, "Entry": Entry, "A2C": added.A2C})
    spec = "a2c:lambda_=0.9,width=8"
    run = ["run", "--tasks", "tiger", "--agents", spec, "--steps", "2000", "--seeds", "2", "--json"]
    assert cli.main([*run, "--out", str(tmp_path / "run")]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"][-1:]
    assert row["agent"] == spec and row["failed"] == 0
