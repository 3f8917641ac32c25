"""Memories beyond the lengths that they were trained at: PQN with each, trained at length L, judged at 1, 2, 10, 100 L.

    python benchmarks/horizon_generalisation.py --out benchmarks/results/horizon_generalisation_cpu.json

Two tasks, of which exploration is no part. `tmaze` carries the agent to the junction (`carried=true`), L cells away:
one bit, seen first, is asked for last. Maze and greedy policy are deterministic, so that an episode for each cue is the
exact score: 1 is always right, 0 what a policy earns that forgot the cue. `repeat_previous` asks at every step for the
symbol before the last one, over L steps and more: the share of right answers, 0 guessing and 1 always right, over
sampled episodes. What is kept is as much at every length; only the time is longer.

The learning rate of each memory is chosen on other seeds, by the mean score at L itself; of equal ones the smallest.
Beside the scores: steps per second of training, bytes of carry of one environment, and at each length the cross-entropy
in nats of a linear probe: of what is asked for, in what the memory gives (log 2: nothing of it). Rows that the file
holds already are not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from recorded import recorded_rows

from seqrl_jax.agents import make_agent, train
from seqrl_jax.agents.network import HistoryNetwork, init_weights
from seqrl_jax.audit.latent import play, probe
from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.devices import over_devices
from seqrl_jax.networks import MEMORIES
from seqrl_jax.networks.experience import StepInput
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.results.statistics import estimate
from seqrl_jax.tasks import make, tabular_env, tabular_params

TIMES = (1, 2, 10, 100)
RATES = (0.0003, 0.001, 0.003, 0.01)
TUNING_SEEDS = range(2000, 2003)
LEFT_OUT = ("table", "none", "window", "latent")
"""What keeps no whole history, and what learns a model of the world beside."""
EPISODES, PROBED = 32, 64


@dataclasses.dataclass(frozen=True)
class Family:
    """Tasks of one kind. spec: of a length. length: L. worst, best: a step's or an episode's return, 0 and 1 of the
    score, from the length of the episode."""

    name: str
    spec: str
    length: int
    worst: float
    best: float
    per_step: bool

    def task(self, times: int) -> Any:
        return make(self.spec.format(length=self.length * times, horizon=self.length * times + 2))

    def score(self, returns: np.ndarray, horizon: int) -> np.ndarray:
        each = returns / horizon if self.per_step else returns
        return (each - self.worst) / (self.best - self.worst)


FAMILIES = (
    Family("tmaze", "tmaze:length={length},carried=true,discount=1,horizon={horizon}", 10, 1.95, 4.0, False),
    Family("repeat_previous", "repeat_previous:delay=1,horizon={horizon}", 10, 0.0, 1.0, True),
)


def trained(family: Family, agent: Any, rates: Array, seeds: Array, steps: int) -> tuple[Any, float]:
    """States of runs [R] with these learning rates and seeds, and seconds of the warm program."""
    task = family.task(1)
    env, params = tabular_env(task), tabular_params(task)
    runs = over_devices(len(seeds))
    laid = lambda array: jax.device_put(array[runs.index], runs.sharding)

    def one(rate: Array, seed: Array) -> Any:
        return train(dataclasses.replace(agent, learning_rate=rate), env, params, jax.random.key(seed), steps)[0]

    program = jax.jit(jax.vmap(one)).lower(laid(rates), laid(seeds)).compile()
    began = time.perf_counter()
    states = jax.block_until_ready(program(laid(rates), laid(seeds)))
    return jax.tree.map(lambda leaf: leaf[: runs.size], states), time.perf_counter() - began


def scores(family: Family, shipped: Any, states: Any, times: int, steps: int) -> np.ndarray:
    """[R], of trained agents at so many times their length."""
    task = family.task(times)
    env, params = tabular_env(task), tabular_params(task)
    agent = shipped.for_run(task.horizon, steps)

    def one(state: Any) -> tuple[Array, Array]:
        rollout = play(jax.random.key(7), agent, env, params, state, EPISODES, task.horizon)
        in_first_episode = jnp.cumsum(rollout.inputs.first, 0) == 1
        return jnp.sum(jnp.where(in_first_episode, rollout.reward, 0.0), 0), rollout.inputs.obs[0]

    returns, begins = (np.asarray(array, np.float64) for array in jax.jit(jax.vmap(one))(states))
    if family.per_step:
        # The first answer is a guess, whoever gives it.
        return family.score(returns.mean(1), task.horizon - 1)
    by_cue = [returns[:, begins[0] == cue] for cue in np.unique(begins[0])]
    if any(np.ptp(group, 1).any() for group in by_cue):
        raise ValueError(f"{task.name}: episodes of one cue differ, so that their mean is not exact")
    return family.score(np.mean([group[:, 0] for group in by_cue], 0), task.horizon)


def probes(family: Family, shipped: Any, states: Any, times: int, steps: int) -> np.ndarray:
    """[R], in nats, along episodes of what was learned."""
    task = family.task(times)
    env, params = tabular_env(task), tabular_params(task)
    agent = shipped.for_run(task.horizon, steps)
    network = agent.network_in(env)

    def read(network: HistoryNetwork, carry: Any, inputs: StepInput) -> tuple[Any, Array]:
        return network.memory(carry, network.encoder(inputs), inputs.first)

    def one(state: Any) -> Array:
        rollout = play(jax.random.key(8), agent, env, params, state, PROBED, task.horizon)

        def step(carry: Any, inputs: StepInput) -> tuple[Any, Array]:
            # Step by step: some memories read a long sequence at once in more bytes than there are.
            now = jax.tree.map(lambda leaf: leaf[None], inputs)
            carry, feature = network.apply(state.train.weights, carry, now, method=read)
            return carry, feature[0]

        code = jax.lax.scan(step, network.memory.initial_carry(PROBED), rollout.inputs)[1]
        obs = rollout.inputs.obs
        if family.per_step:
            return probe(code[1:], obs[:-1], task.num_observations)
        junction = family.length * times
        return probe(code[junction : junction + 1], obs[:1], task.num_observations)

    return np.asarray(jax.jit(jax.vmap(one))(states), np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", nargs="+", default=[name for name in MEMORIES if name not in LEFT_OUT])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=150_000)
    parser.add_argument("--times", type=int, nargs="+", default=list(TIMES))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    use_every_core()
    rows = recorded_rows(options.out, seeds=options.seeds, steps=options.steps)
    for family in FAMILIES:
        for name in options.memories:
            if any((row["task"], row["memory"]) == (family.name, name) for row in rows):
                continue
            rows.append(measured(family, name, options.seeds, options.steps, options.times))
            row = rows[-1]
            line = ", ".join(f"{times} L: {part['value']:.2f}" for times, part in row["scores"].items())
            print(f"{family.name:<16}{name:<18}{line}   (rate {row['learning_rate']:g})", flush=True)
            if options.out:
                write_measurement(options.out, {"rows": rows, "seeds": options.seeds, "steps": options.steps})


def measured(family: Family, name: str, seeds: int, steps: int, times: Sequence[int]) -> dict[str, Any]:
    """One memory's row."""
    shipped = make_agent(f"pqn:memory={name}")
    agent = shipped.for_run(family.task(1).horizon, steps)
    tuning = np.array([(rate, seed) for rate in RATES for seed in TUNING_SEEDS])
    states, _ = trained(family, agent, tuning[:, 0].astype(np.float32), tuning[:, 1].astype(np.int32), steps)
    at_home = scores(family, shipped, states, 1, steps).reshape(len(RATES), -1).mean(1)
    rate = RATES[int(at_home.argmax())]
    states, seconds = trained(family, agent, np.full(seeds, rate, np.float32), np.arange(seeds, dtype=np.int32), steps)
    return {
        "task": family.name,
        "length": family.length,
        "memory": name,
        "learning_rate": rate,
        "tuning": dict(zip(map(str, RATES), at_home.tolist(), strict=True)),
        "scores": {str(n): estimate(scores(family, shipped, states, n, steps)).as_json() for n in times},
        "probe": {str(n): float(probes(family, shipped, states, n, steps).mean()) for n in times},
        "steps_per_second": seeds * steps / seconds,
        "carry_bytes": carry_bytes(agent),
        "weights": weights_of(family, agent),
    }


def carry_bytes(agent: Any) -> int:
    """Of one environment."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(agent.memory.initial_carry(1)))


def weights_of(family: Family, agent: Any) -> int:
    """How many numbers are learned."""
    network = agent.network_in(tabular_env(family.task(1)))
    shapes = jax.eval_shape(lambda: init_weights(network, jax.random.key(0)))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


if __name__ == "__main__":
    main()
