"""Every kind of run over a mesh of devices is that of one device; sums are reordered, and nothing else is different."""

import pytest
from processes import by_itself

CODE = """
import json, sys
from pathlib import Path
import jax
from seqrl_jax.networks.sharding import Layout
from seqrl_jax.text.run import run_text
from seqrl_jax.text.settings import Files, ModelSettings, TextRun

here = Path(sys.argv[1])
texts, pairs, prompts = (here / f"{name}.jsonl" for name in ("texts", "pairs", "prompts"))
numbers = range(2, 42)
lines = lambda rows: "".join(json.dumps(row) + "\\n" for row in rows)
texts.write_text(lines({"text": f"{n} times {n} is {n * n}"} for n in numbers))
pairs.write_text(lines({"prompt": f"{n} times {n} is ", "chosen": str(n * n), "rejected": str(n)} for n in numbers))
prompts.write_text(lines({"prompt": f"{n} times {n} is "} for n in numbers))
run = lambda method, **rest: TextRun(method, **{"steps": 2, "batch": 8, "context": 48, "log_every": 1, **rest})
new, same = ModelSettings(width=16, layers=1, heads=4), ModelSettings()
run_text(run("sft"), Files(texts), here / "sft", new)
run_text(run("rm"), Files(pairs, start=here / "sft"), here / "rm", same)
runs = {
    "packed": (run("sft", batch=4, packing=True), Files(texts), new),
    "dpo": (run("dpo"), Files(pairs, start=here / "sft"), same),
    "rloo": (run("rloo", batch=16, group=4, answer=8), Files(prompts, start=here / "sft", reward=here / "rm"), same),
}
losses = {}
for name, (settings, files, sizes) in runs.items():
    for layout in (Layout(), Layout(2, 2)):
        report = run_text(settings, files, here / f"{name}{layout.data}", sizes, layout=layout)
        losses.setdefault(name, []).append([point["loss"] for point in report.curve])
print(json.dumps(losses))
"""


def test_packed_texts_preferences_and_policy_gradients_learn_alike_over_a_mesh(tmp_path):
    losses = by_itself(CODE, str(tmp_path), devices=4)
    assert set(losses) == {"packed", "dpo", "rloo"}
    for one, four in losses.values():
        assert len(one) == 2 and one[0] != one[1]
        assert four == pytest.approx(one, rel=1e-3, abs=1e-4)
