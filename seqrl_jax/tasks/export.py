"""Write a task to a file that other programs read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from seqrl_jax.tasks.pomdp_file import write_pomdp
from seqrl_jax.tasks.tabular import TabularPOMDP, TaskError, arrays


def export(task: TabularPOMDP, path: Path) -> None:
    """Write the task, whole or not at all: `.npz` holds the arrays of `TabularPOMDP` by name, `.POMDP` the text format.

    The names of states, actions and observations stand in the `.npz` as arrays of text.

    Raises: TaskError for another suffix; OSError when the place cannot be written.
    """
    if path.suffix == ".POMDP":
        write_pomdp(task, path)
    elif path.suffix == ".npz":
        names = {"states": task.states, "actions": task.actions, "observations": task.observations}
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            np.savez_compressed(file, **arrays(task), **{name: np.array(value) for name, value in names.items()})
        os.replace(file.name, path)
    else:
        raise TaskError(f"{path}: the file name has to end in .npz or .POMDP")
