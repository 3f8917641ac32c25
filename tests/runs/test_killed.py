"""A run that is killed at any moment, again and again, ends with the table of one that was not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def kill(tmp_path):
    """How to kill -> what was struck, a line each, where the tables came out equal."""

    def kill(how):
        command = [sys.executable, "-W", "ignore", str(HERE / "killing_process.py"), how, str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
        return done.stdout.splitlines()

    return kill


def test_twenty_kills_at_random_times_lose_at_most_a_chunk_each_and_change_no_bit(kill):
    assert len(kill("at_random_times")) == 20


def test_a_kill_before_any_change_of_a_file_changes_no_bit(kill):
    """Every one in turn: between the two records of a row and before its checkpoint goes among them."""
    struck = kill("before_each_change")
    reported = [line for line in struck if line.startswith("os.rename .slow") or line == "os.remove manifest.json"]
    assert [line.partition("--")[0] for line in reported[-3:]] == ["os.rename .slow"] * 2 + ["os.remove manifest.json"]
    assert struck[-1] == "os.rmdir .run"


def test_agents_that_are_killed_learn_what_they_would_have(tmp_path, numbers, until):
    """Real ones, killed once each after some chunk: without memory, and with memory and replay."""

    def seqrl(directory):
        command = [sys.executable, "-m", "seqrl_jax.cli", "run", "--tasks", "tiger", "aliased_line", "--seeds", "2"]
        command += ["--agents", "q_obs", "drqn", "--steps", "20000", "--out", str(directory)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def finished(directory):
        process = seqrl(directory)
        _, said = process.communicate()
        assert process.returncode == 0, said[-3000:]
        return numbers(directory)

    parts = tmp_path / "parts"
    for cells in (0, 2):
        is_in_row = lambda cells=cells: len(list(parts.glob("*.json"))) == cells and list(parts.glob(".run/*/loop-0.*"))
        process = seqrl(parts)
        until(lambda process=process, is_in_row=is_in_row: is_in_row() or process.poll() is not None, 300)
        process.kill()
        said = process.communicate()[1]
        assert is_in_row(), said[-3000:]
    assert finished(parts) == finished(tmp_path / "whole")
    assert len(numbers(parts)) == 4
