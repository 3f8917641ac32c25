"""A new track is one object: what it says is enough to be listed, run, listed, reported and compared."""

import json

import pytest
from toy import SUITE, Toy

from seqrl_jax import cli
from seqrl_jax.tracks import registry, suites


@pytest.fixture
def seqrl(monkeypatch, capsys):
    monkeypatch.setitem(registry.TRACKS, "toy", Toy())
    monkeypatch.setitem(suites.SUITES, SUITE.name, SUITE)

    def seqrl(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert code == 0, err
        return out

    return seqrl


def test_a_new_track_gets_every_command(seqrl, tmp_path):
    listed = json.loads(seqrl("list", "--json"))
    assert {"name": "penny", "track": "toy", "about": "fair"} in listed["tasks"]
    assert {"name": "wrong", "track": "toy", "marked_wrong": True, "about": "lost"} in listed["agents"]
    assert "coins" in [suite["name"] for suite in listed["suites"]]
    assert "penny (toy): fair" in seqrl("list", "penny")

    listed = json.loads(seqrl("run", SUITE.name, "--out", tmp_path, "--json"))
    agents = {(row["task"], row["agent"]): row for row in listed["rows"] if row["kind"] == "agent"}
    assert set(agents) == {(task, method) for task in Toy.tasks for method in Toy.methods}
    assert all(row["track"] == "toy" and row["certified"] and row["seeds"] == 2 for row in agents.values())
    assert listed["errors"] == [] and listed["damaged"] == []
    assert json.loads(seqrl("table", tmp_path, "--json"))["rows"] == listed["rows"]

    text = seqrl("table", tmp_path)
    assert "toy: 3 tasks, 3 methods" in text and "wrong†" in text and "0 for a guess, 1 for the best bet" in text
    assert "fast" in seqrl("table", tmp_path, "--profile", "--improvement", "fast", "slow")
    assert "index.html" in seqrl("report", tmp_path) and len(list((tmp_path / "site" / "agents").iterdir())) == 3

    compared = json.loads(seqrl("compare", tmp_path, "--agents", "slow", "fast", "--json"))
    for row in compared["rows"]:
        means = [agents[row["task"], method]["score"]["mean"] for method in ("slow", "fast")]
        assert row["difference"]["value"] == pytest.approx(means[1] - means[0])
    assert len(compared["rows"]) == 3 and compared["overall"][0]["tasks"] == 3
