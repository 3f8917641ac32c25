"""The axis of runs: hyperparameters x tasks x seeds side by side, padded to the devices and laid over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax import hosts
from seqrl_jax.agents.base import Agent
from seqrl_jax.devices import over_devices
from seqrl_jax.keys import key_of


class Where(NamedTuple):
    """Which hyperparameters and which task each run has: both [R] int32."""

    settings: Array
    task: Array


class RunAxis:
    """H hyperparameters x N tasks x S seeds on one axis of R runs, padded by repeating the first to what all devices
    divide, and laid over them."""

    def __init__(self, settings: int, tasks: int, seeds: Sequence[int]) -> None:
        self.shape = (settings, tasks, len(seeds))
        self.size = settings * tasks * len(seeds)
        self._spread = over_devices(self.size)
        self.sharding = self._spread.sharding
        self.settings, self.task, number = np.unravel_index(self._spread.index, self.shape)
        self.seed = [seeds[n] for n in number]

    def placed(self) -> Where:
        """On the devices."""
        where = Where(jnp.asarray(self.settings, jnp.int32), jnp.asarray(self.task, jnp.int32))
        return hosts.lay(where, self.sharding)

    def keys(self) -> Array:
        """[R], one for each run, from its seed alone."""
        return hosts.lay(jnp.stack([key_of(seed) for seed in self.seed]), self.sharding)

    def split(self, values: Any) -> np.ndarray:
        """[R, ...] as [H, N, S, ...], without the padding."""
        values = self._spread.gather(values)
        return values.reshape(*self.shape, *values.shape[1:])


def over_runs(function: Callable[[Any, Any, Any], Any]) -> Callable[[Agent, Any, Where, Any], Any]:
    """A function of one run, (agent, params, key or state), over all runs [R]."""

    def over(settings: Agent, params: Any, where: Where, per_run: Any) -> Any:
        def one(at: Where, mine: Any) -> Any:
            pick = lambda tree, place: jax.tree.map(lambda leaf: leaf[place], tree)
            return function(pick(settings, at.settings), pick(params, at.task), mine)

        return jax.vmap(one)(where, per_run)

    return over
