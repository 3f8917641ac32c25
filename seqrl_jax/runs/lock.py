"""One writer of a directory at a time.

The lock is the kernel's (`flock`), so it goes with the process that held it, however that ended: a file that a killed
process left is no lock. On Linux this holds on NFS too. Where a file system has no `flock`, the process that the file
names is looked for instead: one that is gone, on this host, is passed over; one on another host cannot be asked, so its
lock stands until somebody removes the file. There, two that start within the same millisecond may both go on.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Refused(OSError):
    """A directory that cannot be written to now: the message says why, in one line."""


class Owner(NamedTuple):
    """The process that holds a lock."""

    pid: int
    host: str

    @property
    def has_ended(self) -> bool:
        """Whether it surely no longer runs: only a process of this host can be asked."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False  # It runs, and is another user's.
        return False


@contextlib.contextmanager
def writing(directory: Path, path: Path) -> Iterator[None]:
    """Be the only writer of `directory`, which is made if it is missing.

    path: the file that says so, in a folder of the directory that goes when it is empty.

    Raises: Refused, if another process writes there, if it is a file, or if nothing may be written there.
    """
    try:
        descriptor = _acquire(directory, path)
    except (FileExistsError, NotADirectoryError) as error:
        file = next(file for file in (path.parent, directory, *directory.parents) if file.exists())
        raise Refused(f"{file} is a file, where a directory of results is to be") from error
    except Refused:
        raise
    except OSError as error:
        raise Refused(f"cannot write results to {directory}: {error.strerror}") from error
    try:
        yield
    finally:
        # Removed while it is held: whoever opened it meanwhile sees that its path is another file, and opens again.
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()
        os.close(descriptor)


def _acquire(directory: Path, path: Path) -> int:
    """A descriptor that holds the lock."""
    while True:
        directory.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            continue  # The folder went with another's lock.
        try:
            if not _locked(descriptor):
                raise Refused(_busy(directory, path, _owner(descriptor)))
            if _is_at(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(Owner(os.getpid(), socket.gethostname())._asdict()).encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _locked(descriptor: int) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # This file system has no flock.
        owner = _owner(descriptor)
        return owner is None or owner.has_ended
    return True


def _owner(descriptor: int) -> Owner | None:
    """Who the file says that it belongs to; None where it says nothing."""
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
        return Owner(int(owner["pid"]), str(owner["host"]))
    except (ValueError, TypeError, KeyError):
        return None


def _busy(directory: Path, path: Path, owner: Owner | None) -> str:
    who = f"process {owner.pid} on {owner.host}" if owner else "another process"
    return f"{who} is writing to {directory}; wait for it, or choose another --out (its lock is {path})"
