"""One bit carried as far as has been published: PQN with each memory, trained on short T-mazes, judged on long ones.

    python benchmarks/far_tmaze.py --out benchmarks/results/far_tmaze_cpu.json

Trained on a corridor of ten cells, at one setting for all memories, and judged without further training on corridors of
9,600 cells, up to which a transformer with recurrent memory was published to extrapolate (Cherepanov et al., 2023), and
of a million, on which one with external memory was (Cherepanov et al., 2025). The agent walks by itself. Maze and
policy are deterministic, so that one episode for each cue is the exact return: the optimum is 1, and 1/2 the best of
who forgot the cue (both proved, see `long_tmaze`). Rows that the file holds already are not run again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from recorded import record_memories

from seqrl_jax.agents import make_agent, train
from seqrl_jax.agents.base import Policy
from seqrl_jax.agents.rollout import first_inputs
from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.devices import over_devices
from seqrl_jax.networks.experience import StepInput
from seqrl_jax.results.statistics import estimate
from seqrl_jax.tasks.environment import Environment
from seqrl_jax.tasks.environments import environment
from seqrl_jax.tasks.tmaze import CUE_NORTH, CUE_SOUTH

SHORT, FAR = 10, (10, 100, 9_600, 1_000_000)
MEMORIES = ("gru", "lstm", "nbrc", "mingru", "bmru", "lru", "s5", "linear_attention", "mlstm")
SOLVED = 0.99
RATE = 0.001
"""Of PQN: what its memories hold was measured at it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", nargs="+", default=list(MEMORIES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=500_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    use_every_core()
    for row in record_memories(options.memories, options.out, measured, seeds=options.seeds, steps=options.steps):
        returns = {cells: part["value"] for cells, part in row["returns"].items()}
        print(row["memory"], returns, row["solved"], flush=True)


def measured(name: str, seeds: int, steps: int) -> dict[str, Any]:
    """One memory's returns [seeds] on every length, and how many runs solve it."""
    ready = environment(f"long_tmaze:length={SHORT}")
    agent = make_agent(f"pqn:memory={name},learning_rate={RATE}").for_run(ready.env.longest, steps)
    runs = over_devices(seeds)
    keys = jax.device_put(jax.vmap(jax.random.key)(runs.index), runs.sharding)
    states = jax.jit(jax.vmap(lambda key: train(agent, ready.env, ready.params, key, steps)[0]))(keys)

    def both_cues(env: Environment) -> np.ndarray:
        keys = one_of_each_cue(env)
        of_policy = lambda state: returns(env, agent.policy(env, (), state), keys)
        return np.asarray(jax.jit(jax.vmap(of_policy))(states), np.float64)[:seeds].mean(1)

    far = {cells: both_cues(environment(f"long_tmaze:length={cells}").env) for cells in FAR}
    return {
        "memory": name,
        "returns": {str(cells): estimate(each).as_json() for cells, each in far.items()},
        "solved": {str(cells): int((each > SOLVED).sum()) for cells, each in far.items()},
    }


def one_of_each_cue(env: Environment) -> Array:
    """Keys [2] of episodes."""
    keys = jax.random.split(jax.random.key(0), 32)
    shown = np.asarray(jax.vmap(lambda key: env.reset(key, ())[0])(keys))
    return keys[np.array([np.flatnonzero(shown == cue)[0] for cue in (CUE_NORTH, CUE_SOUTH)])]


def returns(env: Environment, policy: Policy, keys: Array) -> Array:
    """[2], of the episodes of these keys; nothing of them is kept, however long they are."""

    def step(time: Array, carry: tuple[Any, ...]) -> tuple[Any, ...]:
        inputs, state, memory, total = carry
        memory, action = policy.act(jax.random.key(0), memory, inputs)
        after = env.step(jax.random.key(0), state, action, ())
        inputs = StepInput(after.obs, jnp.bool_(False), action, after.reward)
        return inputs, after.state, memory, total + after.reward

    def episode(key: Array) -> Array:
        obs, state = env.reset(key, ())
        start = (first_inputs(env, obs), state, policy.initial_carry(), jnp.float32(0.0))
        return jax.lax.fori_loop(0, env.longest, step, start)[-1]

    return jax.vmap(episode)(keys)


if __name__ == "__main__":
    main()
