"""Rows of every track by two processes are those by one with as many devices, bit for bit, and stop and go on alike."""

from processes import by_itself, in_two

CODE = """
import json, sys
from pathlib import Path
import jax
from seqrl_jax.failures import Interrupted
from seqrl_jax.runs.interrupt import Interrupt
from seqrl_jax.runs.observer import Unwatched
from seqrl_jax.runs.plan import Order
from seqrl_jax.runs.runner import run
from seqrl_jax.tracks.base import Budget
from seqrl_jax.tracks.registry import track

here, told = Path(sys.argv[1]), {}

def fill(name, tasks, methods, budget, out, observer=None, interrupt=None):
    chosen = track(name)
    order = Order(chosen, methods, chosen.problems(tasks, lambda done, total: None), budget, "own")
    for record in run(order, here / out, observer, interrupt):
        told[f"{out}: {record.method} on {record.task}"] = [
            record.metrics, {name: curve.values for name, curve in record.curves.items()}
        ]

valued = ["tiger", "aliased_line"], ["reward_to_go"], Budget(3000, 3, (0, 1))
fill("pomdp", *valued, "whole")
fill("pomdp", ["aliased_line"], ["reward_to_go:memory=gru,width=8"], Budget(1500, 1, (0, 1, 2)), "played")
fill("lm", ["reversal:model=rnn"], ["rloo"], Budget(4, 2, (0, 1, 2)), "lm")
fill("dialogue", ["twenty_questions:objects=2,turns=2"], ["mc_q:view=utterance"], Budget(12, 2, (0, 1, 2)), "dialogue")

interrupt = Interrupt()
class Second(Unwatched):
    # The second process gets a signal before the first chunk, which all end and keep.
    def chunk(self, progress):
        if jax.process_index():
            interrupt.request(15)
try:
    fill("pomdp", *valued, "parts", Second(), interrupt)
except Interrupted as interrupted:
    told["ended"] = [str(interrupted), sorted(path.name for path in (here / "parts/.run").glob("*/*"))]
fill("pomdp", *valued, "parts")
print(json.dumps(told))
"""


def test_two_processes_fill_the_tables_that_one_fills(tmp_path):
    alone = by_itself(CODE, str(tmp_path / "one"))
    first, second = in_two(CODE, str(tmp_path / "two"))
    assert first == second
    assert len(first) == 2 + 1 + 1 + 1 + 1 + 2
    said, left = first.pop("ended")
    assert said == "ended by SIGTERM; the same command goes on from here"
    assert left == ["loop-0.safetensors", "manifest.json"]
    assert first == alone
    for cell in (cell for cell in first if cell.startswith("parts")):
        assert first[cell] == first[cell.replace("parts", "whole")]
