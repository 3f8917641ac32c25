"""`seqrl run` with a track that it has never heard of before."""

import errno
import json
import os
import signal

import pytest
from toy import SUITE, Toy

from seqrl_jax import cli, files
from seqrl_jax.commands import run as command
from seqrl_jax.results import store
from seqrl_jax.runs.checkpoint import FOLDER
from seqrl_jax.runs.lock import writing
from seqrl_jax.tracks.registry import TRACKS
from seqrl_jax.tracks.suites import SUITES


@pytest.fixture
def toy(monkeypatch):
    """A toy that seqrl knows."""

    def toy(track):
        monkeypatch.setitem(TRACKS, track.name, track)
        monkeypatch.setitem(SUITES, SUITE.name, SUITE)

    monkeypatch.setattr(command, "use_every_core", lambda: None)
    monkeypatch.setattr(command, "keep_compiled_programs", lambda: None)
    toy(Toy())
    return toy


@pytest.fixture
def seqrl(toy, capsys):
    """Words -> (exit code, what was printed, lines on stderr)."""

    def seqrl(*words):
        code = cli.main([str(word) for word in words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err.splitlines()

    return seqrl


@pytest.fixture
def running(seqrl, monkeypatch):
    """The same, without the table and the report."""
    monkeypatch.setattr(command, "show_results", lambda directory, as_json: None)
    return seqrl


def test_a_suite_is_run_told_and_found_again(tmp_path, seqrl):
    code, out, lines = seqrl("run", "coins", "--out", tmp_path)
    assert code == 0 and all(name in out for name in (*Toy.tasks, *Toy.methods)), out
    assert len(lines) == 9 and lines[-1].startswith("wrong on loaded: won ") and "(9 of 9 cells)" in lines[-1]
    assert (tmp_path / "site" / "index.html").exists()
    written = (tmp_path / "site" / "index.html").stat().st_mtime_ns
    code, out, lines = seqrl("run", "coins", "--out", tmp_path, "--json")
    reported = json.loads(out)
    assert (code, lines) == (0, []) and {(row["task"], row["agent"]) for row in reported["rows"]} >= {
        (task, method) for task in Toy.tasks for method in Toy.methods
    }
    assert (tmp_path / "site" / "index.html").stat().st_mtime_ns == written, "nothing changed, so it stands"


def test_a_report_that_a_killed_run_did_not_write_is_written(tmp_path, seqrl):
    words = ("run", "coins", "--tasks", "penny", "--out", tmp_path)
    seqrl(*words)
    page = tmp_path / "site" / "index.html"
    written = page.read_text()
    page.write_text(written.replace('<meta name="made-of" content="', '<meta name="made-of" content="other'))
    seqrl(*words)
    assert page.read_text() == written


def test_names_say_their_track(tmp_path, running):
    """And the budget is asked for as for every other."""
    words = ("--seeds", 3, "--steps", 16, "--out", tmp_path)
    code, _, _ = running("run", "--tasks", "penny", "--agents", "slow", *words)
    (record,) = store.read(tmp_path)[0]
    assert code == 0 and (record.track, record.suite, record.seeds, record.steps_made) == (
        "toy",
        "own",
        [0, 1, 2],
        16,
    )
    assert running("run", "--agents", "slow", *words)[0] == 0, "of agents alone, too"
    assert len(store.read(tmp_path)[0]) == 3


@pytest.mark.parametrize(
    "words, said",
    [
        (("--tasks", "penni"), "penni"),
        (("coins", "--tasks", "peny"), "penny"),
        (("coins", "--agents", "slo"), "slow"),
        (("--tasks", "penny", "--agents", "ppo"), "ppo"),
        (("--tasks", "tigre"), "tiger"),
        (("--tasks", "nowhere.pomdp"), "nowhere.pomdp"),
        (("coin",), "coins"),
        (("coins", "--tasks", "penny", "penny"), "twice"),
        (("coins", "--seeds", "0"), "--seeds"),
        (("coins", "--checkpoint-every", "0"), "--checkpoint-every"),
    ],
)
def test_bad_input_is_a_line_and_leaves_nothing(tmp_path, running, capsys, words, said):
    try:
        code, out, lines = running("run", *words, "--out", tmp_path / "x")
    except SystemExit as ended:
        code, out, lines = ended.code, "", capsys.readouterr().err.splitlines()
    assert (code, out, len(lines)) == (2, "", 1) and said in lines[0]
    assert not (tmp_path / "x").exists()


def test_a_directory_in_use_is_a_line(tmp_path, running):
    with writing(tmp_path, tmp_path / FOLDER / "lock"):
        code, out, lines = running("run", "coins", "--out", tmp_path)
    assert (code, out, len(lines)) == (2, "", 1) and f"process {os.getpid()} on" in lines[0]


def test_a_directory_that_is_a_file_is_a_line_before_anything_is_solved(tmp_path, running, monkeypatch):
    monkeypatch.setattr(Toy, "problems", None)
    (tmp_path / "x").write_text("")
    code, out, lines = running("run", "coins", "--out", tmp_path / "x")
    assert (code, out, lines) == (2, "", [f"seqrl: {tmp_path / 'x'} is a file, where a directory of results is to be"])


def test_a_full_disk_is_a_line_after_what_was_done(tmp_path, running, monkeypatch):
    writes = []

    def fsync(descriptor):
        writes.append(descriptor)
        if len(writes) == 13:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fsync)
    code, out, lines = running("run", "coins", "--out", tmp_path)
    assert (code, out) == (1, "") and [line.partition(":")[0] for line in lines] == [
        "slow on penny",
        "slow on dime",
        "seqrl",
    ]
    assert "No space left on device" in lines[-1]


class Stopped(Toy):
    """The toy, whose user presses Ctrl-C in the third chunk."""

    def row(self, method, problems, budget, loop):
        def stopping(state, advance, chunks, watch):
            made = []

            def counted(state):
                made.append(1)
                if len(made) == 3:
                    os.kill(os.getpid(), signal.SIGTERM)
                return advance(state)

            return loop(state, counted, chunks, watch)

        return super().row(method, problems, budget, stopping)


def test_ctrl_c_is_a_line_and_a_code_and_the_same_command_goes_on(tmp_path, running, toy):
    toy(Stopped(0.05))
    code, out, lines = running("run", "coins", "--out", tmp_path)
    assert (code, out) == (143, "")
    assert lines == [
        "note: ending after this chunk, which is kept (once more: at once)",
        "seqrl: ended by SIGTERM; the same command goes on from here",
    ]
    toy(Toy())
    assert running("run", "coins", "--out", tmp_path)[0] == 0
    assert len(store.read(tmp_path)[0]) == 9


def test_cells_of_other_code_are_kept_when_asked(tmp_path, running, monkeypatch):
    words = ("run", "coins", "--agents", "slow", "--out", tmp_path)
    running(*words)
    monkeypatch.setattr("seqrl_jax.runs.runner.fingerprint", lambda modules: "another")
    made = "note: 3 of 3 cells were made by other code and"
    assert running(*words, "--keep-old")[2] == [f"{made} are kept"]
    assert running(*words)[2][0] == f"{made} run again (--keep-old keeps them)"
    assert running(*words)[2] == []
