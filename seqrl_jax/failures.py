"""Failures that are the machine's and not the program's."""

from __future__ import annotations

import errno

DISK_FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""A disk that is full or fails, as against a path that cannot be written to."""


class RowsFailed(Exception):
    """Rows that were sent elsewhere as often as is allowed, and of which not every record came back: the message names
    them, in one line."""


def device_is_full(error: RuntimeError) -> bool:
    """Whether an array did not fit into an accelerator's memory: JAX has no class of its own for this."""
    return "RESOURCE_EXHAUSTED" in str(error)
