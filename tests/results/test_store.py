import errno
import gc
import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl_jax.results import store
from seqrl_jax.results.encoding import to_line
from seqrl_jax.results.manifest import ReleaseError
from seqrl_jax.results.record import RecordError
from seqrl_jax.results.scores import exceeds_bound


def test_a_record_comes_back_as_it_was_written(tmp_path, make_record):
    record = make_record()
    path = store.write(tmp_path / "new" / "folder", record)
    assert path == store.path_of(tmp_path / "new" / "folder", record)
    assert store.read(path.parent) == ([record], []) and store.read_file(path) == record


def test_a_cell_stands_once_in_a_file_of_many_and_no_other_file_counts(tmp_path, make_record):
    one, other = make_record(), make_record(method="dqn")
    lines = [to_line(record) for record in (one, other, one)]
    (tmp_path / store.PACKED).write_bytes(b"\n".join(lines))
    (tmp_path / "MANIFEST.json").write_text("{}")
    left = store.write(tmp_path, make_record(method="q_obs"))
    assert store.read_as_it_is(tmp_path) == (
        [one, other],
        [
            "records.jsonl, line 3: ppo on tmaze:length=10 stands in line 1 already",
            f"{left.name}: not read beside records.jsonl",
        ],
    )
    with pytest.raises(ReleaseError, match=r"its MANIFEST\.json is damaged"):
        store.read(tmp_path)


@settings(max_examples=50)
@given(track=st.text(), method=st.text(min_size=1), task=st.text(min_size=1))
def test_any_name_makes_a_safe_file_name(track, method, task):
    name = store.file_name(track, method, task)
    assert name.isascii() and "/" not in name and not name.startswith(".") and len(name) < 200


def test_names_that_look_alike_have_files_of_their_own():
    """Also where a file system does not tell upper from lower case."""
    specs = ["tmaze:length=10", "tmaze_length=10", "Tmaze:length=10", "tmaze:length=1,0", "a/b.POMDP", "a_b.POMDP"]
    names = {store.file_name(track, "ppo", spec).lower() for spec in specs for track in ("pomdp", "memory")}
    assert len(names) == 2 * len(specs)


def test_a_crash_before_the_last_moment_leaves_the_old_file(tmp_path, make_record, monkeypatch):
    old = make_record()
    store.write(tmp_path, old)

    def crash(*_):
        raise OSError(errno.EIO, "power cut")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="power cut"):
        store.write(tmp_path, make_record(steps_made=7))
    monkeypatch.undo()
    assert store.read(tmp_path) == ([old], [])
    assert len(list(tmp_path.iterdir())) == 1, "no temporary file is left"


def test_what_could_not_be_read_again_is_not_written(tmp_path, make_record):
    with pytest.raises(RecordError, match="steps_made"):
        store.write(tmp_path, make_record(steps_made=0.5))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": 99}', b'{"format": 1}', b"\x00\x01", b"[" * 99_999])
def test_a_damaged_or_foreign_file_is_named_and_skipped(tmp_path, make_record, content):
    record = make_record()
    store.write(tmp_path, record)
    (tmp_path / "broken.json").write_bytes(content)
    records, damage = store.read(tmp_path)
    assert records == [record] and len(damage) == 1 and damage[0].startswith("broken.json: ")


def test_a_file_of_a_newer_version_says_so(tmp_path, make_record):
    path = store.write(tmp_path, make_record())
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
    _, (message,) = store.read(tmp_path)
    assert message.startswith(f"{path.name}: schema 2: newer than 1")


def test_a_copied_file_does_not_count_twice(tmp_path, make_record):
    path = store.write(tmp_path, make_record())
    (tmp_path / "copy.json").write_bytes(path.read_bytes())
    records, damage = store.read(tmp_path)
    assert len(records) == 1
    assert damage == [f"copy.json: a copy: ppo on tmaze:length=10 belongs in {path.name}"]


def test_folders_hidden_files_and_other_files_are_passed_over(tmp_path, make_record):
    store.write(tmp_path, make_record())
    (tmp_path / "folder.json").mkdir()
    (tmp_path / ".hidden.json").write_text("{")
    (tmp_path / "notes.txt").write_text("{")
    assert store.read(tmp_path) == ([make_record()], [])


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "lost.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    records, damage = store.read(tmp_path)
    assert records == [] and len(damage) == 3
    assert [message.split(":")[0] for message in damage] == ["loop.json", "lost.json", "pipe.json"]


def test_damage_is_one_line_of_bounded_length(tmp_path, make_record):
    path = store.write(tmp_path, make_record())
    data = json.loads(path.read_text())
    (tmp_path / "a\nb\x1b.json").write_text(json.dumps({**data, "x\n\x1b[2J" + "y" * 5000: 1}))
    _, (message,) = store.read(tmp_path)
    assert len(message) <= 300 and message.isprintable() and "is no field of a record" not in message
    assert message.startswith("a\\nb\\x1b.json: x\\n")


@pytest.mark.parametrize(("name", "message"), [("nowhere", "does not exist"), ("file", "is not a directory")])
def test_without_a_directory_there_is_one_clear_error(tmp_path, name, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match=message):
        store.read(tmp_path / name)


def test_a_directory_full_of_mangled_files_is_read_to_its_end(tmp_path, make_record):
    """One whole record among 200 files with bytes flipped at random: 200 lines and the record."""
    record = make_record()
    path = store.write(tmp_path, record)
    rng = random.Random(0)
    for number in range(200):
        content = bytearray(path.read_bytes())
        for _ in range(5):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        (tmp_path / f"mangled{number}.json").write_bytes(content)
    records, damage = store.read(tmp_path)
    assert records == [record] and len(damage) == 200


RECORDED = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.mark.parametrize(
    ("name", "cells"),
    [("quick", 192), ("pomdp", 493), ("exploration", 36), ("headline", 64), ("lm", 90), ("lm_larger", 4)],
)
def test_the_recorded_results_are_whole_and_break_no_bound(name, cells):
    records, damage = store.read(RECORDED / name)
    assert len(records) >= cells and damage == []
    scores = {"pomdp": "return", "lm": "reward"}
    assert [message for record in records if (message := exceeds_bound(record, scores[record.track]))] == []


def test_garbage_is_collected_again_once_records_are_read(tmp_path):
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            store.read(tmp_path)
            with pytest.raises(store.RecordError):
                store.read(tmp_path / "nowhere")
            assert gc.isenabled() == enabled
        finally:
            gc.enable()
