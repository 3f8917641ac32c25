"""Processes that compute together: where arrays lie, where they agree, and how they fail."""

import subprocess
import sys

import pytest
from processes import free_port, in_two

from seqrl_jax.cli import main
from seqrl_jax.hosts import Member, Unreachable, join

AGREEING = """
import json
import jax, jax.numpy as jnp, numpy as np
from seqrl_jax import hosts
from seqrl_jax.checkpoint import load_tree, save_tree
from seqrl_jax.devices import over_devices
from seqrl_jax.failures import Interrupted
from seqrl_jax.runs.interrupt import Interrupt

me = jax.process_index()
spread = over_devices(3)
runs = spread.lay({"number": np.arange(3.0), "key": jax.vmap(jax.random.key)(np.arange(3))})
drawn = jax.jit(jax.vmap(lambda run: run["number"] + jax.random.uniform(run["key"])))(runs)
told = {"first": hosts.is_first(), "index": spread.index.tolist(), "drawn": spread.gather(drawn).tolist()}
told["mine"] = sum(part.data.size for part in runs["number"].addressable_shards)

save_tree(sys.argv[1] + "/runs", runs, {})
again = load_tree(sys.argv[1] + "/runs", runs)
told["again"] = bool((hosts.whole(again["number"]) == hosts.whole(runs["number"])).all())
bits = lambda tree: hosts.whole(jax.random.key_data(tree["key"])).tolist()
told["key"] = bits(again) == bits(runs)

def outcome(action):
    try:
        return action()
    except (ValueError, OSError, KeyError, Interrupted) as error:
        return f"{type(error).__name__}: {error}"

def fail_in_the_second():
    with hosts.together():
        if me == 1:
            raise KeyError("mine")

told["failed"] = outcome(fail_in_the_second)
told["written"] = []
hosts.on_first(lambda: told["written"].append(me))
told["same"] = outcome(lambda: hosts.require_same("it", {"a": 1}))
told["different"] = outcome(lambda: hosts.require_same("it", {"a": me}))

interrupt = Interrupt()
told["before"] = interrupt.agree()
if me == 1:
    told["at once"] = interrupt.request(15)
outcome(interrupt.check)
told["alone"] = interrupt.requested
told["after"] = interrupt.agree()
told["ended"] = outcome(interrupt.check)
print(json.dumps(told))
"""


def test_two_processes_hold_a_part_each_and_agree(tmp_path):
    first, second = in_two(AGREEING, str(tmp_path))
    for told in (first, second):
        assert told["index"] == [0, 1, 2, 0] and told["mine"] == 2
        assert told["again"] and told["key"]
        assert told["same"] is None and told["different"].startswith("ValueError: processes differ in it")
        assert (told["before"], told["alone"], told["after"]) == (False, False, True)
        assert told["ended"] == "Interrupted: ended by SIGTERM; the same command goes on from here"
    assert first["drawn"] == second["drawn"] and [int(number) for number in first["drawn"]] == [0, 1, 2]
    assert (first["first"], second["first"]) == (True, False)
    assert (
        first["failed"] == "EndedElsewhere: process 1 failed, and says why" and second["failed"] == "KeyError: 'mine'"
    )
    assert (first["written"], second["written"]) == ([0], [])
    assert second["at once"] is False


@pytest.mark.parametrize(
    "words, said",
    [
        (["--processes", "2"], "--processes and --process need --coordinator HOST:PORT"),
        (["--coordinator", "auto", "--process", "0"], "--processes and --process need --coordinator HOST:PORT"),
        (
            ["--coordinator", "here:1", "--processes", "2"],
            "--coordinator HOST:PORT needs --processes, how many there are",
        ),
        (
            ["--coordinator", "here", "--processes", "2", "--process", "1"],
            "the coordinator is 'here', expected HOST:PORT",
        ),
        (["--coordinator", "here:1", "--processes", "2", "--process", "2"], "process 2 of 2: they are numbered from 0"),
        (["--coordinator", "no.invalid:1", "--processes", "2", "--process", "1"], "no.invalid:1 has no address"),
        (["--coordinator", "here:1", "--processes", "2", "--process", "-1"], "expected a whole number >= 0"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, words, said):
    (tmp_path / "data.jsonl").write_text('{"text": "a"}\n')
    for command in (["align", str(tmp_path / "data.jsonl")], ["run", "--tasks", "tiger"]):
        try:
            code = main([*command, "--out", str(tmp_path / "out"), *words])
        except SystemExit as exit:
            code = exit.code
        lines = capsys.readouterr().err.splitlines()
        assert code == 2 and len(lines) == 1 and said in lines[0], lines
    assert not (tmp_path / "out").exists()


def test_rows_elsewhere_are_no_program_of_several_hosts(capsys):
    words = ["--coordinator", "here:1", "--processes", "2", "--process", "0"]
    assert main(["run", "--tasks", "tiger", "--executor", "slurm", *words]) == 2
    assert "--coordinator: one program of several hosts, which --executor slurm has not" in capsys.readouterr().err


def test_a_coordinator_that_does_not_listen_is_named():
    port = free_port()
    with pytest.raises(Unreachable, match=f"the coordinator localhost:{port} cannot be reached: .*refused"):
        join(Member(f"localhost:{port}", 2, 1), patience=0.1)


def test_where_nothing_started_several_processes_that_is_said(tmp_path):
    command = [sys.executable, "-m", "seqrl_jax.cli", "run", "--tasks", "tiger", "--coordinator", "auto"]
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("seqrl: --coordinator auto: jax finds nothing here") and done.stderr.count("\n") == 1
