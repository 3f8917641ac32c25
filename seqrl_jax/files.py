"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` so that a crash at any moment leaves the old file or the new one.

    Raises: OSError that names the file, also where the system only says that the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(directory: Path, pattern: str = "*") -> None:
    """Remove what writers of files called `pattern` left that were killed. Only while nobody else writes there."""
    for path in directory.glob(f".{pattern}.{'[0-9a-f]' * 32}.tmp"):
        path.unlink(missing_ok=True)
