"""A whole track in under 60 lines: all that a new one must say to be listed, run, resumed, listed and reported."""

import time
from collections import namedtuple
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from seqrl_jax.naming import lookup
from seqrl_jax.results.record import Bound, Curve
from seqrl_jax.tracks.base import Column, Entry, Outcome, Scale, Status, Suite

Coin = namedtuple("Coin", "spec bias fingerprint program bounds")


@dataclass(frozen=True)
class Toy:
    """Bets on coins, by a chaotic rule: one lost bit would show in all that follow. pause: seconds a chunk."""

    pause: float = 0.0
    name, about = "toy", "bets on coins"
    tasks: ClassVar = {"penny": Entry("fair"), "dime": Entry("fair too"), "loaded": Entry("falls on its head")}
    methods: ClassVar = {"slow": Entry("small steps"), "fast": Entry("large steps"), "wrong": Entry("lost", True)}
    columns = (Column("won", "won", unit="coins", better="higher"),)
    scales = (Scale("normalised", zero="guess", one="best", about="0 for a guess, 1 for the best bet"),)
    bounds: ClassVar = {"guess": "of those who guess", "best": "of those who know the coin"}
    knows = lambda self, task: task in self.tasks
    check = lambda self, tasks, methods: (
        [lookup("task", t, self.tasks) for t in tasks] + [lookup("agent", m, self.methods) for m in methods]
    )
    fingerprint = lambda self, spec: self.problems([spec], None)[0].fingerprint
    config = lambda self, method, coin, budget: {"rate": 3.6 + len(method) / 50, "steps": budget.steps}
    code = lambda self, method: ["seqrl_jax.tracks.base"]
    task_code = lambda self, task: []
    task_facts = method_facts = lambda self, name: {}
    notes = errors = pictures = lambda self, records: []

    def problems(self, specs, progress):
        biases = {spec: 0.9 if spec == "loaded" else 0.5 for spec in specs}
        proved = {spec: {"guess": Bound(0, 0, "by hand"), "best": Bound(p, p, "by hand")} for spec, p in biases.items()}
        return [Coin(spec, p, f"a coin of {p}", p == 0.5, proved[spec]) for spec, p in biases.items()]

    def row(self, method, problems, budget, loop):
        rate = self.config(method, problems[0], budget)["rate"] - 1e-15 * len(problems)  # Rows round by their size.
        bias, seeds = np.array([[coin.bias] for coin in problems]), np.array(budget.seeds)
        begin = np.stack([0 * (bias + seeds)] * budget.evaluations + [0.3 + bias / 100 + seeds / 1000])
        advance = lambda bets: time.sleep(self.pause) or np.stack([*bets[1:], rate * bets[-1] * (1 - bets[-1])])
        made = lambda bets: budget.steps * (int(np.count_nonzero(bets[:, 0, 0])) - 1) // budget.evaluations
        bets = loop(begin, advance, budget.evaluations, lambda bets: Status(made(bets), float(bets[-1].mean())))
        shared = {"bounded_by": ["best"], "marked_wrong": self.methods[method].marked_wrong, "steps_made": made(bets)}
        at = [budget.steps * chunk / budget.evaluations for chunk in range(budget.evaluations + 1)]
        won = [(values[-1].tolist(), Curve("steps", at, values.tolist())) for values in (bets * bias).swapaxes(0, 1)]
        exact = [None] * len(seeds)
        return [Outcome(metrics={"won": last}, curves={"won": c}, episodes=exact, **shared) for last, c in won]


SUITE = Suite("coins", "every bet on every coin", "toy", tuple(Toy.tasks), tuple(Toy.methods), 2, 80, evaluations=8)
