"""How a command ends that did not fail by itself: the machine failed, or somebody ended it."""

from __future__ import annotations

import errno
import signal

DISK_FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""A disk that is full or fails, as against a path that cannot be written to."""


class Interrupted(BaseException):
    """The run was asked to end and has kept what it had. Not an `Exception`, so that no method catches it.

    exit_code: 128 + the number of the signal, as shells have it: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"ended by {signal.Signals(signum).name}; the same command goes on from here")
        self.exit_code = 128 + signum


class RowsFailed(Exception):
    """Rows that were sent elsewhere as often as is allowed, and of which not every record came back: the message names
    them, in one line."""


def device_is_full(error: RuntimeError) -> bool:
    """Whether an array did not fit into an accelerator's memory: JAX has no class of its own for this."""
    return "RESOURCE_EXHAUSTED" in str(error)


def no_device() -> str | None:
    """Why JAX has no device to compute on; None where it has one."""
    import jax

    try:
        jax.devices()
    except RuntimeError as error:
        return str(error)
    except AssertionError:  # That is all that it says of a platform it knows.
        return "no plugin for this platform is installed"
    return None
