"""What others' released tasks are worth: popgym-arcade's card games, and pobax's T-maze solved exactly.

    python benchmarks/peer_tasks.py popgym_arcade --out benchmarks/results/peers/popgym_arcade_tasks.json
    python benchmarks/peer_tasks.py pobax --out benchmarks/results/peers/pobax_tmaze.json

Each runs in an environment of its own (`benchmarks/peers/environment.py`). `first_error` is what a package says that is
imported with what it asks for and no more; None where it starts. Of pobax's T-maze its own `step_env` gives the table
(`benchmarks/peers/pobax_tmaze.py`), which is solved with the horizon and discount of this suite's, as that is.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from typing import Any

from peers.environment import printed_by, python_of

from seqrl_jax.exact.solve import solve_anew
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.tasks.build import Outcome, build, ends, goes, uniform
from seqrl_jax.tasks.environments import environment
from seqrl_jax.tasks.mazes import tmaze
from seqrl_jax.tasks.ready import HISTORY
from seqrl_jax.tasks.tabular import TabularPOMDP

OURS = {
    "AutoEncodeEasy": "autoencode_cards:decks=1",
    "AutoEncodeMedium": "autoencode_cards:decks=2",
    "AutoEncodeHard": "autoencode_cards:decks=3",
    "CountRecallEasy": "count_recall_cards:decks=1,kinds=colours",
    "CountRecallMedium": "count_recall_cards:decks=2,kinds=colours",
    "CountRecallHard": "count_recall_cards:decks=3,kinds=suits",
}
"""The same kinds of cards and numbers of decks, which are half as large there."""
WITHOUT = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {hidden!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}')
sys.meta_path.insert(0, Hidden())
import {module}
"""
LENGTH = 5


def first_error(peer: str, module: str, hidden: tuple[str, ...]) -> str | None:
    """The last line of what importing a module says where the packages that it does not ask for are not there."""
    program = WITHOUT.format(hidden=hidden, module=module)
    done = subprocess.run([python_of(peer), "-c", program], capture_output=True, text=True, check=False)
    return done.stderr.splitlines()[-1] if done.returncode else None


def arcade() -> dict[str, Any]:
    """What its card games are worth, beside ours."""
    measured = printed_by("popgym_arcade", "popgym_arcade_tasks.py")
    for row in measured["rows"]:
        row["ours"] = OURS[row["game"]]
        row["certified"] = environment(row["ours"]).certified[HISTORY].lower
    return {**measured, "first_error": first_error("popgym_arcade", "popgym_arcade", ("six",))}


def solved(task: TabularPOMDP) -> dict[str, list[float]]:
    """The ends of its values."""
    return {name: [value.lower, value.upper] for name, value in solve_anew(task).values.items()}


def pobax_tmaze() -> dict[str, Any]:
    """The values of its T-maze and of ours, of the same size."""
    printed = printed_by("pobax", "pobax_tmaze.py", "--length", str(LENGTH))
    rows = {(row["goal"], row["cell"]): row for row in printed["rows"]}
    ours = tmaze(LENGTH)
    actions = ["north", "south", "east", "west"]

    def shown(state: tuple[int, int]) -> str:
        return "o" + "".join(str(int(each)) for each in rows[state]["shown"])

    def step(state: tuple[int, int], action: str) -> Outcome:
        cell, reward, done = rows[state]["steps"][actions.index(action)]
        return ends(reward) if done else goes((state[0], cell), reward)

    theirs = build(
        name="pobax_tmaze",
        states=list(rows),
        actions=actions,
        observations=sorted({shown(state) for state in rows}),
        start=uniform([(0, 0), (1, 0)]),
        step=step,
        observe=shown,
        discount=ours.discount,
        horizon=ours.horizon,
    )
    kept = {name: printed[name] for name in ("first_error", "peer_versions")}
    return {
        **kept,
        "length": LENGTH,
        "horizon": ours.horizon,
        "discount": ours.discount,
        "theirs": solved(theirs),
        "ours": solved(ours),
    }


PEERS = {"popgym_arcade": arcade, "pobax": pobax_tmaze}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    measured = PEERS[options.peer]()
    print(measured)
    if options.out:
        write_measurement(options.out, measured)


if __name__ == "__main__":
    main()
