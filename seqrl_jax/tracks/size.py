"""How many numbers a state of training learns."""

from __future__ import annotations

from typing import Any

import jax
import optax


def trained(state: Any) -> int:
    """How many: those of which an optimiser of the state keeps a moment; copies and targets are no more to learn.

    state: a pytree, or its shapes as `jax.eval_shape` gives them.
    """
    is_adam = lambda node: isinstance(node, optax.ScaleByAdamState)
    optimisers = filter(is_adam, jax.tree.leaves(state, is_leaf=is_adam))
    return sum(leaf.size for each in optimisers for leaf in jax.tree.leaves(each.mu))
