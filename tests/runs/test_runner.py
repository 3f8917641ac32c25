import errno
import json
import os
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file
from toy import SUITE, Toy

from seqrl_jax import files
from seqrl_jax.checkpoint import save_tree
from seqrl_jax.failures import Interrupted
from seqrl_jax.results import provenance, store
from seqrl_jax.runs.checkpoint import FOLDER, checkpoints_in
from seqrl_jax.runs.interrupt import Interrupt
from seqrl_jax.runs.observer import Unwatched
from seqrl_jax.runs.runner import run
from seqrl_jax.tracks.base import plain_loop


@dataclass(frozen=True)
class Noted(Toy):
    """The toy, with the rows that were run."""

    ran: list = field(default_factory=list)

    def row(self, method, problems, budget, loop):
        self.ran.append((method, *(coin.spec for coin in problems)))
        return super().row(method, problems, budget, loop)


class Listening(Unwatched):
    """Keeps what it is reported."""

    def __init__(self):
        self.notes, self.cells, self.chunks, self.started = [], [], [], None

    def starts(self, cells, standing):
        self.started = cells, standing

    def chunk(self, progress):
        self.chunks.append(progress)

    def cell(self, record):
        self.cells.append((record.method, record.task))

    def note(self, message):
        self.notes.append(message)


class RequestedAfter(Interrupt):
    """Asked to end, as by Ctrl-C, once so many chunks are under way."""

    def __init__(self, chunks):
        super().__init__()
        self.left = chunks

    def under_way(self):
        self.left -= 1
        context = super().under_way()
        if not self.left:
            self._requested = 2
        return context


@pytest.fixture
def noted():
    return Noted()


def path_of(directory, method, task):
    return directory / store.file_name("toy", method, task)


def test_a_row_is_one_program_and_a_cell_one_record(tmp_path, order, noted):
    records = run(order(noted), tmp_path)
    assert noted.ran == [(method, *tasks) for method in Toy.methods for tasks in (("penny", "dime"), ("loaded",))]
    assert [(r.method, r.task) for r in records] == [(m, t) for m in Toy.methods for t in Toy.tasks]
    assert sorted(store.read(tmp_path)[0], key=str) == sorted(records, key=str)
    penny, _, loaded = records[:3]
    assert (penny.cells, loaded.cells) == (2, 1)
    assert (penny.suite, penny.steps_asked, penny.seeds, penny.bounds["best"].lower) == ("coins", 80, [0, 1], 0.5)
    assert penny.code_fingerprint and penny.task_fingerprint == "a coin of 0.5" and "jax" in penny.versions


def test_the_checkpointed_loop_gives_what_the_plain_one_does(tmp_path, order):
    ordered = order(methods=["fast"], tasks=["loaded"])
    plain = ordered.track.row("fast", ordered.problems, ordered.budget, plain_loop)
    (record,) = run(ordered, tmp_path)
    assert (record.metrics, record.curves) == (plain[0].metrics, plain[0].curves)


def test_a_finished_table_is_read_and_nothing_else(tmp_path, order, noted):
    records = run(order(noted), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    noted.ran.clear()
    watched = Listening()
    assert run(order(noted), tmp_path, watched) == records
    assert noted.ran == [] and watched.started == (9, 9) and watched.cells == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_one_missing_or_damaged_cell_runs_alone(tmp_path, order, noted, numbers):
    """And gives the same numbers, up to how a program of another size rounds."""
    before = numbers(run(order(noted), tmp_path))
    path_of(tmp_path, "fast", "dime").unlink()
    damaged = path_of(tmp_path, "wrong", "loaded")
    damaged.write_bytes(damaged.read_bytes()[:200])
    noted.ran.clear()
    watched = Listening()
    after = numbers(run(order(noted), tmp_path, watched))
    assert noted.ran == [("fast", "dime"), ("wrong", "loaded")] == watched.cells
    assert len(watched.notes) == 1 and damaged.name in watched.notes[0]
    assert after["wrong", "loaded"] == before["wrong", "loaded"]
    np.testing.assert_allclose(after["fast", "dime"][0]["won"], before["fast", "dime"][0]["won"], rtol=1e-9)
    assert {cell: after[cell] for cell in after if cell != ("fast", "dime")} == {
        cell: before[cell] for cell in before if cell != ("fast", "dime")
    }


def test_a_foreign_file_is_noted_and_left(tmp_path, order):
    run(order(), tmp_path)
    copy = tmp_path / "copy.json"
    copy.write_bytes(path_of(tmp_path, "slow", "penny").read_bytes())
    watched = Listening()
    run(order(), tmp_path, watched)
    assert len(watched.notes) == 1 and "copy.json" in watched.notes[0] and copy.exists()


@pytest.mark.parametrize(
    "change", [{"steps": 88}, {"seeds": (0, 1, 2)}, {"seeds": (1, 0)}], ids=["config", "more seeds", "their order"]
)
def test_another_budget_is_another_cell(tmp_path, order, noted, change):
    chosen = {"methods": ["slow"], "tasks": ["penny"]}
    run(order(noted, **chosen), tmp_path)
    (record,) = run(order(noted, **chosen, **change), tmp_path)
    assert len(noted.ran) == 2 and record.seeds == list(change.get("seeds", (0, 1)))


def test_another_task_under_the_same_name_is_another_cell(tmp_path, order, noted):
    ordered = order(noted, methods=["slow"], tasks=["penny"])
    run(ordered, tmp_path)
    bent = [coin._replace(fingerprint="bent") for coin in ordered.problems]
    (record,) = run(replace(ordered, problems=bent), tmp_path)
    assert len(noted.ran) == 2 and record.task_fingerprint == "bent"


@pytest.mark.parametrize("code", ["that of last week", None])
def test_a_cell_of_other_code_runs_again_unless_it_is_kept(tmp_path, order, noted, code):
    ordered = order(noted, methods=["slow"])
    old = msgspec.structs.replace(run(ordered, tmp_path)[0], code_fingerprint=code)
    store.write(tmp_path, old)
    noted.ran.clear()
    watched = Listening()
    assert run(replace(ordered, keep_old=True), tmp_path, watched)[0] == old
    assert noted.ran == [] and "1 of 3 cells were made by other code and are kept" in watched.notes
    watched = Listening()
    assert run(ordered, tmp_path, watched)[0].code_fingerprint not in (code, None)
    assert noted.ran == [("slow", "penny")]
    assert watched.notes == ["1 of 3 cells were made by other code and run again (--keep-old keeps them)"]


@pytest.mark.parametrize("every, chunk", [(1, 3), (4, 3), (4, 5)])
def test_an_interrupted_run_keeps_its_chunk_and_goes_on(tmp_path, order, numbers, uninterrupted, every, chunk):
    """Whatever the number of chunks between two states that are kept."""
    with pytest.raises(Interrupted):
        run(order(checkpoint_every=every), tmp_path, interrupt=RequestedAfter(chunk))
    watched = Listening()
    assert numbers(run(order(checkpoint_every=every), tmp_path, watched)) == uninterrupted
    assert watched.chunks[0].done == watched.chunks[0].begun_at == chunk
    assert watched.chunks[0].steps == chunk * SUITE.steps // SUITE.evaluations
    assert not (tmp_path / FOLDER).exists()


@dataclass(frozen=True)
class TwoStages(Toy):
    """A row of two loops, of which the second goes on from the first. fails: in the chunk of this number."""

    fails: int = 0
    made: list = field(default_factory=list)

    def row(self, method, problems, budget, loop):
        def twice(state, advance, chunks, watch):
            def counted(state):
                self.made.append(len(self.made))
                if self.fails and len(self.made) == self.fails:
                    raise ZeroDivisionError
                return advance(state)

            return loop(loop(state, counted, chunks, watch), counted, 2, watch)

        return super().row(method, problems, budget, twice)


def test_a_row_of_several_loops_goes_on_in_the_one_it_was_in(tmp_path, order, numbers):
    chosen = {"methods": ["slow"], "tasks": ["penny"]}
    whole = numbers(run(order(TwoStages(), **chosen), tmp_path / "whole"))
    with pytest.raises(ZeroDivisionError):
        run(order(TwoStages(fails=10), **chosen), tmp_path / "parts")
    rest = TwoStages()
    assert numbers(run(order(rest, **chosen), tmp_path / "parts")) == whole
    assert len(rest.made) == 1, "of ten chunks, nine were kept"


class FailsInTheEnd(Toy):
    """The toy, ended between its last chunk and its outcomes."""

    def row(self, method, problems, budget, loop):
        super().row(method, problems, budget, loop)
        raise ZeroDivisionError


def test_the_last_state_is_kept_whatever_the_number_of_chunks_between(tmp_path, order, numbers, uninterrupted):
    with pytest.raises(ZeroDivisionError):
        run(order(FailsInTheEnd(), checkpoint_every=3), tmp_path)
    watched = Listening()
    assert numbers(run(order(), tmp_path, watched)) == uninterrupted
    assert watched.chunks[0].done == SUITE.evaluations == 8


def test_a_row_goes_on_as_it_was_though_fewer_cells_are_missing(tmp_path, order, noted, numbers, uninterrupted):
    """Killed between its two records, a row must not begin anew with one task: its program would round otherwise."""
    with pytest.raises(Interrupted):
        run(order(methods=["slow"]), tmp_path, interrupt=RequestedAfter(SUITE.evaluations))
    record = run(order(methods=["slow"], tasks=["penny"]), tmp_path)[0]
    other = numbers([record])["slow", "penny"]
    assert other != uninterrupted["slow", "penny"], "alone, it rounds otherwise"
    assert numbers(run(order(noted, methods=["slow"]), tmp_path))["slow", "dime"] == uninterrupted["slow", "dime"]
    assert noted.ran == [("slow", "penny", "dime"), ("slow", "loaded")]
    assert numbers(tmp_path)["slow", "penny"] == other, "what stands is not written again"


def test_a_checkpoint_of_another_run_is_noted_and_removed(tmp_path, order, noted):
    with pytest.raises(Interrupted):
        run(order(steps=800), tmp_path, interrupt=RequestedAfter(2))
    watched = Listening()
    run(order(noted), tmp_path, watched)
    assert watched.notes == ["what was kept of slow on penny, dime is of another run and begins anew"]
    assert watched.chunks[0].done == 0 and not (tmp_path / FOLDER).exists()


def test_a_checkpoint_of_tasks_that_no_longer_run_as_one_program_is_not_gone_on_from(tmp_path, order):
    with pytest.raises(Interrupted):
        run(order(methods=["slow"]), tmp_path, interrupt=RequestedAfter(2))
    ordered, watched = order(methods=["slow"]), Listening()
    apart = [coin._replace(program=coin.spec) for coin in ordered.problems]
    assert {record.cells for record in run(replace(ordered, problems=apart), tmp_path, watched)} == {1}
    assert watched.chunks[0].done == 0 and not (tmp_path / FOLDER).exists()


def test_a_checkpoint_of_cells_that_are_not_asked_for_stays(tmp_path, order):
    with pytest.raises(Interrupted):
        run(order(methods=["slow"]), tmp_path, interrupt=RequestedAfter(2))
    run(order(methods=["fast"]), tmp_path)
    watched = Listening()
    run(order(methods=["slow"]), tmp_path, watched)
    assert watched.chunks[0].done == 2


@pytest.mark.parametrize("damage", ["manifest.json", "loop-0.safetensors"])
def test_a_damaged_checkpoint_is_noted_and_its_row_begins_anew(tmp_path, order, numbers, uninterrupted, damage):
    with pytest.raises(Interrupted):
        run(order(), tmp_path, interrupt=RequestedAfter(2))
    (path,) = (tmp_path / FOLDER).glob(f"*/{damage}")
    path.write_bytes(path.read_bytes()[:-20])
    watched = Listening()
    assert numbers(run(order(), tmp_path, watched)) == uninterrupted
    assert watched.chunks[0].done == 0
    assert len(watched.notes) == 1 and "not a checkpoint" in watched.notes[0]


@pytest.mark.parametrize("field", ["cells", "origins"])
def test_a_manifest_of_nothing_is_a_damaged_one(tmp_path, order, numbers, uninterrupted, field):
    with pytest.raises(Interrupted):
        run(order(), tmp_path, interrupt=RequestedAfter(2))
    (path,) = (tmp_path / FOLDER).glob("*/manifest.json")
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {field: []}))
    watched = Listening()
    assert numbers(run(order(), tmp_path, watched)) == uninterrupted
    assert watched.chunks[0].done == 0 and len(watched.notes) == 1 and "not a checkpoint" in watched.notes[0]


@pytest.mark.parametrize(
    "metadata, said",
    [
        ({"chunk": 2}, "not a checkpoint"),
        ({"chunk": "two", "chunks": 8}, "not a checkpoint"),
        ([2, 8], "not a checkpoint"),
        ({"chunk": 9, "chunks": 8}, "after 9 of 8 chunks"),
        ({"chunk": 2, "chunks": 16}, "after 2 of 16 chunks, expected 8 chunks"),
    ],
)
def test_a_state_that_does_not_say_how_far_it_is_begins_anew(tmp_path, order, numbers, uninterrupted, metadata, said):
    with pytest.raises(Interrupted):
        run(order(), tmp_path, interrupt=RequestedAfter(2))
    (path,) = (tmp_path / FOLDER).glob("*/loop-0.safetensors")
    (bets,) = load_file(path).values()
    save_tree(path, bets, metadata)
    watched = Listening()
    assert numbers(run(order(), tmp_path, watched)) == uninterrupted
    assert watched.chunks[0].done == 0 and len(watched.notes) == 1 and said in watched.notes[0]


def test_what_was_kept_elsewhere_is_said_in_the_record(tmp_path, order, numbers, uninterrupted):
    with pytest.raises(Interrupted):
        run(order(), tmp_path, interrupt=RequestedAfter(2))
    (path,) = (tmp_path / FOLDER).glob("*/manifest.json")
    manifest = json.loads(path.read_bytes())
    manifest["origins"][0]["device"] = "1 x abacus"
    path.write_text(json.dumps(manifest))
    records = run(order(), tmp_path)
    assert numbers(records) == uninterrupted
    assert [bool(record.warnings) for record in records] == [True, True] + [False] * 7
    assert "1 x abacus" in records[0].warnings[0]


def test_what_a_killed_writer_left_is_removed(tmp_path, order):
    """Of a report, only if it is surely of a killed one: reports are written without the lock."""
    names = {name: tmp_path / f".{name}.{'0' * 31}{number}.tmp" for number, name in enumerate(("x.json", "a", "b"))}
    for path in names.values():
        path.write_bytes(b"half")
    os.utime(names["a"], (0, 0))
    mine = tmp_path / ".notes.json.tmp"
    mine.write_bytes(b"mine")
    run(order(methods=["slow"]), tmp_path)
    assert [path.exists() for path in (*names.values(), mine)] == [False, False, True, True]


@pytest.mark.parametrize("full_at", [2, 3, 5, 8, 11, 12, 13])
def test_a_full_disk_loses_nothing(tmp_path, order, monkeypatch, numbers, uninterrupted, full_at):
    """At the write of this number: of a manifest, of the state of a chunk, and of records."""
    writes = []

    def fsync(descriptor):
        writes.append(descriptor)
        if len(writes) == full_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/.*(manifest.json|safetensors|--.*json)'"):
        run(order(), tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))
    kept, _ = checkpoints_in(tmp_path)
    watched = Listening()
    monkeypatch.undo()
    assert numbers(run(order(), tmp_path, watched)) == uninterrupted
    # Of the first row: a manifest, 8 states and 2 records; of the second: a manifest and states.
    resumed = watched.chunks[0].done if kept else 0
    assert resumed == {2: 0, 3: 1, 5: 3, 8: 6, 11: 8, 12: 0, 13: 0}[full_at]


@dataclass(frozen=True)
class Large(Toy):
    error: Exception = field(default_factory=MemoryError)

    def row(self, method, problems, budget, loop):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [np._core._exceptions._ArrayMemoryError((10**6, 10**6), np.dtype(float)), RuntimeError("RESOURCE_EXHAUSTED: x")],
)
def test_what_does_not_fit_into_memory_is_named(tmp_path, order, error):
    with pytest.raises((MemoryError, RuntimeError), match=r"slow on penny, dime: .*(7.28 TiB|RESOURCE_EXHAUSTED)"):
        run(order(Large(error=error)), tmp_path)


def test_a_run_knows_its_commit_once_for_a_row(tmp_path, order, monkeypatch):
    asked = []
    monkeypatch.setattr(provenance, "commit", lambda: asked.append(1) or "0" * 40)
    records = run(order(methods=["slow"]), tmp_path)
    assert len(asked) == 2 and {record.commit for record in records} == {"0" * 40}
