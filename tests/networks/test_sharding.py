"""A language model over a mesh learns what it learns on one device, and each device holds a part of it."""

import pytest
from processes import by_itself

from seqrl_jax.networks.sharding import Layout

CODE = """
import dataclasses, json, re, sys
from pathlib import Path
import jax
import numpy as np
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.sharding import Layout, bytes_on_each, initial_weights, over_data, weight_shardings
from seqrl_jax.text.run import run_text
from seqrl_jax.text.settings import Files, ModelSettings, TextRun
from seqrl_jax.text.weights import load_gpt

here = Path(sys.argv[1])
data = here / "data.jsonl"
data.write_text("".join(json.dumps({"text": f"{n} times {n} is {n * n}"}) + "\\n" for n in range(40)))
run = TextRun("sft", steps=4, batch=8, context=32, learning_rate=0.01, log_every=1)
sizes = ModelSettings(width=32, layers=2, heads=4)
told = {"held": {}}
def most_held():
    # Bytes of all arrays that there are, on the device that has most of them.
    held = {device: 0 for device in jax.devices()}
    for array in jax.live_arrays():
        for shard in array.addressable_shards:
            held[shard.device] += shard.data.nbytes
    return max(held.values())
def learn(name, files, layout):
    look = lambda moment: told["held"].setdefault(name, most_held())
    given = sizes if files.start is None else ModelSettings()
    report = run_text(run, files, here / name, given, progress=look, layout=layout)
    told[name] = [point["loss"] for point in report.curve]
learn("eight", Files(data), Layout(4, 2))
learn("eight from file", Files(data, start=here / "eight"), Layout(4, 2))
learn("one", Files(data), Layout())
# Both go on, on one device.
longer = dataclasses.replace(run, steps=6)
for name in ("one", "eight"):
    report = run_text(longer, Files(data), here / name, sizes)
    told[name + " longer"] = [point["loss"] for point in report.curve]
weights = [load_gpt(here / name)[1] for name in ("one", "eight")]
told["apart"] = max(float(abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, weights)))

# Of bytes and an end, as above.
model = GPT(257, context=32, width=32, layers=2, heads=4)
weights = model.initial_weights(jax.random.key(0))
told["initial"] = []
for shape in ((1, 1), (8, 1), (1, 8), (4, 2)):
    begun = initial_weights(Layout(*shape).mesh(), model, jax.random.key(0))
    pairs = zip(jax.tree.leaves(weights), jax.tree.leaves(begun))
    told["initial"].append(max(float(abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs))
mesh = Layout(4, 2).mesh()
needed = jax.jit(lambda key: initial_weights(mesh, model, key)).lower(jax.random.key(0)).compile().memory_analysis()
told["whole"] = sum(leaf.nbytes for leaf in jax.tree.leaves(weights))
told["needed"] = needed.temp_size_in_bytes + needed.output_size_in_bytes
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
    told = by_itself(CODE, str(tmp_path), devices=8)
    assert told["eight"] == pytest.approx(told["one"], rel=1e-5)
    assert told["one"][-1] < told["one"][0]
    assert told["eight longer"] == pytest.approx(told["one longer"], rel=1e-4) and len(told["one longer"]) == 6
    assert told["apart"] < 1e-3
    # An eighth of each matrix, and all of what is small: norms, biases and positions.
    assert 1 / 8 < told["share"] < 1 / 4
    # The same of the reference, the weights and their two moments, whether they begin anew or from a file.
    four = 4 * told["whole"]
    assert told["held"]["one"] > four
    assert max(told["held"]["eight"], told["held"]["eight from file"]) < 1.1 * told["share"] * four
    # To make them a device needs its share, and the random bits of one matrix.
    assert told["initial"] == [0.0] * 4 and told["needed"] < told["whole"] / 2
    assert told["kernel"] == [[2, 32, 128], [2, 8, 64]]
    assert told["gathers"] > 0


def test_a_mesh_of_more_devices_than_there_are_is_refused():
    with pytest.raises(ValueError, match="a mesh of 1000x2 needs 2000 devices, and jax has"):
        Layout(1000, 2).mesh()
