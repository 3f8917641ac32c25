"""Files and directories that are written whole or not at all, and why one cannot be."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` so that a crash at any moment leaves the old file or the new one.

    Raises: OSError that names the file, also where the system names the temporary one or only says that the disk is
        full.
    """
    path = Path(path)
    temporary = _beside(path)
    try:
        with _naming(path), open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        # Where a file cannot even be made, its removal fails for the same reason.
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def whole_directory(path: Path, replace: bool = False) -> Iterator[Path]:
    """A folder to write into, which becomes `path` once all is written.

    Args: replace: the directory that stands there, if there is one; without this only an empty one is.
    Raises: OSError that names `path`.
    """
    temporary = _beside(path)
    try:
        with _naming(path):
            temporary.mkdir(parents=True)
            yield temporary
            if replace:
                shutil.rmtree(path, ignore_errors=True)
            os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def why_no_directory(path: Path) -> str | None:
    """What is wrong where a directory is to be read, as a predicate; None where there is one."""
    if os.path.isdir(path):
        return None
    return "is not a directory" if os.path.exists(path) else "does not exist"


def why_no_file_fits(path: Path) -> str | None:
    """Why no file can be written to `path`, as far as it shows before one is; None where nothing speaks against it."""
    directory = path.absolute().parent
    if not os.path.isdir(directory):
        return "there is no such directory"
    if os.path.isdir(path):
        return "is a directory, expected a file"
    return None if os.access(directory, os.W_OK | os.X_OK) else "nothing may be written in its directory"


def why_no_directory_fits(path: Path) -> str | None:
    """The same of files in a directory, which is made if it is missing."""
    place = next(place for place in (path.absolute(), *path.absolute().parents) if os.path.exists(place))
    if not os.path.isdir(place):
        return f"{place} is a file, where a directory is to be"
    return None if os.access(place, os.W_OK | os.X_OK) else f"nothing may be written in {place}"


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


def _beside(path: Path) -> Path:
    """What is written before it takes the place of `path`."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let what the system says of the one that is written beside it be said of `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
