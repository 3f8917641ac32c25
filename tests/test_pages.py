"""The pages that tell how to add something, followed. Those of agents and environments are elsewhere."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax import cli
from seqrl_jax.networks.registry import MEMORIES
from seqrl_jax.tasks.registry import TASKS
from seqrl_jax.tracks.registry import TRACKS

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def followed(tmp_path, monkeypatch):
    """The module of a page, with its line run on a table; both as short as promised."""

    def followed(page, name, table, longest=40):
        text = (DOCS / page).read_text(encoding="utf-8")
        module, line = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        assert len(module.splitlines()) <= longest and len(line.splitlines()) == 1
        path = tmp_path / f"{name}.py"
        path.write_text(module, encoding="utf-8")
        found = importlib.util.spec_from_file_location(name, path)
        added = importlib.util.module_from_spec(found)
        monkeypatch.setitem(sys.modules, name, added)
        found.loader.exec_module(added)
        monkeypatch.setitem(table[1], name, None)
        exec(line, {table[0]: table[1], **vars(added)})
        return added

    return followed


def test_a_task_is_added_and_solved(followed, capsys):
    followed("add_a_task.md", "vault", ("TASKS", TASKS))
    assert cli.main(["solve", "vault:keys=2,way=1", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)["values"]
    for name, value in (("history", 0.9), ("memoryless_stochastic", 0.9 / 2)):
        assert values[name]["lower"] == pytest.approx(value, abs=1e-9)
        assert values[name]["upper"] == pytest.approx(value, abs=1e-6)
    assert cli.main(["list", "vault"]) == 0
    assert "remember one of several symbols" in " ".join(capsys.readouterr().out.split())


def test_a_memory_is_added_and_keeps_its_promises(followed, tmp_path, capsys):
    averages = followed("add_a_memory.md", "averages", ("MEMORIES", MEMORIES)).Averages(8)
    keys = jax.random.split(jax.random.key(0), 3)
    xs, firsts = (jax.random.normal(keys[0], (20, 3, 5)),), jax.random.bernoulli(keys[1], 0.2, (20, 3))
    weights = averages.init(keys[2], averages.initial_carry(3), xs, firsts)
    _, at_once = averages.apply(weights, averages.initial_carry(3), xs, firsts)
    carry, steps = averages.initial_carry(3), []
    for t in range(20):
        carry, y = averages.apply(weights, carry, (xs[0][t : t + 1],), firsts[t : t + 1])
        steps.append(y)
    np.testing.assert_allclose(jnp.concatenate(steps), at_once, atol=1e-5)
    agent = "ppo:memory=averages,width=8"
    run = ["run", "--tasks", "tiger", "--agents", agent, "--steps", "2000", "--seeds", "1", "--json"]
    assert cli.main([*run, "--out", str(tmp_path / "run")]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][-1]["failed"] == 0


def test_a_track_is_added_run_gone_on_with_and_checked(followed, tmp_path, capsys):
    followed("add_a_track.md", "bandits", ("TRACKS", TRACKS), longest=110)
    run = ["run", "--tasks", "close", "apart", "--agents", "greedy", "epsilon_greedy", "--steps", "400", "--seeds", "3"]
    assert cli.main([*run, "--out", str(tmp_path / "run"), "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    rows = {(row["task"], row["agent"]): row["score"]["mean"] for row in output["rows"] if row["kind"] == "agent"}
    assert len(rows) == 4 and output["errors"] == []
    # Who knows the better arm by then draws it but for every tenth time, when any arm is drawn.
    assert rows["apart", "epsilon_greedy"] == pytest.approx(0.9 * 0.8 + 0.1 * 0.5) and rows["close", "greedy"] <= 0.6
    alone = [*run[:2], "apart", *run[4:], "--out", str(tmp_path / "alone"), "--json"]
    assert cli.main(alone) == 0
    for row in json.loads(capsys.readouterr().out)["rows"]:
        if row["kind"] == "agent":
            assert row["score"]["mean"] == rows["apart", row["agent"]], "a run is what it would be alone"
    assert cli.main(["check", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["errors"] == 0
