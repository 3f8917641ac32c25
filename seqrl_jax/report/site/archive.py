"""Chunks of data that a page loads from the disk: scripts, because a page that lies on a disk may not read files.

Records are packed: a chunk is the base64 of gzipped JSON, a record a line, of which a browser unpacks what it shows.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Sequence
from typing import Any

from seqrl_jax.results.encoding import to_line
from seqrl_jax.results.record import Record

RECORDS = 200
"""In a chunk of records."""
ROWS = 2000
"""In a chunk of the leaderboard."""


def record_scripts(records: Sequence[Record]) -> Iterator[tuple[str, bytes]]:
    """(path, content) of the chunks of every record, in the order of their numbers."""
    for number, start in enumerate(range(0, len(records), RECORDS)):
        lines = b"\n".join(map(to_line, records[start : start + RECORDS]))
        # Without a time, so that the same records are the same bytes.
        packed = base64.b64encode(gzip.compress(lines, mtime=0)).decode()
        yield f"records/{number}.js", script("records", number, packed)


def row_scripts(rows: Sequence[Any]) -> Iterator[tuple[str, bytes]]:
    """(path, content) of the chunks of the leaderboard's rows."""
    for number, start in enumerate(range(0, len(rows), ROWS)):
        yield f"data/rows-{number}.js", script("rows", number, rows[start : start + ROWS])


def script(name: str, number: int, data: Any) -> bytes:
    """A script that hands data over to the page, as `site.received(name, number, data)`; in ASCII."""
    content = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return f'site.received("{name}",{number},{content});\n'.encode("ascii")
