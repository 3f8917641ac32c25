"""Our environments as a `gymnasium.vector.VectorEnv` (`pip install "seqrl_jax[gymnasium]"`)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.keys import key_of
from seqrl_jax.tasks.environment import Discrete, Environment, Space, split_key_cheaply

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv


class ToGymnasium:
    """`num_envs` environments, stepped in one compiled call, with gymnasium's default automatic reset (next step).

    The step that ends an episode returns its last observation. The step after it ignores the action, pays 0, ends
    nothing and returns the first observation of the next episode.
    """

    def __init__(self, env: Environment, params: Any, num_envs: int, seed: int = 0) -> None:
        gymnasium = _gymnasium()
        batch_space = gymnasium.vector.utils.batch_space
        self.num_envs = num_envs
        # gymnasium's own statistics lose each later episode's first step under SAME_STEP, and most of its observation
        # wrappers refuse that mode.
        self.metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}
        self.single_action_space = _gymnasium_space(env.action_space, 1.0)
        self.single_observation_space = _gymnasium_space(env.observation_space, np.inf)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._key = key_of(seed)
        self._state: Any = None
        self._ended = np.zeros(num_envs, bool)

        def reset(key: Array) -> Any:
            return jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, num_envs), params)

        def one_step(key: Array, state: Any, action: Array, ended: Array) -> tuple[Any, ...]:
            after = env.step(key, state, action, params)
            obs, state = jax.tree.map(
                lambda first, old: jnp.where(ended, first, old),
                env.reset(split_key_cheaply(key), params),
                (after.obs, after.state),
            )
            reward = jnp.where(ended, 0, after.reward)
            return obs, state, reward, after.terminated & ~ended, after.truncated & ~ended

        def step(key: Array, *batched: Any) -> tuple[Any, ...]:
            return jax.vmap(one_step)(jax.random.split(key, num_envs), *batched)

        self._reset, self._step = jax.jit(reset), jax.jit(step)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin all episodes anew. One integer seeds all environments; a list is refused, they share one stream."""
        if isinstance(seed, list):
            raise TypeError("one seed serves all environments; pass an integer")
        super().reset(seed=seed)  # type: ignore[misc]  # VectorEnv's, which keeps the seed
        if seed is not None:
            self._key = key_of(seed)
        self._key, key = jax.random.split(self._key)
        obs, self._state = self._reset(key)
        self._ended = np.zeros(self.num_envs, bool)
        return self._observation(obs), {}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        if self._state is None:
            raise _gymnasium().error.ResetNeeded("call reset() before the first step()")
        self._key, key = jax.random.split(self._key)
        obs, self._state, reward, *ends = self._step(key, self._state, self._action(actions), self._ended)
        terminated, truncated = (np.array(end) for end in ends)
        self._ended = terminated | truncated
        return self._observation(obs), np.asarray(reward, np.float64), terminated, truncated, {}

    def _action(self, actions: Any) -> np.ndarray:
        return np.asarray(actions, np.int32 if self.single_action_space.dtype == np.int64 else np.float32)

    def _observation(self, obs: Array) -> np.ndarray:
        return np.asarray(obs).astype(self.observation_space.dtype)


def to_gymnasium(env: Environment, params: Any, num_envs: int, seed: int = 0) -> VectorEnv:
    """`num_envs` copies of an environment behind gymnasium's vector interface.

    Args: seed: of all copies, until `reset` is given another. Raises: ImportError without gymnasium.
    """
    return _joined(_gymnasium().vector.VectorEnv)(env, params, num_envs, seed)


def _gymnasium_space(space: Space, end: float) -> Any:
    spaces = _gymnasium().spaces
    if isinstance(space, Discrete):
        return spaces.Discrete(space.size)
    return spaces.Box(-end, end, space.shape, np.float32)


@cache
def _joined(base: type) -> Any:
    # The base class joins when somebody adapts to it, so that nobody else needs gymnasium.
    return type("ToGymnasium", (ToGymnasium, base), {})


def _gymnasium() -> Any:
    try:
        import gymnasium
    except ModuleNotFoundError as error:
        raise ImportError(f'{error}; to adapt to gymnasium: pip install "seqrl_jax[gymnasium]"') from error
    return gymnasium
