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
    told = [line for line in struck if line.startswith("os.rename .slow") or line == "os.remove manifest.json"]
    assert [line.partition("--")[0] for line in told[-3:]] == ["os.rename .slow"] * 2 + ["os.remove manifest.json"]
    assert struck[-1] == "os.rmdir .run"


def test_an_agent_that_is_killed_learns_what_it_would_have(tmp_path, numbers, until):
    """A real one, with memory and replay: killed after its first chunk and after a later one."""

    def seqrl(directory):
        command = [sys.executable, "-m", "seqrl_jax.cli", "run", "--tasks", "tiger", "aliased_line", "--seeds", "2"]
        command += ["--agents", "drqn", "--steps", "8000", "--out", str(directory)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def finished(directory):
        process = seqrl(directory)
        _, said = process.communicate()
        assert process.returncode == 0, said[-3000:]
        return numbers(directory)

    def written():
        return [path.stat().st_mtime_ns for path in parts.glob(".run/*/loop-0.safetensors")]

    parts = tmp_path / "parts"
    for _ in range(2):
        before, process = written(), seqrl(parts)
        until(lambda before=before: written() not in ([], before), 300)
        process.kill()
        process.communicate()
        assert written() not in ([], before) and not list(parts.glob("*.json"))
    assert finished(parts) == finished(tmp_path / "whole")
    assert len(numbers(parts)) == 2
