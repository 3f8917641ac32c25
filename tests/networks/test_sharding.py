"""A language model over a mesh learns what it learns on one device, and each device holds a part of it."""

import json
import os
import subprocess
import sys

import pytest

from seqrl_jax.networks.sharding import Layout

CODE = """
import dataclasses, json, re, sys
from pathlib import Path
import jax
import numpy as np
jax.config.update("jax_num_cpu_devices", 8)
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.sharding import Layout, bytes_on_each, over_data, weight_shardings
from seqrl_jax.text.run import Files, run_text
from seqrl_jax.text.settings import ModelSettings, TextRun
from seqrl_jax.text.weights import load_gpt

here = Path(sys.argv[1])
data = here / "data.jsonl"
data.write_text("".join(json.dumps({"text": f"{n} times {n} is {n * n}"}) + "\\n" for n in range(40)))
run = TextRun("sft", steps=4, batch=8, context=32, learning_rate=0.01, log_every=1)
sizes = ModelSettings(width=32, layers=2, heads=4)
told = {}
for name, layout in (("one", Layout()), ("eight", Layout(4, 2))):
    report = run_text(run, Files(data), here / name, sizes, layout=layout)
    told[name] = [point["loss"] for point in report.curve]
# Both go on, on one device.
longer = dataclasses.replace(run, steps=6)
for name in ("one", "eight"):
    report = run_text(longer, Files(data), here / name, sizes)
    told[name + " longer"] = [point["loss"] for point in report.curve]
weights = [load_gpt(here / name)[1] for name in ("one", "eight")]
told["apart"] = max(float(abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, weights)))

model = GPT(256, context=32, width=32, layers=2, heads=4)
weights = model.initial_weights(jax.random.key(0))
mesh = Layout(4, 2).mesh()
spread = jax.device_put(weights, weight_shardings(mesh, weights))
told["share"] = bytes_on_each(spread) / sum(leaf.nbytes for leaf in jax.tree.leaves(weights))
kernel = spread["params"]["h"]["mlp"]["c_fc"]["kernel"]
told["kernel"] = [kernel.shape, kernel.sharding.shard_shape(kernel.shape)]
tokens = over_data(mesh, np.zeros((8, 16), np.int32))
text = jax.jit(lambda weights, tokens: model.apply(weights, tokens)).lower(spread, tokens).compile().as_text()
told["gathers"] = len(re.findall("all-gather[(]", text))
print(json.dumps(told))
"""


def test_a_mesh_learns_what_one_device_learns(tmp_path):
    """Eight virtual devices, in a process of their own; sums are reordered, and nothing else is different."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["eight"] == pytest.approx(told["one"], rel=1e-5)
    assert told["one"][-1] < told["one"][0]
    assert told["eight longer"] == pytest.approx(told["one longer"], rel=1e-4) and len(told["one longer"]) == 6
    assert told["apart"] < 1e-3
    # An eighth of each matrix, and all of what is small: norms, biases and positions.
    assert 1 / 8 < told["share"] < 1 / 4
    assert told["kernel"] == [[2, 32, 128], [2, 8, 64]]
    assert told["gathers"] > 0


def test_a_mesh_of_more_devices_than_there_are_is_refused():
    with pytest.raises(ValueError, match="a mesh of 1000x2 needs 2000 devices, and jax has"):
        Layout(1000, 2).mesh()
