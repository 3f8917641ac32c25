"""What luck costs: methods that learn from whole returns, over a dial from a user who is the same every time to one who
is half a coin.

    python benchmarks/luck.py --out benchmarks/results/luck_cpu.json

In `small_talk` the best mean is the same at every setting of `noise`, and only luck grows. Regret is 1 minus the score,
which is 0 for the speakers of the logs and 1 for the optimum. Beside what training reached stands where a method ends
with unlimited data and capacity, exactly (`dialogue/limits.py`), and what preferences lose to their temperature alone,
by the optimum of E[R] - beta KL. `refuel` ends at the optimum: each of its updates is a step of policy iteration. `cql`
learns values, in which luck averages out. Dialogues are of three turns, for all of them are listed. The picture is
written beside the JSON.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.dialogue.exact import Known
from seqrl_jax.dialogue.limits import limit_of, without_luck
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.figures import new_figure, png
from seqrl_jax.files import write_whole
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.results.statistics import estimate
from seqrl_jax.tracks.base import Budget, plain_loop
from seqrl_jax.tracks.dialogue import DIALOGUE

DIAL = (0.0, 0.25, 0.5, 0.75, 1.0)
METHODS = ("multi_turn_dpo", "dmpo", "refuel", "decision_transformer", "filtered_bc", "cql")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=DIALOGUE.steps_as_shipped)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    use_every_core()
    budget = Budget(options.updates, 1, tuple(range(options.seeds)))
    rows: list[dict[str, Any]] = []
    for noise in DIAL:
        problem = DIALOGUE.problems([f"small_talk:turns=3,noise={noise:g}"])[0]
        logs, best = (problem.bounds[name].lower for name in ("logs", "best"))
        regret = lambda value, logs=logs, best=best: (best - value) / (best - logs)
        for name in options.agents:
            spec = f"{name}:view=utterance"
            outcome = DIALOGUE.row(spec, [problem], budget, plain_loop)[0]
            earned = np.array(outcome.metrics["return"], float)
            row = {
                "agent": name,
                "noise": noise,
                "luck_share": problem.luck,
                "regret": estimate(regret(earned)).as_json(),
                "limits": {what: regret(value) for what, value in _limits(spec, problem.known).items()},
            }
            rows.append(row)
            print(row, flush=True)
    if options.out:
        write_measurement(options.out, {"seeds": options.seeds, "rows": rows})
        write_whole(options.out.with_suffix(".png"), picture(rows))


def _limits(spec: str, known: Known) -> dict[str, float]:
    """What the method earns with unlimited data and capacity, and without luck, where that is known."""
    method = make_method(spec)
    found = {"limit": limit_of(method, known), "without_luck": without_luck(method, known)}
    return {what: value for what, value in found.items() if value is not None}


def picture(rows: list[dict[str, Any]]) -> bytes:
    """PNG: regret against the share of luck; what training reached with its interval, exact limits dashed."""
    figure = new_figure(1, 1, legend_inches=1.6)
    axes = figure.add_subplot()
    for number, name in enumerate(dict.fromkeys(row["agent"] for row in rows)):
        mine = [row for row in rows if row["agent"] == name]
        luck, values = [row["luck_share"] for row in mine], [row["regret"]["value"] for row in mine]
        low, high = ([row["regret"][end] for row in mine] for end in ("low", "high"))
        axes.plot(luck, values, "o-", color=f"C{number}", label=name)
        axes.fill_between(luck, low, high, color=f"C{number}", alpha=0.15)
        for what, style in (("limit", "--"), ("without_luck", ":")):
            if what in mine[0]["limits"]:
                label = f"{name}, exact limit" if what == "limit" else f"{name}, without luck"
                axes.plot(luck, [row["limits"][what] for row in mine], style, color=f"C{number}", label=label)
    axes.set_xlabel("share of luck in the variance of logged returns")
    axes.set_ylabel("regret: 0 the optimum, 1 the logs")
    figure.legend(loc="outside lower center", fontsize=7, ncols=3)
    return png(figure, 110)


if __name__ == "__main__":
    main()
