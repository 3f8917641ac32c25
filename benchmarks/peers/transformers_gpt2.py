"""Whether `transformers` loads what `save_gpt` writes, and says the same.

python benchmarks/peers/environment.py trl benchmarks/peers/transformers_gpt2.py --out transformers_gpt2_cpu.json
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

from seqrl_jax.networks.gpt import GPT
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.text.weights import load_gpt, save_gpt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    model = GPT(257, context=128, width=128, layers=4, heads=8)
    keys = jax.random.split(jax.random.key(0), 2)
    weights = jax.tree.map(lambda leaf: 3 * leaf + 0.01, model.init(keys[0]))
    tokens = jax.random.randint(keys[1], (4, 128), 0, 257)
    with tempfile.TemporaryDirectory() as folder:
        save_gpt(Path(folder), model, weights)
        theirs = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
        theirs.save_pretrained(Path(folder) / "again")
        _, back = load_gpt(Path(folder) / "again")
    with torch.no_grad():
        expected = theirs(torch.from_numpy(np.asarray(tokens, np.int64))).logits.numpy()
    ours = np.asarray(jax.jit(model.apply)(weights, tokens))
    measured = {
        "largest_logit": float(np.abs(expected).max()),
        "largest_difference": float(np.abs(ours - expected).max()),
        "round_trip_equal": all(
            bool(jnp.array_equal(a, b)) for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(weights), strict=True)
        ),
        "transformers": transformers.__version__,
    }
    print(measured)
    if options.out:
        write_measurement(options.out, measured)


if __name__ == "__main__":
    main()
