"""Write a task to a file that other programs read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from seqrl_jax.files import write_whole
from seqrl_jax.tasks.pomdp_file import write_pomdp
from seqrl_jax.tasks.tabular import TabularPOMDP, TaskError, arrays


def export(task: TabularPOMDP, path: Path) -> None:
    """Write the task, whole or not at all: `.npz` holds the arrays of `TabularPOMDP` by name, `.POMDP` the text format.

    The names of states, actions and observations stand in the `.npz` as arrays of text.

    Raises: TaskError for another suffix; OSError when the place cannot be written.
    """
    if path.suffix.lower() == ".pomdp":
        write_pomdp(task, path)
    elif path.suffix.lower() == ".npz":
        names = {"states": task.states, "actions": task.actions, "observations": task.observations}
        content: dict[str, Any] = {**arrays(task), **{name: np.array(value) for name, value in names.items()}}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **content)
        write_whole(path, buffer.getvalue())
    else:
        raise TaskError(f"{path}: the file name has to end in .npz or .POMDP")
