"""Files that are written whole: what a killed writer leaves is cleaned away, whatever it is."""

import uuid

import pytest

from seqrl_jax.files import (
    remove_temporaries,
    whole_directory,
    why_no_directory,
    why_no_directory_fits,
    why_no_file_fits,
    write_whole,
)


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


def test_a_directory_appears_whole_or_not_at_all(tmp_path):
    for name in ("file/below", "a" * 250):
        (tmp_path / "file").touch()
        with pytest.raises(OSError) as error, whole_directory(tmp_path / name):
            pass
        assert str(error.value).endswith(f": {str(tmp_path / name)!r}"), "not as it is called while it is written"
    with pytest.raises(ZeroDivisionError), whole_directory(tmp_path / "half") as folder:
        write_whole(folder / "a", b"written")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    for replace in (False, True):
        with whole_directory(tmp_path / "whole", replace) as folder:
            write_whole(folder / str(replace), b"written")
    assert [path.name for path in (tmp_path / "whole").iterdir()] == ["True"]
    with pytest.raises(OSError, match="whole"), whole_directory(tmp_path / "whole"):
        pass
    assert [path.name for path in (tmp_path / "whole").iterdir()] == ["True"]


def test_what_is_no_directory_is_told_from_what_is_not_there(tmp_path):
    (tmp_path / "file").touch()
    assert [why_no_directory(tmp_path / name) for name in ("", "file", "nowhere", "file/below")] == [
        None,
        "is not a directory",
        "does not exist",
        "does not exist",
    ]


def test_a_place_to_write_to_is_judged_before_anything_is_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    places = ("new", "file", "no/new", "file/new", "")
    assert [why_no_file_fits(tmp_path / name) for name in places] == [
        None,
        None,
        "there is no such directory",
        "there is no such directory",
        "is a directory, expected a file",
    ]
    taken = f"{tmp_path / 'file'} is a file, where a directory is to be"
    assert [why_no_directory_fits(tmp_path / name) for name in places] == [None, taken, None, taken, None]
    # As for a user who owns nothing: whoever runs the tests may be let into any place.
    monkeypatch.setattr("os.access", lambda *_: False)
    assert why_no_file_fits(tmp_path / "new") == "nothing may be written in its directory"
    assert why_no_directory_fits(tmp_path / "no" / "new") == f"nothing may be written in {tmp_path}"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
