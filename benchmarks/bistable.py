"""Why the bistable memory does not learn to repeat the previous symbol: its settings, or what it is.

    python benchmarks/bistable.py --out benchmarks/results/bistable_cpu.json

PQN on `repeat_previous` as in `horizon_generalisation.py`, on seeds that it does not use: the cell as it ships, with
four times its units, with lower thresholds, and a cell that is the same but that also reads what its units held before
the step. Scores at the length of training, 0 guessing and 1 always right, at every learning rate.

Beside them: the best score that a search finds for any cell of such units. All that they can say is in which order the
inputs (symbol, last answer) came last; so an answer for each order is sought, changed one at a time from many random
ones, and scored over all sequences of symbols.
"""

from __future__ import annotations

import argparse
import dataclasses
from itertools import product
from pathlib import Path

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from horizon_generalisation import FAMILIES, scores, trained
from jax import Array

from seqrl_jax.agents import make_agent
from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.networks.bistable import BMRU
from seqrl_jax.networks.layers import Codes
from seqrl_jax.networks.readout import Readout
from seqrl_jax.results.provenance import write_measurement

FAMILY = next(family for family in FAMILIES if family.name == "repeat_previous")
RATES = (0.001, 0.003, 0.01)
FIRST_SEED = 5000
SYMBOLS, NONE = 2, 2
"""Symbols, and the last answer where there was none."""


class BeforeAndAfter(BMRU):
    """The same units, read before the step and behind it."""

    @nn.compact
    def __call__(self, carry: Array, xs: Codes, firsts: Array) -> tuple[Array, Array]:
        states = self.held(carry, xs, firsts)
        before = jnp.where(firsts[..., None], 0.0, jnp.concatenate([carry[None], states[:-1]]))
        return states[-1], Readout(self.width, name="readout")(jnp.concatenate([states, before], -1), xs)


CELLS = {
    "as it ships": BMRU(),
    "128 units": BMRU(width=128),
    "thresholds up to .6": BMRU(threshold=0.3),
    "that also reads its units before the step": BeforeAndAfter(),
}


def learned(memory: BMRU, seeds: int, steps: int) -> dict[str, list[float]]:
    """Learning rate -> the score of each seed."""
    shipped = dataclasses.replace(make_agent("pqn:memory=bmru"), memory=memory)
    agent = shipped.for_run(FAMILY.task(1).horizon, steps)
    runs = np.array([(rate, FIRST_SEED + seed) for rate in RATES for seed in range(seeds)])
    states, _ = trained(FAMILY, agent, runs[:, 0].astype(np.float32), runs[:, 1].astype(np.int32), steps)
    found = scores(FAMILY, shipped, states, 1, steps).reshape(len(RATES), seeds)
    return {str(rate): row.tolist() for rate, row in zip(RATES, found, strict=True)}


def orders() -> tuple[dict[tuple[int, ...], int], np.ndarray]:
    """Numbers of the orders in which inputs came last, latest first, and [orders, inputs] the next one; an input is
    (NONE + 1) times its symbol and the last answer."""
    numbers, following = {(): 0}, []
    for order in (waiting := [()]):
        row = []
        for seen in range(SYMBOLS * (NONE + 1)):
            after = (seen, *(each for each in order if each != seen))
            if (seen % (NONE + 1) == NONE) == (not order) and after not in numbers:
                numbers[after] = len(numbers)
                waiting.append(after)
            row.append(numbers.get(after, -1))
        following.append(row)
    return numbers, np.array(following)


def best_found(horizon: int, starts: int) -> float:
    """The highest score of an answer for each order; what is said of one symbol holds of the other, mirrored."""
    numbers, following = orders()
    flip = lambda seen: (
        (NONE + 1) * (1 - seen // (NONE + 1)) + (1 - seen % (NONE + 1) if seen % (NONE + 1) < NONE else NONE)
    )
    mirror = np.array([numbers[tuple(map(flip, order))] for order in numbers])
    symbols = np.array([each for each in product(range(SYMBOLS), repeat=horizon) if each[0] == 0])
    rng, best = np.random.default_rng(FIRST_SEED), 0.0

    def score(answers: np.ndarray) -> float:
        order, right = following[0][(NONE + 1) * symbols[:, 0] + NONE], 0.0
        for t in range(1, horizon):
            order = following[order, (NONE + 1) * symbols[:, t] + answers[order]]
            right += np.mean(answers[order] == symbols[:, t - 1])
        return 2 * right / (horizon - 1) - 1

    pairs = np.array([(order, other) for order, other in enumerate(mirror) if order < other])
    for _ in range(starts):
        answers = np.zeros(len(numbers), int)
        answers[pairs[:, 0]] = rng.integers(SYMBOLS, size=len(pairs))
        answers[pairs[:, 1]] = 1 - answers[pairs[:, 0]]
        value, improved = score(answers), True
        while improved:
            improved = False
            for pair in rng.permutation(pairs):
                answers[pair] = 1 - answers[pair]
                tried = score(answers)
                if tried > value:
                    value, improved = tried, True
                else:
                    answers[pair] = 1 - answers[pair]
        best = max(best, value)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150_000)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    use_every_core()
    measured = {"best_found": best_found(FAMILY.task(1).horizon, options.starts), "starts": options.starts}
    print(f"any cell of such units, the best that was found: {measured['best_found']:.3f}", flush=True)
    rows = []
    for name, memory in CELLS.items():
        rows.append({"cell": name, "scores": learned(memory, options.seeds, options.steps)})
        print(name, {rate: round(float(np.mean(each)), 2) for rate, each in rows[-1]["scores"].items()}, flush=True)
    if options.out:
        write_measurement(options.out, {**measured, "rows": rows, "seeds": options.seeds, "steps": options.steps})


if __name__ == "__main__":
    main()
