"""Which languages two agents invent, and whether these speak of objects that nobody has spoken of before.

    python benchmarks/task_and_talk.py --out benchmarks/results/task_and_talk_cpu.json

The game and the finding are those of Kottur, Moura, Lee & Batra (2017), "Natural language does not emerge 'naturally'
in multi-agent dialog": 64 objects, a fifth of which is held out; two rounds of a question and an answer; both agents
learn. With many symbols, or an answerer who remembers, languages serve the objects of training and no others; with few
symbols and no memory each question comes to stand for an attribute, and the language generalises. `paper` is their
table 1: the share of held-out objects and tasks of which both guesses are right, of one run each; the other teams are
not in it.

Everything is judged by greedy agents on all objects and tasks. A seed draws weights and which objects are held out.
`solved` are the seeds whose agents are right about every object and task of training, as all of the paper's are, and
`held_out_solved` is the mean of these alone. `disentanglement` is 1 where every answer tells of one attribute alone,
which the question chose; `information` is the share of an attribute's entropy that the answers to one question tell,
of the question that tells most, as a mean over attributes (see `dialogue.cooperative.language`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.devices import over_devices
from seqrl_jax.dialogue.cooperative import (
    Reinforce,
    Team,
    accuracy,
    best_information,
    disentanglement,
    meaning,
    transcript,
)
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.results.statistics import difference, estimate

TEAMS = {
    "overcomplete_memory": Team(questions=64, answers=64, remembers=True),
    "attribute_value_memory": Team(questions=3, answers=12, remembers=True),
    "attribute_value": Team(questions=3, answers=12),
    "minimal_memory": Team(questions=3, answers=4, remembers=True),
    "minimal": Team(questions=3, answers=4),
}
PAPER = {"overcomplete_memory": 0.256, "attribute_value_memory": 0.385, "minimal": 0.744}
HELD_OUT = 0.2
COLUMNS = ("train", "train_one", "held_out", "held_out_one", "disentanglement", "information")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teams", nargs="+", default=list(TEAMS), choices=list(TEAMS))
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--updates", type=int, default=Reinforce().updates)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    use_every_core()
    began = time.perf_counter()
    measured = trained({name: TEAMS[name] for name in options.teams}, Reinforce(updates=options.updates), options.seeds)
    rows = [row(name, columns) for name, columns in measured.items()]
    gains = {
        f"minimal - {name}": difference([np.stack([measured["minimal"]["held_out"], other["held_out"]], 1)]).as_json()
        for name, other in measured.items()
        if "minimal" in measured and name != "minimal"
    }
    print(table(rows), f"{time.perf_counter() - began:.0f} s", sep="\n")
    if options.out:
        budget = {"seeds": options.seeds, "updates": options.updates}
        write_measurement(options.out, {"rows": rows, "gains": gains, **budget})


def one_run(team: Team, method: Reinforce, key: Array) -> dict[str, Array]:
    """Every column, of one seed."""
    split_key, train_key = jax.random.split(key)
    objects, others = team.world.split(split_key, HELD_OUT)
    weights, _ = method.train(team, objects, train_key)
    train, held_out = (accuracy(team.world, transcript(team, weights, part)) for part in (objects, others))
    means = meaning(team, transcript(team, weights, jnp.asarray(team.world.objects)))
    return {
        "train": train.both,
        "train_one": train.one,
        "held_out": held_out.both,
        "held_out_one": held_out.one,
        "disentanglement": disentanglement(means),
        "information": best_information(team.world, means).mean(),
    }


def trained(teams: Mapping[str, Team], method: Reinforce, seeds: int) -> dict[str, dict[str, np.ndarray]]:
    """The columns [seeds] of each team: all of them are one program, spread by seeds over all devices."""
    spread = over_devices(seeds)
    keys = jax.device_put(jax.vmap(jax.random.key)(spread.index), spread.sharding)
    program = jax.jit(
        lambda keys: {name: jax.vmap(partial(one_run, team, method))(keys) for name, team in teams.items()},
        out_shardings=spread.sharding,
    )
    return jax.tree.map(lambda column: np.asarray(column, np.float64)[:seeds], program(keys))


def row(name: str, measured: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Means with their intervals, and every seed."""
    team, solved = TEAMS[name], measured["train"] == 1
    return {
        "team": name,
        "questions": team.questions,
        "answers": team.answers,
        "memory": team.remembers,
        "paper": PAPER.get(name),
        **{column: estimate(values, within=(0.0, 1.0)).as_json() for column, values in measured.items()},
        "solved": int(solved.sum()),
        "held_out_solved": float(measured["held_out"][solved].mean()) if solved.any() else None,
        "by_seed": {column: values.tolist() for column, values in measured.items()},
    }


def table(rows: list[dict[str, Any]]) -> str:
    """What is printed: a mean and its interval in each column, and what the paper has."""
    number = lambda value: "" if value is None else f"{value:.2f}"
    cell = lambda value: f"{value['value']:.2f} [{number(value['low'])}, {number(value['high'])}]"
    lines = [("team", *COLUMNS, "solved", "held_out_solved", "paper")]
    for row in rows:
        numbers = (str(row["solved"]), number(row["held_out_solved"]), number(row["paper"]))
        lines.append((row["team"], *(cell(row[column]) for column in COLUMNS), *numbers))
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(word.ljust(width) for word, width in zip(line, widths)).rstrip() for line in lines)


if __name__ == "__main__":
    main()
