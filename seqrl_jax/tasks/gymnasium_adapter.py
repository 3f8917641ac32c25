"""Our environments as a `gymnasium.vector.VectorEnv` (`pip install "seqrl_jax[gymnasium]"`)."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jax import Array

from seqrl_jax.tasks.environment import Discrete, Environment, auto_reset


class ToGymnasium(VectorEnv):
    """`num_envs` environments, stepped in one compiled call; the episode after an end begins in the same step.

    The last observation of an ended episode stands in `info["final_obs"]`, which episodes in `info["_final_obs"]`.
    """

    def __init__(self, env: Environment, params: Any, num_envs: int, seed: int = 0) -> None:
        space = env.observation_space
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_action_space = gymnasium.spaces.Discrete(env.num_actions)
        self.single_observation_space = (
            gymnasium.spaces.Discrete(space.size)
            if isinstance(space, Discrete)
            else gymnasium.spaces.Box(-np.inf, np.inf, space.shape, np.float32)
        )
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._key = jax.random.key(seed)
        self._state: Any = None
        restarting = auto_reset(env)

        def reset(key: Array) -> Any:
            return jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, num_envs), params)

        def step(key: Array, state: Any, action: Array) -> Any:
            keys = jax.random.split(key, num_envs)
            return jax.vmap(restarting.step, in_axes=(0, 0, 0, None))(keys, state, action, params)

        self._reset, self._step = jax.jit(reset), jax.jit(step)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin all episodes anew. One integer seeds all environments; a list is refused, they share one stream."""
        if isinstance(seed, list):
            raise TypeError("one seed serves all environments; pass an integer")
        if seed is not None:
            self._key = jax.random.key(seed)
        self._key, key = jax.random.split(self._key)
        obs, self._state = self._reset(key)
        return self._observation(obs), {}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        self._key, key = jax.random.split(self._key)
        after = self._step(key, self._state, np.asarray(actions, np.int32))
        self._state = after.state
        terminated, truncated = np.asarray(after.terminated), np.asarray(after.truncated)
        ended = terminated | truncated
        info = {}
        if ended.any():
            info = {"final_obs": self._observation(after.info["last_obs"]), "_final_obs": ended}
        return self._observation(after.obs), np.asarray(after.reward, np.float64), terminated, truncated, info

    def _observation(self, obs: Array) -> np.ndarray:
        return np.asarray(obs).astype(self.observation_space.dtype)


def to_gymnasium(env: Environment, params: Any, num_envs: int, seed: int = 0) -> ToGymnasium:
    """`num_envs` copies of an environment behind gymnasium's vector interface."""
    return ToGymnasium(env, params, num_envs, seed)
