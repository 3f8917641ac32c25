"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from pathlib import Path


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` so that a crash at any moment leaves the old file or the new one.

    Raises: OSError that names the file, also where the system names the temporary one or only says that the disk is
        full.
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
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        # Where a file cannot even be made, its removal fails for the same reason.
        with contextlib.suppress(OSError):
            temporary.unlink()


def remove_temporaries(directory: Path, pattern: str = "*", older_than: float = 0.0) -> None:
    """Remove what writers of files, or of directories, called `pattern` left that were killed, if it is older than so
    many seconds.

    Without an age only where nobody else writes such files.
    """
    now = time.time()
    for path in directory.glob(f".{pattern}.{'[0-9a-f]' * 32}.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if now - path.lstat().st_mtime < older_than:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
