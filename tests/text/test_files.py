import gzip
import json

import pytest

from seqrl_jax.text.examples import DataError
from seqrl_jax.text.files import data_files, digest, items

VALUES = [{"text": "once"}, {"text": "twice"}]
LINES = "".join(json.dumps(value) + "\n\n" for value in VALUES).encode()


def values(path):
    return [(item.place, item.read()) for item in items(path)]


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("a.jsonl", LINES, ["line 1", "line 3"]),
        ("a.json", LINES, ["line 1", "line 3"]),
        ("a.JSON", b"\n " + json.dumps(VALUES, indent=1).encode(), ["item 1", "item 2"]),
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0), ["line 1", "line 3"]),
        ("a.json.gz", gzip.compress(json.dumps(VALUES).encode(), mtime=0), ["item 1", "item 2"]),
        ("a.txt", b"\n once \n\n\n twice\n", ["line 2", "line 5"]),
        ("a.txt", b"\xef\xbb\xbfonce\r\n\r\ntwice\r\n", ["line 1", "line 3"]),
    ],
    ids=[
        "lines",
        "array",
        "capitals",
        "packed lines",
        "packed array",
        "text",
        "text of Windows",
    ],  # contents as ids differ with zlib
)
def test_files_that_hold_the_same_are_read_alike(tmp_path, name, content, places):
    (tmp_path / name).write_bytes(content)
    assert values(tmp_path / name) == list(zip(places, VALUES, strict=True))


def test_parquet_is_read_by_rows(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    rows = [{"prompt": "Q", "completion": None}, {"prompt": "Q", "completion": "A"}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == [("row 1", rows[0]), ("row 2", rows[1])]
    (tmp_path / "b.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"b\.parquet: not Parquet"):
        values(tmp_path / "b.parquet")


def test_a_directory_is_its_files_in_order(tmp_path):
    for name in ("b.jsonl", "a.txt", "README.md", ".hidden.jsonl"):
        (tmp_path / name).write_text("x")
    (tmp_path / "more.jsonl").mkdir()
    files, others = data_files(tmp_path)
    assert [file.name for file in files] == ["a.txt", "b.jsonl"]
    assert [file.name for file in others] == ["README.md", "more.jsonl"], "a directory is not looked into"
    with pytest.raises(DataError, match=r"README\.md: expected a name that ends in \.jsonl, "):
        data_files(tmp_path / "README.md")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no file whose name ends in"):
        data_files(tmp_path / "empty")
    with pytest.raises(DataError, match=r"no data: .*nowhere\.jsonl does not exist"):
        data_files(tmp_path / "nowhere.jsonl")


def test_damage_is_named(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(LINES * 1000)[:-9])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: damaged gzip"):
        values(path)
    path.write_bytes(LINES)
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: damaged gzip"):
        values(path)
    (tmp_path / "a.json").write_text("[1, 2")
    with pytest.raises(DataError, match=r"a\.json: not JSON"):
        values(tmp_path / "a.json")
    (tmp_path / "a.txt").write_bytes(b"good\n\n\xff\n")
    with pytest.raises(DataError, match="not UTF-8"):
        values(tmp_path / "a.txt")


def test_the_digest_is_of_contents_in_their_order(tmp_path):
    one, other = tmp_path / "a.txt", tmp_path / "b.txt"
    one.write_text("x")
    other.write_text("y")
    assert digest([one]) != digest([other]) and digest([one, other]) != digest([other, one])
