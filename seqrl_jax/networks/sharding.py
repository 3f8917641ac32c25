"""A language model over a mesh of devices: each holds a part of every matrix, and reads a part of every batch.

Texts lie over the axis `data`, the sides of matrices over `data` and `model`. XLA's partitioner gathers of a matrix
what a product needs, when it needs it, and adds up gradients; nothing here says so. What lies over `model` is the side
of hidden units, and that of the three projections of attention together, which are laid anew by heads.

Source: Rajbhandari et al. (2020), ZeRO, stage 3, for `data`; Shoeybi et al. (2019), Megatron-LM, for `model`; Xu et al.
(2021), GSPMD, for the partitioner.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from seqrl_jax import hosts
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Count

DATA, MODEL = "data", "model"
SIDES = {
    "c_attn/kernel": (DATA, MODEL),
    "c_fc/kernel": (DATA, MODEL),
    "c_proj/kernel": (MODEL, DATA),
    "wte/embedding": (MODEL, DATA),
    "params/lm_head": (MODEL, DATA),
}
"""Of the last two axes of a matrix, by the last two of its names; everything else is small and whole on each device."""


@dataclass(frozen=True)
class Layout:
    """data x model devices: the first of those that jax has, or all, where several processes have them together."""

    data: Count = 1
    model: Count = 1

    def mesh(self) -> Mesh:
        """Raises: ValueError, if there are fewer devices, or if another process would be left without."""
        count, devices = self.data * self.model, jax.devices()
        if count > len(devices):
            raise ValueError(f"a mesh of {self.data}x{self.model} needs {count} devices, and jax has {len(devices)}")
        if count < len(devices) and hosts.several():
            raise ValueError(f"a mesh of {self.data}x{self.model} is not all of the {len(devices)} devices there are")
        shape, types = (self.data, self.model), (AxisType.Auto, AxisType.Auto)
        return jax.make_mesh(shape, (DATA, MODEL), axis_types=types, devices=devices[:count])


def weight_shardings(mesh: Mesh, tree: Any) -> Any:
    """Where each leaf of a tree lies whose leaves end in the names of weights, such as moments of an optimiser."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: _sharding(mesh, path, leaf), tree)


def initial_weights(mesh: Mesh, model: LanguageModel, key: Array) -> Weights:
    """Those of the model on one device; each device makes its own part."""
    shapes = jax.eval_shape(model.initial_weights, key)
    return jax.jit(model.initial_weights, out_shardings=weight_shardings(mesh, shapes))(key)


def laid_weights(mesh: Mesh, tree: Any) -> Any:
    """A tree as `weight_shardings` says; what already lies so is not moved."""
    return hosts.lay(tree, weight_shardings(mesh, tree))


def over_data(mesh: Mesh, batch: Any) -> Any:
    """A batch of which every array lies over `data` by its first axis; on one device, as it is."""
    return batch if mesh.size == 1 else hosts.lay(batch, NamedSharding(mesh, PartitionSpec(DATA)))


def everywhere(mesh: Mesh) -> NamedSharding:
    """Whole on each device."""
    return NamedSharding(mesh, PartitionSpec())


def bytes_on_each(tree: Any) -> int:
    """What a device holds of arrays, the most that any does."""
    return sum(prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _sharding(mesh: Mesh, path: tuple[Any, ...], leaf: Any) -> NamedSharding:
    names = jax.tree_util.keystr(path[-2:], simple=True, separator="/")
    sides = SIDES.get(names, ())
    shape = np.shape(leaf)
    before = len(shape) - len(sides)
    # A side that the devices do not divide stays whole.
    divided = [None if length % mesh.shape[side] else side for side, length in zip(sides, shape[before:])]
    return NamedSharding(mesh, PartitionSpec(*[None] * before, *divided))
