"""Files that are written whole: what a killed writer leaves is cleaned away, whatever it is."""

import uuid

import pytest

from seqrl_jax.files import remove_temporaries, write_whole


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    left = [tmp_path / f".{name}.{uuid.uuid4().hex}.tmp" for name in ("a.json", "site")]
    left[0].write_text("half")
    (left[1] / "data").mkdir(parents=True)
    (left[1] / "data" / "names.js").write_text("half")
    link = tmp_path / f".link.{uuid.uuid4().hex}.tmp"
    (tmp_path / "kept").mkdir()
    link.symlink_to(tmp_path / "kept")
    write_whole(tmp_path / "a.json", b"whole")
    (tmp_path / ".other.tmp").write_text("somebody's")
    remove_temporaries(tmp_path, older_than=3600.0)
    assert all(path.exists() for path in left)
    remove_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.tmp", "a.json", "kept"]


def test_what_cannot_be_written_is_named_as_it_was_asked_for(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").touch()
    for name in ("nowhere/file", "taken", "file/below", "a" * 250):
        with pytest.raises(OSError) as error:
            write_whole(tmp_path / name, b"content")
        assert str(error.value).endswith(f": {str(tmp_path / name)!r}")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "taken"]
