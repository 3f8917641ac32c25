"""Any pytree of arrays on disk, as safetensors: written whole or not at all, read into the shape of an example."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax.files import write_whole


def save_tree(path: Path, tree: Any, told: dict[str, Any]) -> None:
    """Write the leaves by their paths, and `told`, JSON values, beside them."""
    from safetensors.numpy import save

    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    tensors = {jax.tree_util.keystr(place) or "leaf": np.array(leaf, order="C") for place, leaf in flat}
    write_whole(path, save(tensors, metadata={"told": json.dumps(told)}))


def read_told(path: Path) -> dict[str, Any]:
    """What was told beside a tree. Raises: ValueError, naming the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return json.loads(file.metadata()["told"])
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not a checkpoint ({error})") from error


def load_tree(path: Path, like: Any) -> Any:
    """The tree, in the structure of `like`. Raises: ValueError, naming what is missing or of another shape."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a checkpoint ({error})") from error
    flat, shape = jax.tree_util.tree_flatten_with_path(like)
    leaves = []
    for place, leaf in flat:
        name = jax.tree_util.keystr(place) or "leaf"
        found = tensors.get(name)
        if found is None or found.shape != jnp.shape(leaf):
            had = "nothing" if found is None else list(found.shape)
            raise ValueError(f"{path}: {name} is {had}, expected {list(jnp.shape(leaf))}")
        leaves.append(jnp.asarray(found, leaf.dtype))
    return jax.tree_util.tree_unflatten(shape, leaves)
