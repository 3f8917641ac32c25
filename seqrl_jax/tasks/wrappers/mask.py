"""Only some components of an array are shown: positions without velocities is the classic way to hide a state.

Source: Wierstra et al. (2007), Solving deep memory POMDPs with recurrent policy gradients (poles whose velocities are
hidden); Meng et al. (2021), Memory-based deep reinforcement learning for POMDPs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import jax.numpy as jnp
from jax import Array
from msgspec import Meta

from seqrl_jax.naming import require
from seqrl_jax.tasks.environment import Box, Transition, Wrapper
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tasks.wrappers.checked import checked
from seqrl_jax.tasks.wrappers.codes import of_arrays

ALL, NOTHING = "all", "nothing"
Components = Annotated[
    str,
    Meta(
        pattern=r"\A(all|positions|velocities|\d{1,6}(\+\d{1,6})*)\Z",
        description="all, positions, velocities, or numbers from 0 on joined by +",
    ),
]
"""What is shown, as a name says it: `positions`, or `0+2`."""
GROUPS: Mapping[str, Mapping[str, str]] = {
    "CartPole-v1": {"positions": "0+2", "velocities": "1+3"},
    "Pendulum-v1": {"positions": "0+1", "velocities": "2"},
    "Acrobot-v1": {"positions": "0+1+2+3", "velocities": "4+5"},
    "MountainCar-v0": {"positions": "0", "velocities": "1"},
    "MountainCarContinuous-v0": {"positions": "0", "velocities": "1"},
}
"""Components of gymnax's environments that have a name together."""


@dataclass(frozen=True)
class Mask(Wrapper):
    """Of each observation these components are shown, in this order: entries of a vector, channels of an image."""

    components: tuple[int, ...]

    @property
    def observation_space(self) -> Box:
        return Box((*of_arrays(self.env.observation_space).shape[:-1], len(self.components)))

    def reset(self, key: Array, params: Any) -> tuple[Array, Any]:
        obs, state = self.env.reset(key, params)
        return self._seen(obs), state

    def step(self, key: Array, state: Any, action: Array, params: Any) -> Transition:
        after = self.env.step(key, state, action, params)
        return after._replace(obs=self._seen(after.obs))

    def _seen(self, obs: Array) -> Array:
        return obs[..., jnp.array(self.components)]


@checked
def mask_env(ready: Ready, components: Sequence[int]) -> Ready:
    """An environment of which these components are shown, along the last axis of its observations; see `Mask`.

    Raises: SpecError where observations are symbols, and for a component that is not there or stands twice.
    """
    shown = "+".join(map(str, components)) or NOTHING
    shape = of_arrays(ready.env.observation_space, mask=shown).shape
    size = shape[-1] if shape else 0
    there = len(components) > 0 and all(component in range(size) for component in components)
    require(there, f"observations have {size} components, numbered from 0", mask=shown)
    require(len(set(components)) == len(components), "a component stands twice", mask=shown)
    return Ready(Mask(ready.env, tuple(map(int, components))), ready.params)


def numbers(shown: str) -> tuple[int, ...]:
    """The components that a setting names by their numbers. Raises: SpecError for a word."""
    require(shown[0].isdecimal(), "here components have numbers and no names, as in 0+2", mask=shown)
    return tuple(map(int, shown.split("+")))
