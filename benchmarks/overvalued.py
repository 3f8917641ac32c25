"""Whether values of what a log never says are too high: Q that was learned from a small log against the exact Q*.

    python benchmarks/overvalued.py --out benchmarks/results/overvalued_cpu.json

Of `negotiation`, by whole utterances. The log is small, so that behind each opening it holds some first utterances and
not others; it is each seed's own. Of both stands the mean of Q - Q*, in units of what lies between the speakers of the
log and the best policy, over openings as the log has them.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.dialogue.data import data_of
from seqrl_jax.dialogue.exact import Known, action_values, seen_in
from seqrl_jax.dialogue.logs import logged
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.dialogue.reader import predictions
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.views import spelling
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.results.statistics import estimate

GAME = "negotiation"
METHODS = ("offline_q", "cql", "ilql")
DIALOGUES = (20, 30, 60)
"""With twice as many, everything that can be said first is said."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=800)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    use_every_core()
    rows: list[dict[str, Any]] = []
    for dialogues in DIALOGUES:
        for name in METHODS:
            by_seed = [excess(name, dialogues, options.updates, seed) for seed in range(options.seeds)]
            said, unsaid, share = np.transpose(by_seed)
            row = {"agent": name, "dialogues": dialogues, "said": estimate(said).as_json()}
            rows.append(row | {"unsaid": estimate(unsaid).as_json(), "share_unsaid": float(share.mean())})
            print(rows[-1], flush=True)
    if options.out:
        budget = {"game": GAME, "seeds": options.seeds, "updates": options.updates}
        write_measurement(options.out, {"rows": rows, **budget})


def excess(name: str, dialogues: int, updates: int, seed: int) -> tuple[float, float, float]:
    """Q - Q* of first utterances that the log says behind their opening, of those that it does not, and how many these
    are of all."""
    game = make_game(GAME)
    known, symbols = Known(game), spelling(game, "utterance")
    log = logged(game, dialogues, seed)
    data, graph = data_of(log, symbols, game.task.discount), known.beliefs.graph
    of_opening = {graph.label[node]: node for node in np.flatnonzero(graph.start)}
    node = np.array([of_opening[opening] for opening in log.reply[:, 0]])
    said = seen_in(known, log.utterance, log.reply, log.length)[0][node]
    true = np.stack([action_values(graph, known.best.values[1])[place] for place in node])
    learned = np.asarray(_learned(name, updates, jax.device_put(data), jax.random.key(seed))) * float(data.unit)
    over = (learned - true) / (known.value(known.best) - known.value(known.logged))
    return over[said].mean(), over[~said].mean(), (~said).mean()


@partial(jax.jit, static_argnames=("name", "updates"))
def _learned(name: str, updates: int, data: Any, key: jax.Array) -> jax.Array:
    """[N, A]: Q of each first utterance behind each opening of the log, in the log's own units."""
    game = make_game(GAME)
    symbols, method = spelling(game, "utterance"), make_method(f"{name}:view=utterance,width=32,updates={updates}")
    step = lambda _, training: method.update(game, symbols, data, training)[0]
    weights = jax.lax.fori_loop(0, updates, step, method.begin(symbols, data, key)).weights
    # Q of what is said first is read behind the opening, which is the first symbol.
    return predictions(method.reader(symbols), weights, data.symbol.T)["q"][0][:, jnp.asarray(symbols.said[:, 0])]


if __name__ == "__main__":
    main()
