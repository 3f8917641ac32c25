"""Alignment by two processes is that by one with as many devices: sums are reordered, and nothing else is different."""

import json
import os
import signal

import jax
import pytest
from processes import by_itself, ended, free_port, in_two, start

from seqrl_jax.text.weights import load_gpt

CODE = """
import dataclasses, json, sys
from pathlib import Path
import jax
from seqrl_jax import hosts
from seqrl_jax.networks.sharding import Layout
from seqrl_jax.text.run import run_text
from seqrl_jax.text.settings import Files, ModelSettings, TextRun

here, data = Path(sys.argv[1]), Path(sys.argv[2])
texts, pairs, prompts = (data / f"{name}.jsonl" for name in ("texts", "pairs", "prompts"))
run = lambda method, **rest: TextRun(method, **{"steps": 2, "batch": 8, "context": 48, "log_every": 1, **rest})
new, same, mesh = ModelSettings(width=16, layers=1, heads=4), ModelSettings(), Layout(2, 2)
told = {}
def learn(name, settings, files, sizes):
    report = run_text(settings, files, here / name, sizes, layout=mesh)
    told[name] = [point["loss"] for point in report.curve] + [report.samples_after and report.samples_after[0]["said"]]
learn("sft", run("sft", packing=True), Files(texts), new)
learn("sft", run("sft", packing=True, steps=4), Files(texts), new)
learn("rm", run("rm"), Files(pairs, start=here / "sft"), same)
files = Files(prompts, start=here / "sft", reward=here / "rm")
learn("rloo", run("rloo", batch=16, group=4, answer=8), files, same)
try:
    run_text(run("sft", seed=jax.process_index()), Files(texts), here / "other", new, layout=mesh)
except ValueError as error:
    told["differ"] = str(error)
print(json.dumps(told))
"""


@pytest.fixture
def data(tmp_path):
    """A folder with small texts, pairs and prompts."""
    lines = lambda rows: "".join(json.dumps(row) + "\n" for row in rows)
    said = [(f"{n} times {n} is ", str(n * n), str(n)) for n in range(2, 42)]
    (tmp_path / "texts.jsonl").write_text(lines({"text": prompt + right} for prompt, right, _ in said))
    pairs = lines({"prompt": prompt, "chosen": right, "rejected": wrong} for prompt, right, wrong in said)
    (tmp_path / "pairs.jsonl").write_text(pairs)
    (tmp_path / "prompts.jsonl").write_text(lines({"prompt": prompt} for prompt, _, _ in said))
    return tmp_path


def test_two_processes_learn_what_one_learns(data):
    """Also where they go on from a checkpoint, begin with weights from a file and climb a learned reward."""
    alone = by_itself(CODE, str(data / "one"), str(data))
    first, second = in_two(CODE, str(data / "two"), str(data))
    assert first == second and first.pop("differ").startswith("processes differ in their data, weights or settings")
    assert set(first) == set(alone) - {"differ"} and len(first["sft"]) == 5
    for name, losses in first.items():
        assert losses[:-1] == pytest.approx(alone[name][:-1], rel=1e-5, abs=1e-5) and losses[0] != losses[1]
    for name in ("sft", "rm", "rloo"):
        ours, theirs = (jax.tree.leaves(load_gpt(data / folder / name)[1]) for folder in ("one", "two"))
        assert max(float(abs(one - other).max()) for one, other in zip(ours, theirs, strict=True)) < 1e-4


def test_a_signal_to_one_process_ends_both_with_a_checkpoint(data, tmp_path):
    """Afterwards the same command goes on, and learns what an undisturbed process learns."""
    words = "--steps 120 --batch 8 --context 32 --width 16 --layers 1 --heads 4 --log-every 5 --mesh 4x1 --json --out"

    def seqrl(out, *place, devices):
        command = ["-m", "seqrl_jax.cli", "align", str(data / "texts.jsonl"), *words.split(), str(tmp_path / out)]
        return start([*command, *place], devices)

    def both():
        place = f"--coordinator localhost:{free_port()} --processes 2 --process".split()
        return [seqrl("parts", *place, str(process), devices=2) for process in range(2)]

    stopped = both()
    while "step 5 " not in (line := stopped[0].stderr.readline()):
        assert line, stopped[1].communicate()[1][-3000:]
    os.kill(stopped[1].pid, signal.SIGTERM)
    results = ended(*stopped)
    assert [returned for returned, _, _ in results] == [143, 143], results
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["training.safetensors"]
    results = [*ended(*both()), *ended(seqrl("whole", devices=4))]
    assert [returned for returned, _, _ in results] == [0] * 3, results
    assert results[1][1] == "", "the second process prints"
    parts, whole = ([point["loss"] for point in json.loads(results[place][1])["curve"]] for place in (0, 2))
    assert len(parts) == 24 and parts == pytest.approx(whole, rel=1e-4)
