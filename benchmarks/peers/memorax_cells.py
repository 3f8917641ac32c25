"""Whether memorax's sequence models act as they train, and forget what a reset ends.

    git clone https://github.com/memory-rl/memorax
    python benchmarks/peers/environment.py flashbax benchmarks/peers/memorax_cells.py --path memorax

Each model reads random inputs as a whole, as in training, and step by step with its carry handed on, as in acting; and
what follows a reset is read again without what went before it. Printed are the largest differences relative to the
largest output. A right model shows rounding, 1e-6 or so. For this suite's memories a test holds the same differences to
1e-10 in double precision (`tests/networks/test_memories.py`).
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.results.provenance import write_measurement

B, T, FEATURES, RESET = 2, 12, 8, 5


def differences(model: Any, inputs: Array) -> tuple[float, float]:
    """Of steps and of a fresh start at a reset from the whole, relative."""
    nothing = jnp.zeros((B, T))
    weights = model.init(jax.random.key(1), inputs, nothing)
    read = lambda x, done, carry=None: model.apply(weights, x, done, carry)
    _, whole = read(inputs, nothing)
    largest = float(jnp.abs(whole).max())
    carry, steps = model.apply(weights, jax.random.key(0), (B, FEATURES), method="initialize_carry"), []
    for t in range(T):
        carry, out = read(inputs[:, t : t + 1], nothing[:, t : t + 1], carry)
        steps.append(out)
    _, cut = read(inputs, nothing.at[:, RESET].set(1.0))
    _, fresh = read(inputs[:, RESET:], nothing[:, RESET:])
    far = lambda a, b: float(jnp.abs(a - b).max()) / largest
    return far(jnp.concatenate(steps, 1), whole), far(cut[:, RESET:], fresh)


def sequence_models(path: Path) -> Any:
    """The module of this checkout, without its algorithms and what those need installed."""
    for name in ("memorax", "memorax.networks", "memorax.utils"):
        package = types.ModuleType(name)
        package.__path__ = [str(path / name.replace(".", "/"))]
        sys.modules[name] = package
    return importlib.import_module("memorax.networks.sequence_models")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, required=True, help="a checkout")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    models = sequence_models(options.path)

    cells = {
        "FFM": models.FFMCell(FEATURES, 8, 4),
        "LRU": models.LRUCell(FEATURES, 16),
        "S5": models.S5Cell(FEATURES, 16),
        "Mamba-2": models.MambaCell(FEATURES),
        "mLSTM": models.mLSTMCell(FEATURES, 16),
        "minGRU": models.MinGRUCell(FEATURES),
        "linear attention": models.LinearAttentionCell(FEATURES, 2, 4),
    }
    inputs = jax.random.normal(jax.random.key(0), (B, T, FEATURES))
    rows = []
    for name, cell in cells.items():
        steps, reset = differences(models.Memoroid(cell), inputs)
        rows.append({"cell": name, "steps": steps, "reset": reset})
        print(f"{name:<18} steps {steps:8.1e}   behind a reset {reset:8.1e}", flush=True)
    if options.out:
        write_measurement(options.out, {"rows": rows})


if __name__ == "__main__":
    main()
