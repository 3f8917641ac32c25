"""How many parameters the agents of recorded cells train, for records that do not say so themselves.

    python benchmarks/parameters.py benchmarks/results/quick benchmarks/results/pomdp

The counts are those of the tasks and settings that records name, made now; nothing is trained. They go into
`seqrl_jax/results/parameters.json`, which the package ships with, beside those that stand there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from seqrl_jax.agents.registry import make_agent
from seqrl_jax.dialogue.methods import make_method as make_dialogue_method
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.files import write_whole
from seqrl_jax.lm.registry import make_method, make_task_and_model
from seqrl_jax.naming import base
from seqrl_jax.results.parameters import PARAMETERS, PATH
from seqrl_jax.results.record import Record
from seqrl_jax.results.store import read
from seqrl_jax.tasks.environments import environment
from seqrl_jax.tasks.registry import make
from seqrl_jax.tasks.simulator import TabularEnv, TabularParams, tabular_env, tabular_params
from seqrl_jax.tracks import dialogue, lm
from seqrl_jax.tracks.agents import parameters_in
from seqrl_jax.tracks.base import Budget
from seqrl_jax.tracks.oracles import ORACLES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="+", type=Path)
    options = parser.parse_args()
    counts: dict[str, dict[str, dict[str, int]]] = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}
    for directory in options.directories:
        silent = [record for record in read(directory)[0] if PARAMETERS not in record.metrics]
        for record in silent:
            if count := COUNTING[record.track](record):
                counts.setdefault(record.track, {}).setdefault(record.method, {})[record.task] = count
        print(f"{directory.name}: {len(silent)} cells", flush=True)
    write_whole(PATH, (json.dumps(counts, indent=None, sort_keys=True, separators=(",", ":")) + "\n").encode())


def tabular(record: Record) -> int:
    """Of a tabular task; oracles learn nothing."""
    if base(record.method) in ORACLES:
        return 0
    return parameters_in(make_agent(record.method), *tables(record.task), Budget(record.steps_asked, 1, (0,)))


def anywhere(record: Record) -> int:
    """Of an environment."""
    ready = environment(record.task)
    return parameters_in(make_agent(record.method), ready.env, ready.params, Budget(record.steps_asked, 1, (0,)))


def aligned(record: Record) -> int:
    """Of a language model."""
    task, model = language_task(record.task)
    return lm.parameters_of(make_method(record.method), model, task)


def talking(record: Record) -> int:
    """Of a game."""
    return dialogue.parameters_of(make_dialogue_method(record.method), game(record.task))


@cache
def tables(task: str) -> tuple[TabularEnv, TabularParams]:
    """A tabular task, alone in its program."""
    made = make(task)
    return tabular_env(made), tabular_params(made)


language_task, game = cache(make_task_and_model), cache(make_game)
COUNTING: Mapping[str, Callable[[Record], int]] = {
    "pomdp": tabular,
    "environments": anywhere,
    "lm": aligned,
    "dialogue": talking,
}


if __name__ == "__main__":
    main()
