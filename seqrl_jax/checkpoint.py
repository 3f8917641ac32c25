"""Any pytree of arrays on disk, as safetensors: written whole or not at all, read into the place of an example."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax.dtypes import prng_key

from seqrl_jax import hosts
from seqrl_jax.files import write_whole


def save_tree(path: Path, tree: Any, metadata: dict[str, Any]) -> None:
    """Write the leaves by their paths, and `metadata`, JSON values, beside them. Raises: OSError.

    Typed random keys are kept as their data, and numbers that safetensors has no name for (bfloat16) as their bits. Of
    several processes (`hosts`) all call this: each leaf in turn is gathered, and the first process writes.
    """
    from safetensors.numpy import save

    tensors = dict[str, np.ndarray]()
    for place, leaf in _leaves(tree):
        saved = _as_saved(leaf)
        if hosts.is_first():
            tensors[place] = saved
    hosts.on_first(lambda: write_whole(path, save(tensors, metadata={"json": json.dumps(metadata)})))


def read_metadata(path: Path) -> dict[str, Any]:
    """What stands beside a tree. Raises: ValueError, naming the file."""
    from safetensors import SafetensorError, safe_open

    require_file(path, "not a checkpoint")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads(file.metadata()["json"])
    except (SafetensorError, TypeError, KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a checkpoint ({error})") from error
    if not isinstance(metadata, dict):
        raise ValueError(f"{path}: not a checkpoint (what stands beside the tree is no object)")
    return metadata


def load_tree(path: Path, like: Any) -> Any:
    """The tree in the structure of `like`, each leaf of its kind and laid over its devices, read one after another.

    like: arrays; of numbers of jax's that are not there yet, their `jax.ShapeDtypeStruct`.
    Raises: ValueError, naming the first leaf that is missing, too many, or of another shape or type.
    """
    from safetensors import SafetensorError, safe_open

    require_file(path, "not a checkpoint")
    try:
        with safe_open(path, framework="numpy") as file:
            leaves, unread = [], set(file.keys())
            for place, leaf in _leaves(like):
                saved, expected = file.get_tensor(place) if place in unread else None, _saved_type(leaf)
                if saved is None or (saved.shape, saved.dtype) != (expected.shape, expected.dtype):
                    had = "nothing" if saved is None else f"{saved.dtype}{list(saved.shape)}"
                    raise ValueError(f"{path}: {place} is {had}, expected {expected.dtype}{list(expected.shape)}")
                unread.remove(place)
                leaves.append(_restored(saved, leaf))
    except SafetensorError as error:
        raise ValueError(f"{path}: not a checkpoint ({error})") from error
    if unread:
        raise ValueError(f"{path}: {min(unread)} has no place in what is restored")
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def require_file(path: Path, expected: str) -> None:
    """The reader of safetensors does not say which path is a directory or missing. Raises: ValueError, naming it."""
    if not os.path.isfile(path):
        raise ValueError(f"{path}: {expected} ({'a directory' if os.path.isdir(path) else 'there is no such file'})")


def _leaves(tree: Any) -> Iterator[tuple[str, Any]]:
    """Each leaf with its place."""
    for place, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        yield jax.tree_util.keystr(place) or "leaf", leaf


def _as_saved(leaf: Any) -> np.ndarray:
    """A leaf as numbers that safetensors has names for."""
    numbers = np.asarray(hosts.whole(jax.random.key_data(leaf) if _is_key(leaf) else leaf), order="C")
    return numbers.view(f"u{numbers.dtype.itemsize}") if _is_unnamed(numbers.dtype) else numbers


def _saved_type(leaf: Any) -> jax.ShapeDtypeStruct:
    """The shape and type of `_as_saved(leaf)`, without bringing its numbers from their device."""
    if _is_key(leaf):
        return jax.eval_shape(jax.random.key_data, leaf)
    numbers = leaf if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct) else np.asarray(leaf)
    dtype = f"u{numbers.dtype.itemsize}" if _is_unnamed(numbers.dtype) else numbers.dtype
    return jax.ShapeDtypeStruct(numbers.shape, dtype)


def _restored(saved: np.ndarray, like: Any) -> Any:
    """What `_as_saved` gave, as the kind of leaf that `like` is, on its devices."""
    if not isinstance(like, jax.Array | jax.ShapeDtypeStruct):
        return saved.astype(np.asarray(like).dtype, copy=False)
    if _is_key(like):
        restored: Any = jax.random.wrap_key_data(jnp.asarray(saved), impl=jax.random.key_impl(like))
    else:
        restored = saved.view(like.dtype) if _is_unnamed(like.dtype) else saved
    # A leaf that is free to go to any device stays so: bound to one, whatever reads it would be compiled again.
    free = not like.committed if isinstance(like, jax.Array) else like.sharding is None
    return jax.device_put(restored) if free else hosts.lay(restored, like.sharding)


def _is_key(leaf: Any) -> TypeGuard[jax.Array]:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, prng_key)


def _is_unnamed(dtype: np.dtype) -> bool:
    """Whether a type is one of those that numpy learns from ml_dtypes."""
    return dtype.kind == "V"
