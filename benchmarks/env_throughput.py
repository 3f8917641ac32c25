"""Environment steps per second under random actions: our environments against others' of the same task.

    python benchmarks/env_throughput.py --peers popgym pobax --out benchmarks/results/env_throughput_cpu.json

Memory chain is gymnax's step for step, card games are POPGym's (tests hold them to that). Ours and gymnax's run in the
same loop with the same keys, batch and number of steps, alternating, and start the next episode by themselves: gymnax
in its own `step`, ours through `auto_reset`. A third row runs gymnax's chain through `from_gymnax`.

Peers run in processes and environments of their own (`benchmarks/peers/environment.py`): POPGym's numpy environments
one after another, as its documentation runs them (`popgym_steps.py`), pobax's in the same loop as ours
(`pobax_steps.py`), with its observations, which are vectors where ours are numbers of rows.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import gymnax
import jax
from peers.environment import printed_by

from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.tasks.environment import Discrete
from seqrl_jax.tasks.environments import environment
from seqrl_jax.tasks.gymnax_adapter import from_gymnax
from seqrl_jax.throughput.env import random_policy_rollout, rollout, uniform_actions
from seqrl_jax.throughput.measure import Measurement, Program, measure

LENGTH = 30
CARDS = ("repeat_first_cards", "repeat_previous_cards", "autoencode_cards", "count_recall_cards")
TABULAR = "tmaze"
ROOMS = ("tmaze:length=10", "rock_sample:size=7,rocks=8,horizon=1000")
PEERS: dict[str, tuple[str, Sequence[str], Callable[[int, int], list[str]]]] = {
    "popgym": ("popgym_steps.py", CARDS, lambda batch, steps: []),
    "pobax": ("pobax_steps.py", ROOMS, lambda batch, steps: ["--batch", str(batch), "--steps", str(steps)]),
}
"""For each, its program, the names of its tasks here, and what the program takes of the loop's size."""


def gymnax_chain() -> tuple[Any, Any]:
    env, params = gymnax.make("MemoryChain-bsuite")
    return env, params.replace(memory_length=LENGTH, max_steps_in_episode=10 * LENGTH)


def gymnax_program(batch: int, steps: int) -> Program:
    """gymnax as its documentation runs it: `vmap` over its `step`, which resets by itself."""
    env, params = gymnax_chain()
    step = jax.vmap(env.step, in_axes=(0, 0, 0, None))
    return rollout(
        lambda keys: jax.vmap(env.reset, in_axes=(0, None))(keys, params),
        lambda keys, state, action: step(keys, state, action, params)[:3],
        partial(uniform_actions, Discrete(env.num_actions)),
        batch,
        steps,
    )


def ours(spec: str, batch: int, steps: int) -> Program:
    made = environment(spec)
    return random_policy_rollout(made.env, made.params, batch, steps)


def against_gymnax(batch: int, steps: int, repeats: int) -> tuple[list[Measurement], dict[str, float]]:
    """Times, and ours over theirs as a median of alternating pairs."""
    chain, own, theirs = f"memory_chain:length={LENGTH}", "seqrl_jax", "gymnax"
    programs = {
        f"{own} {chain}": ours(chain, batch, steps),
        f"{theirs} MemoryChain, memory_length={LENGTH}": gymnax_program(batch, steps),
        f"{theirs} MemoryChain through from_gymnax": random_policy_rollout(
            *from_gymnax(*gymnax_chain(), discount=1.0), batch, steps
        ),
        f"{own} {TABULAR}": ours(TABULAR, batch, steps),
    }
    rows = measure(programs, repeats)
    first, second = rows[0].seconds, rows[1].seconds
    return rows, {"memory_chain": statistics.median(slow / fast for fast, slow in zip(first, second, strict=True))}


def against_peer(peer: str, batch: int, steps: int, repeats: int) -> tuple[list[Measurement], dict[str, Any]]:
    """Of one in an environment of its own: ours are measured before and after it, and the slower time counts."""
    program, tasks, loop = PEERS[peer]
    programs = {f"seqrl_jax {name}": ours(name, batch, steps) for name in tasks}
    before = measure(programs, repeats)
    theirs = printed_by(peer, program, *loop(batch, steps))
    rows = [min(pair, key=lambda row: row.steps_per_second) for pair in zip(before, measure(programs, repeats))]
    theirs["steps_per_second"] = {
        name: theirs["steps"] / statistics.median(times) for name, times in theirs["seconds"].items()
    }
    ratios = {
        name: row.steps_per_second / theirs["steps_per_second"][name] for name, row in zip(tasks, rows, strict=True)
    }
    return rows, {"ratios": ratios, **theirs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[], help="beside gymnax")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    rows, ratios = against_gymnax(options.batch, options.steps, options.repeats)
    others: dict[str, Any] = {"gymnax": {"versions": {"gymnax": importlib.metadata.version("gymnax")}}}
    for peer in options.peers:
        more, others[peer] = against_peer(peer, options.batch, options.steps, options.repeats)
        rows, ratios = [*rows, *more], ratios | others[peer]["ratios"]
    for row in rows:
        print(f"{row.what:<42}{row.steps_per_second / 1e6:8.2f} M steps/s   cold {row.compile_seconds:.1f} s")
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f} times the other's")
    if options.out:
        write_measurement(options.out, {"rows": [asdict(row) for row in rows], "ratios": ratios, **others})


if __name__ == "__main__":
    main()
