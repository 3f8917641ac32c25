"""sb3-contrib's RecurrentPPO on a task of ours, as fast as it can be fed.

    python benchmarks/peers/environment.py sb3 benchmarks/peers/sb3_recurrent_ppo.py --width 128

All environments are stepped in one compiled call behind stable_baselines3's own `VecEnv`, with gymnasium's spaces, so
that the time measured is the peer's. One LSTM is shared by policy and value, heads are linear, and epochs and
minibatches are those of the shipped PPO. The LSTM has four gates where a GRU has three. One update is made before the
clock starts; 1 and 2 torch threads are tried, and the better one counts.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time
from typing import Any

import gymnasium
import jax
import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from seqrl_jax.tasks import make, tabular_env, tabular_params
from seqrl_jax.tasks.environment import auto_reset

TASK = "tmaze:length=10"


class Batched(VecEnv):
    """B copies of a tabular task; an episode's last observation stands in its info, as stable_baselines3 asks."""

    def __init__(self, spec: str, num_envs: int) -> None:
        task = make(spec)
        env, params = auto_reset(tabular_env(task)), tabular_params(task)
        split = lambda key: jax.random.split(key, num_envs)
        self._reset = jax.jit(lambda key: jax.vmap(env.reset, in_axes=(0, None))(split(key), params))
        self._step = jax.jit(
            lambda key, state, action: jax.vmap(env.step, in_axes=(0, 0, 0, None))(split(key), state, action, params)
        )
        self._key = jax.random.key(0)
        spaces = gymnasium.spaces.Discrete(task.num_observations), gymnasium.spaces.Discrete(task.num_actions)
        super().__init__(num_envs, *spaces)

    def reset(self) -> np.ndarray:
        obs, self._state = self._reset(self._next_key())
        return np.asarray(obs)

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> Any:
        after = self._step(self._next_key(), self._state, self._actions.astype(np.int32))
        self._state = after.state
        truncated, last = np.asarray(after.truncated), np.asarray(after.info["last_obs"])
        dones = np.asarray(after.terminated) | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index in np.flatnonzero(dones):
            infos[index] = {"terminal_observation": last[index], "TimeLimit.truncated": bool(truncated[index])}
        return np.asarray(after.obs), np.array(after.reward), dones, infos

    def close(self) -> None: ...

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None: ...

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        return [None] * self.num_envs

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs

    def _next_key(self) -> jax.Array:
        self._key, key = jax.random.split(self._key)
        return key


class Clock(BaseCallback):
    """When each rollout began."""

    def _on_training_start(self) -> None:
        self.times: list[float] = []

    def _on_rollout_start(self) -> None:
        self.times.append(time.perf_counter())

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self.times.append(time.perf_counter())


def measure(
    num_envs: int, rollout_length: int, width: int, updates: int, epochs: int, minibatches: int
) -> dict[str, Any]:
    """Train for `updates` updates after a first one that is not counted."""
    best: dict[str, Any] = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        steps = num_envs * rollout_length
        model = RecurrentPPO(
            "MlpLstmPolicy",
            Batched(TASK, num_envs),
            n_steps=rollout_length,
            batch_size=steps // minibatches,
            n_epochs=epochs,
            device="cpu",
            policy_kwargs={
                "lstm_hidden_size": width,
                "shared_lstm": True,
                "enable_critic_lstm": False,
                "net_arch": [],
            },
        )
        clock = Clock()
        model.learn(steps * (updates + 1), callback=clock)
        assert model.num_timesteps == steps * (updates + 1), "the peer counts its steps otherwise"
        seconds = clock.times[-1] - clock.times[1]
        if not best or seconds < best["seconds"]:
            best = {"steps_per_second": steps * updates / seconds, "seconds": seconds, "torch_threads": threads}
    packages = ("sb3-contrib", "stable-baselines3", "torch", "gymnasium")
    return {**best, "versions": {name: importlib.metadata.version(name) for name in packages}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--rollout-length", type=int, default=128)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--updates", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--minibatches", type=int, default=4)
    options = parser.parse_args()
    print(json.dumps(measure(**vars(options))))


if __name__ == "__main__":
    main()
