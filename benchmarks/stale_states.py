"""How wrong a replayed memory state is: Q from a zero, a stored and a burned-in state against Q from the true history.

    python benchmarks/stale_states.py --out benchmarks/results/stale_states_cpu.json

A recurrent Q-learner trains from short sequences whose stored states are those of the acting network at the time. At
points of its training, each block of its replay is read with the current weights from four starting states:

    true     the network run over the whole episode, from its first observation
    zero     an empty state where the block begins
    stored   the state that was stored with the block
    burn_in  from the stored state of the block before, through that block

The error is the root mean square of the difference in max_a Q against `true`, over the block's steps whose episode
began before it, in units of the standard deviation of the true values. Age counts updates since the block was made.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.agents import make_agent
from seqrl_jax.agents.network import unroll
from seqrl_jax.networks.distributions import masked
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.tasks import make, tabular_env, tabular_params

LENGTH, BLOCKS, ENVS = 5, 64, 32
CAPACITY = BLOCKS * LENGTH * ENVS
SPEC = f"drqn:start=stored,rollout_length={LENGTH},num_envs={ENVS},capacity={CAPACITY},batch_sequences=64"
STARTS = ("zero", "stored", "burn_in")


def errors(agent: Any, env: Any, params: Any, state: Any, reach: int) -> dict[str, Array]:
    """[ages] squared error of each start, and `spread`, the variance of the true values; age 0 is the newest block.

    reach: blocks that surely hold the beginning of every episode.
    """
    network, weights, mask = agent.network_in(env), state.train.weights, env.action_mask(params)
    # Oldest block first, so that the ring is a stream of BLOCKS * LENGTH steps of every environment.
    order = (jnp.arange(BLOCKS) + state.replay.added) % BLOCKS
    data = jax.tree.map(lambda leaf: leaf[order], state.replay.data)
    by_time = lambda leaf: leaf.transpose(0, 2, 1)
    inputs, stored = jax.tree.map(by_time, data.rollout.inputs), data.carry

    def value(start: Any, blocks: Array) -> Array:
        """max_a Q over the last of consecutive blocks, [LENGTH, B]."""
        along = jax.tree.map(lambda leaf: leaf[blocks].reshape(-1, ENVS), inputs)
        return jnp.max(masked(unroll(network, weights, start, along)[1], mask), -1)[-LENGTH:]

    def one(block: Array) -> dict[str, Array]:
        at = lambda tree, place: jax.tree.map(lambda leaf: leaf[place], tree)
        empty = network.memory.initial_carry(ENVS)
        true = value(empty, block - jnp.arange(reach, -1, -1))
        inherited = jnp.cumsum(inputs.first[block], 0) == 0
        count = jnp.maximum(inherited.sum(), 1)
        found = {
            "zero": value(empty, block[None]),
            "stored": value(at(stored, block), block[None]),
            "burn_in": value(at(stored, block - 1), jnp.stack([block - 1, block])),
        }
        centre = jnp.sum(true * inherited) / count
        measured = {name: jnp.sum(jnp.square(q - true) * inherited) / count for name, q in found.items()}
        return {**measured, "spread": jnp.sum(jnp.square(true - centre) * inherited) / count}

    return jax.vmap(one)(jnp.arange(BLOCKS - 1, reach, -1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="tmaze:length=5,carried=true")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    task, agent = make(options.task), make_agent(SPEC)
    env, params = tabular_env(task), tabular_params(task)
    reach = -(-task.horizon // LENGTH)

    @jax.jit
    @jax.vmap
    def run(key: Array) -> dict[str, Array]:
        """Errors over training, from the time when the replay is full: [points, ages]."""
        advance = lambda state, _: agent.update(env, params, state)
        state, _ = jax.lax.scan(advance, agent.init(key, env, params), length=BLOCKS)

        def point(state: Any, _: Any) -> tuple[Any, dict[str, Array]]:
            state, _ = jax.lax.scan(advance, state, length=20)
            return state, errors(agent, env, params, state, reach)

        return jax.lax.scan(point, state, length=(options.updates - BLOCKS) // 20)[1]

    measured = run(jax.random.split(jax.random.key(0), options.seeds))
    measured = {name: np.asarray(values, np.float64) for name, values in measured.items()}
    spread = measured["spread"].mean((1, 2))[:, None]
    rows = []
    for age in range(measured["zero"].shape[2]):
        row: dict[str, Any] = {"age": age}
        for name in STARTS:
            per_seed = np.sqrt(measured[name][:, :, age].mean(1, keepdims=True) / spread)
            row[name] = float(per_seed.mean())
            row[f"{name}_error"] = float(per_seed.std(ddof=1) / len(per_seed) ** 0.5)
        rows.append(row)
        if age % 8 == 0:
            print("age {age:>3}  zero {zero:.3f}  stored {stored:.3f}  burn_in {burn_in:.3f}".format(**row))
    if options.out:
        write_measurement(
            options.out,
            {"task": options.task, "agent": SPEC, "seeds": options.seeds, "updates": options.updates, "rows": rows},
        )


if __name__ == "__main__":
    main()
