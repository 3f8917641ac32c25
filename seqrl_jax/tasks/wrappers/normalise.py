"""Arrays are shown in units of what random play shows: mean 0 and standard deviation 1 in every component.

The statistics are measured once, when the environment is made, and stand in the params. Running ones would be shared by
environments that otherwise know nothing of each other, cross from episode to episode, and show the same state in other
numbers at another time; these leave the task what it was. Here a state has one observation, in training and evaluation.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from msgspec import Meta

from seqrl_jax.tasks.environment import Box, Discrete, Environment, Transition, auto_reset
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tasks.wrappers.checked import checked
from seqrl_jax.tasks.wrappers.codes import of_arrays
from seqrl_jax.tasks.wrappers.numbered import Numbered, NumberedWrapper

RandomSteps = Annotated[int, Meta(ge=0, le=1_000_000)]
"""A thousand are plenty where episodes are not longer."""
COPIES = 64
"""Environments that are measured side by side: what is drawn once in an episode is drawn this often at least."""


class Scaling(NamedTuple):
    """mean, spread: [C], of each component of an observation, along its last axis; scalars where it has no axis."""

    mean: Array
    spread: Array


class Normalise(NumberedWrapper):
    """Every observation, the first one too, is (o - mean) / spread, with the `Scaling` that stands as `params.number`.

    It is one map of each number to one other, so nothing is hidden: what is far from all that random play shows is far
    from 0 and is not clipped.
    """

    @property
    def observation_space(self) -> Box:
        return Box(of_arrays(self.env.observation_space).shape)

    def reset(self, key: Array, params: Numbered) -> tuple[Array, Any]:
        obs, state = super().reset(key, params)
        return self._seen(obs, params.number), state

    def step(self, key: Array, state: Any, action: Array, params: Numbered) -> Transition:
        after = super().step(key, state, action, params)
        return after._replace(obs=self._seen(after.obs, params.number))

    def _seen(self, obs: Array, scaling: Scaling) -> Array:
        return (obs - scaling.mean) / scaling.spread


@checked
def normalise_env(ready: Ready, steps: RandomSteps) -> Ready:
    """An environment whose observations are scaled by what uniformly random actions show; see `Normalise`.

    Channels of an image are scaled each as a whole. A component that never varies stays as it is. The statistics are of
    these params and of the states that random play meets: they adapt neither to other params nor to what an agent sees
    once it has learned. They are rounded to the third digit of the spread, so that machines which round differently in
    the last one mostly make the same task.

    Args: steps: of each of `COPIES` environments, which start again when an episode ends.
    Raises: SpecError where observations are symbols.
    """
    of_arrays(ready.env.observation_space, normalise=steps)
    return Ready(Normalise(ready.env), Numbered(ready.params, measured(ready, steps)))


def measured(ready: Ready, steps: int) -> Scaling:
    """The scaling that gives what random play shows mean 0 and standard deviation 1, from draws with a fixed key."""
    origin, away, squared = (np.asarray(part, np.float64) for part in _moments(ready.env, ready.params, steps))
    mean, varies = away.mean(0), squared.any(0)
    variance = np.maximum(squared.mean(0) - mean**2, np.finfo(float).tiny)
    spread = np.where(varies, np.sqrt(variance), 1)
    digit = 10 ** (np.floor(np.log10(spread)) - 2)
    mean, spread = (np.round(part / digit) * digit for part in (np.where(varies, origin + mean, 0), spread))
    return Scaling(jnp.asarray(mean, jnp.float32), jnp.asarray(spread, jnp.float32))


@partial(jax.jit, static_argnames=("env", "steps"))
def _moments(env: Environment, params: Any, steps: int) -> tuple[Array, Array, Array]:
    """A first observation's components [C], and what all differ from it by and its square, means at each step
    [steps, C]: exactly 0 of what never varies, and without a loss of digits where the spread is small beside the mean.
    """
    restarting = auto_reset(env)
    begin_key, go_key = jax.random.split(jax.random.key(0))
    start = jax.vmap(env.reset, (0, None))(jax.random.split(begin_key, COPIES), params)
    in_components = lambda obs: obs.reshape(-1, *obs.shape[1:][-1:])
    origin = in_components(start[0])[0]

    def step(carry: tuple[Array, Any], key: Array) -> tuple[tuple[Array, Any], tuple[Array, Array]]:
        obs, state = carry
        act_key, env_key = jax.random.split(key)
        after = jax.vmap(restarting.step, (0, 0, 0, None))(
            jax.random.split(env_key, COPIES), state, _random_actions(act_key, env, params), params
        )
        away = in_components(obs) - origin
        return (after.obs, after.state), (away.mean(0), jnp.square(away).mean(0))

    away, squared = jax.lax.scan(step, start, jax.random.split(go_key, steps))[1]
    return origin, away, squared


def _random_actions(key: Array, env: Environment, params: Any) -> Array:
    """[COPIES, ...]: uniform."""
    space = env.action_space
    if isinstance(space, Discrete):
        return jax.random.categorical(key, jnp.where(env.action_mask(params), 0.0, -jnp.inf), shape=(COPIES,))
    return jax.random.uniform(key, (COPIES, *space.shape), minval=-1.0, maxval=1.0)
