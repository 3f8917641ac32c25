"""What an environment is: two pure functions over a pytree of parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_batching import custom_vmap


class Transition(NamedTuple):
    """What one step returns, for one environment.

    `obs` is the observation of the state that was entered, also when the episode ended there. `terminated` says that a
    terminal state was entered, `truncated` that the horizon was reached first; they are never both true.
    """

    obs: Array
    state: Any
    reward: Array
    terminated: Array
    truncated: Array
    info: dict[str, Array]


@dataclass(frozen=True)
class Discrete:
    """Integers in [0, size)."""

    size: int


@dataclass(frozen=True)
class Box:
    """Float arrays of this shape.

    active: how many of an observation's numbers are not zero at once, None for all. First layers are scaled by it.
    """

    shape: tuple[int, ...]
    active: int | None = None


Space = Discrete | Box


@runtime_checkable
class Environment(Protocol):
    """A frozen, hashable description of shapes; every number lives in `params`, which `vmap` may batch.

    `reset` and `step` take one environment; batch them with `jax.vmap`. `step` never resets by itself.
    """

    @property
    def action_space(self) -> Space:
        """Continuous actions are measured in halves of their range: -1 and 1 are its ends, and what lies beyond counts
        as the end."""
        ...

    @property
    def observation_space(self) -> Space: ...

    @property
    def longest(self) -> int:
        """No episode has more steps, whatever the params: what must hold a whole episode is as long."""
        ...

    @property
    def expensive_reset(self) -> bool:
        """Whether `reset` takes much longer than `step`; then `AutoReset` leaves it out where no episode ended."""
        ...

    def reset(self, key: Array, params: Any) -> tuple[Array, Any]: ...

    def step(self, key: Array, state: Any, action: Array, params: Any) -> Transition: ...

    def action_mask(self, params: Any) -> Array:
        """[A] bool: the actions that this task has, of a discrete space (tasks stacked to one shape may have fewer than
        A); [1] true of any other."""
        ...

    def observation_mask(self, params: Any) -> Array:
        """[O] bool: the observations that this task has, of a discrete space; [1] true of any other."""
        ...

    def discount(self, params: Any) -> Array:
        """The task's discount, a scalar."""
        ...

    def horizon(self, params: Any) -> Array:
        """The most steps that an episode has, an int32 scalar."""
        ...


class Whole:
    """What environments share that leave nothing of their spaces out, end by `longest`, have no discount and reset
    cheaply."""

    expensive_reset = False

    def action_mask(self: Environment, params: Any) -> Array:
        return everything_in(self.action_space)

    def observation_mask(self: Environment, params: Any) -> Array:
        return everything_in(self.observation_space)

    def discount(self, params: Any) -> Array:
        return jnp.float32(1.0)

    def horizon(self: Environment, params: Any) -> Array:
        return jnp.int32(self.longest)


@dataclass(frozen=True)
class Wrapper:
    """An environment that is another one, but for what a subclass changes."""

    env: Environment

    @property
    def action_space(self) -> Space:
        return self.env.action_space

    @property
    def observation_space(self) -> Space:
        return self.env.observation_space

    @property
    def longest(self) -> int:
        return self.env.longest

    @property
    def expensive_reset(self) -> bool:
        return self.env.expensive_reset

    def reset(self, key: Array, params: Any) -> tuple[Array, Any]:
        return self.env.reset(key, params)

    def step(self, key: Array, state: Any, action: Array, params: Any) -> Transition:
        return self.env.step(key, state, action, params)

    def action_mask(self, params: Any) -> Array:
        return self.env.action_mask(params)

    def observation_mask(self, params: Any) -> Array:
        return self.env.observation_mask(params)

    def discount(self, params: Any) -> Array:
        return self.env.discount(params)

    def horizon(self, params: Any) -> Array:
        return self.env.horizon(params)


class Undiscounted(Wrapper):
    """The same where every reward counts alike: how people score what agents learn with a discount."""

    def discount(self, params: Any) -> Array:
        return jnp.ones_like(self.env.discount(params))


class AutoReset(Wrapper):
    """An environment that starts again in the step that ends its episode.

    `step` returns the observation and the state of the *new* episode, and the last observation of the old one under
    `info["last_obs"]` (equal to `obs` while the episode goes on). A cheap `reset` runs on every step and is thrown away
    on most steps. An expensive one runs only on steps that end an episode of the batch (see `begin_where_ended`).
    """

    def step(self, key: Array, state: Any, action: Array, params: Any) -> Transition:
        last = self.env.step(key, state, action, params)
        ended = last.terminated | last.truncated
        begin = begin_where_ended(self.env.reset) if self.expensive_reset else partial(_selected, self.env.reset)
        obs, next_state = begin(ended, split_key_cheaply(key), params, (last.obs, last.state))
        return last._replace(obs=obs, state=next_state, info={**last.info, "last_obs": last.obs})


def auto_reset(env: Environment) -> AutoReset:
    """Wrap `env` so that `step` begins the next episode when one ends (see `AutoReset`)."""
    return AutoReset(env)


Reset = Callable[[Array, Any], Any]
"""(key, params) -> observation and state, which may all be [*batch, ...]."""
Begin = Callable[[Array, Array, Any, Any], Any]
"""(ended, key, params, what goes on) -> what `reset` returns where an episode ended, elsewhere what goes on."""


def begin_where_ended(reset: Reset) -> Begin:
    """Episodes begin where some ended; where none of a batch did, `reset` does not run.

    Under `vmap` XLA makes a select of a branch, which computes both sides. Here an axis goes into `reset` instead, and
    the branch asks of all axes at once whether anything ended. Every step waits for that answer, on a GPU, and where
    runs are laid over devices or hosts for theirs, too. It has no derivative.
    """

    @custom_vmap
    def begin(ended: Array, key: Array, params: Any, going: Any) -> Any:
        begun = lambda: _selected(reset, ended, key, params, going)
        return jax.lax.cond(jnp.any(ended), begun, lambda: jax.tree.map(jnp.asarray, going))

    @begin.def_vmap
    def begin_batch(size: int, batched: Any, ended: Array, key: Array, params: Any, going: Any) -> tuple[Any, Any]:
        of_ended, of_key, of_params, of_going = batched
        stretched = lambda batched, leaf: leaf if batched else jnp.broadcast_to(leaf, (size, *leaf.shape))
        axes = jax.tree.map(lambda batched: 0 if batched else None, of_params)
        begun = begin_where_ended(jax.vmap(reset, in_axes=(0, axes)))(
            stretched(of_ended, ended), stretched(of_key, key), params, jax.tree.map(stretched, of_going, going)
        )
        return begun, jax.tree.map(lambda _: True, begun)

    return begin


def _selected(reset: Reset, ended: Array, key: Array, params: Any, going: Any) -> Any:
    wide = lambda leaf: ended.reshape(ended.shape + (1,) * (jnp.ndim(leaf) - ended.ndim))
    return jax.tree.map(lambda first, old: jnp.where(wide(old), first, old), reset(key, params), going)


def num_actions(env: Environment) -> int:
    """A, of an environment whose actions are numbered. Raises: ValueError for any other."""
    if not isinstance(env.action_space, Discrete):
        raise ValueError(f"actions are arrays of shape {env.action_space.shape}, this needs numbered ones")
    return env.action_space.size


def everything_in(space: Space) -> Array:
    """The mask of a space of which nothing is left out: [size] true of a discrete one, [1] of any other."""
    return jnp.ones(space.size if isinstance(space, Discrete) else 1, bool)


def zeros_in(space: Space, *batch: int) -> Array:
    """Zeros that stand for elements [*batch, ...] of a space: int32 of a discrete one, float32 of a box."""
    return jnp.zeros(batch, jnp.int32) if isinstance(space, Discrete) else jnp.zeros((*batch, *space.shape))


def split_key_cheaply(key: Array) -> Array:
    """A second key, without the cost of splitting: hashing keys is most of what a step of a small environment costs.

    Counter-based generators give independent streams for any two distinct keys (Salmon et al., 2011), so flipping bits
    serves as well as hashing.
    """
    flipped = jax.random.key_data(key) ^ jnp.uint32(0x9E3779B9)
    return jax.random.wrap_key_data(flipped, impl=jax.random.key_impl(key))
