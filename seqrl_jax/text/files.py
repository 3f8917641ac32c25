"""Files of a user's data as objects, one after another, whatever they are written in.

JSON Lines, JSON arrays, plain text (a paragraph is a text), each also behind gzip; Parquet; directories of these.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

from seqrl_jax.text.examples import DataError
from seqrl_jax.text.formats import decoded

ROWS_AT_ONCE = 1024
"""Of a Parquet file."""
SPACE = codecs.BOM_UTF8 + b" \t\r\n"
"""What may stand before JSON."""


class Item(NamedTuple):
    """What stands at a place of a file. read: gives its value, or raises DataError."""

    place: str
    read: Callable[[], Any]


def data_files(path: Path) -> tuple[list[Path], list[Path]]:
    """The files of data at a path, in the order of their names, and what else its directory holds, directories too.

    Raises: DataError for what is not there, a file of another kind, and a directory without data. OSError. ImportError
    for Parquet, where its reader is not installed.
    """
    if not path.is_dir():
        if not path.exists():
            raise DataError(f"no data: {path} does not exist")
        if _reader(path) is None:
            raise DataError(f"{path}: expected a name that ends in {', '.join(READERS)}")
        files, others = [path], []
    else:
        inside = sorted(file for file in path.iterdir() if not file.name.startswith("."))
        files = [file for file in inside if file.is_file() and _reader(file) is not None]
        others = [file for file in inside if file not in files]
        if not files:
            raise DataError(f"{path}: no file whose name ends in {', '.join(READERS)}")
    if any(_reader(file) is _parquet for file in files):
        _pyarrow()
    return files, others


def items(path: Path) -> Iterator[Item]:
    """What a file of `data_files` holds, in its order. Raises: DataError where the file cannot be read on."""
    reader = _reader(path)
    assert reader is not None
    try:
        yield from reader(path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip ({error})") from None


def digest(files: Iterable[Path]) -> str:
    """Of the contents of all."""
    total = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _lines(path: Path) -> Iterator[Item]:
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield Item(f"line {number}", partial(decoded, line))


def _json(path: Path) -> Iterator[Item]:
    """A JSON array, or lines."""
    with _opened(path) as file:
        begins_list = next((line.lstrip(SPACE)[:1] == b"[" for line in file if line.strip(SPACE)), False)
    if not begins_list:
        yield from _lines(path)
        return
    with _opened(path) as file:
        try:
            values = decoded(file.read())
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    for number, value in enumerate(values, 1):
        yield Item(f"item {number}", partial(_itself, value))


def _paragraphs(path: Path) -> Iterator[Item]:
    """Texts between blank lines."""
    lines, begun = list[bytes](), 1
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                begun = begun if lines else number
                lines.append(line)
            elif lines:
                yield _paragraph(lines, begun)
                lines = []
    if lines:
        yield _paragraph(lines, begun)


def _paragraph(lines: list[bytes], begun: int) -> Item:
    def read() -> dict[str, str]:
        try:
            text = b"".join(lines).decode("utf-8-sig")
            return {"text": text.replace("\r\n", "\n").replace("\r", "\n").strip()}
        except UnicodeDecodeError as error:
            raise DataError(f"not UTF-8 ({error.reason})") from None

    return Item(f"line {begun}", read)


def _parquet(path: Path) -> Iterator[Item]:
    pyarrow = _pyarrow()
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE):
                for value in batch.to_pylist():
                    number += 1
                    yield Item(f"row {number}", partial(_itself, value))
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not Parquet ({error})") from None


READERS: dict[str, Callable[[Path], Iterator[Item]]] = {
    ".jsonl": _lines,
    ".ndjson": _lines,
    ".json": _json,
    ".txt": _paragraphs,
    ".jsonl.gz": _lines,
    ".json.gz": _json,
    ".txt.gz": _paragraphs,
    ".parquet": _parquet,
}
"""By the end of a file's name."""


def _itself(value: Any) -> Any:
    return value


def _reader(path: Path) -> Callable[[Path], Iterator[Item]] | None:
    return next((reader for end, reader in READERS.items() if path.name.lower().endswith(end)), None)


def _opened(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else open(path, "rb")


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ImportError(f'{error}; for Parquet: pip install "seqrl_jax[columns]"') from error
    return pyarrow
