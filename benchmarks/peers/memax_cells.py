"""Whether memax's layers act as they train, forget what a reset ends, and hold what the cells of their names hold.

    python benchmarks/peers/environment.py memax benchmarks/peers/memax_cells.py --out memax_cells.json

Each layer reads random inputs as a whole, as in training, and step by step with its state handed on, as in acting; and
what follows a reset is read again without what went before it. Where this suite has the same cell, it takes the layer's
weights, and the states of every step are held against each other: what stands in front of a cell and behind it is each
package's own. Printed are the largest differences relative to the largest output, or state. Rounding is 1e-6 or so.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from memax.equinox.semigroups import attn, delta, deltap, fart, ffm, fwp, gdn, lrnn, lru, s6
from memax.equinox.set_actions import elman, gru, lstm, mgu

from seqrl_jax.networks.base import Memory
from seqrl_jax.networks.ffm import FFM
from seqrl_jax.networks.linear import LRU
from seqrl_jax.networks.linear_attention import LinearAttention
from seqrl_jax.networks.recurrent import LSTM
from seqrl_jax.results.provenance import write_measurement

T, WIDTH, RESET = 12, 8, 5
TRACES, CONTEXTS = 6, 4


class Ours(NamedTuple):
    """This suite's cell of the same equations. weights: of the layer, under our names. state, carry: of the layer's
    state and of our carry, what both should hold."""

    memory: Memory
    weights: Callable[[Any], Mapping[str, Any]]
    state: Callable[[Any], Array]
    carry: Callable[[Any], Array]


def linear(layer: Any) -> dict[str, Array]:
    """A layer of equinox as one of ours over a single code."""
    return {"kernel_0": layer.weight.T, "bias": layer.bias}


def lru_weights(layer: Any) -> dict[str, Any]:
    """Ours scales inputs by sqrt((1 - |lambda|^2) / 2), theirs by a weight that begins at sqrt(1 - |lambda|^2)."""
    into = jnp.concatenate([layer.B_re, layer.B_im]).T * 2**0.5
    return {"log_rate": layer.nu_log, "phase": jnp.exp(layer.theta_log), "input": {"kernel_0": into}}


def ffm_weights(layer: Any) -> dict[str, Any]:
    rate, frequency = layer.algebra.algebra.params
    gate = linear(layer.gate_in.linear)
    return {"rate": rate, "frequency": frequency, "trace": linear(layer.pre), "input_gate": gate}


def lstm_weights(layer: Any) -> dict[str, Any]:
    cell = layer.algebra.algebra
    gates = [(cell.W_i, cell.U_i), (cell.W_f, cell.U_f), (cell.W_o, cell.U_o), (cell.W_c, cell.U_c)]
    stacked = lambda arrays: jnp.stack(list(arrays))
    return {
        "input_kernel_0": stacked(into.weight.T for into, _ in gates),
        "input_bias": stacked(into.bias for into, _ in gates),
        "recurrent_kernel": stacked(back.weight.T for _, back in gates),
        "recurrent_bias": jnp.zeros((4, WIDTH)),
    }


def attention_weights(layer: Any) -> dict[str, Any]:
    """Theirs is told nothing of time."""
    into = jnp.concatenate([part.weight for part in (layer.Q, layer.K, layer.V)]).T
    return {"projection": {"kernel_0": into}, "position": {"kernel": jnp.zeros((WIDTH, 2 * WIDTH))}}


LAYERS: dict[str, tuple[Callable[[Array], Any], Ours | None]] = {
    "LRU": (
        lambda key: lru.LRU(WIDTH, WIDTH, key),
        Ours(LRU(WIDTH), lru_weights, lambda state: state[1], lambda carry: carry[0]),
    ),
    "FFM": (
        lambda key: ffm.FFM(WIDTH, TRACES, CONTEXTS, key),
        Ours(FFM(WIDTH, TRACES, CONTEXTS), ffm_weights, lambda state: state[0].reshape(-1), lambda carry: carry[0]),
    ),
    "LSTM": (
        lambda key: lstm.LSTM(WIDTH, key),
        Ours(LSTM(WIDTH), lstm_weights, lambda state: state[1], lambda carry: carry[0][0]),
    ),
    "linear attention, sum of values": (
        lambda key: fart.FART(WIDTH, WIDTH, key),
        Ours(
            LinearAttention(WIDTH, heads=1),
            attention_weights,
            lambda state: state[0],
            lambda carry: carry[0][0, 0, :, :-1],
        ),
    ),
    "linear attention, normaliser": (
        lambda key: fart.FART(WIDTH, WIDTH, key),
        Ours(
            LinearAttention(WIDTH, heads=1),
            attention_weights,
            lambda state: state[1],
            lambda carry: carry[0][0, 0, :, -1],
        ),
    ),
    "GRU": (lambda key: gru.GRU(WIDTH, key), None),
    "MGU": (lambda key: mgu.MGU(WIDTH, key), None),
    "Elman": (lambda key: elman.Elman(WIDTH, WIDTH, key=key), None),
    "linear recurrence": (lambda key: lrnn.LinearRecurrent(WIDTH, key), None),
    "S6 (Mamba)": (lambda key: s6.S6(WIDTH, WIDTH, key), None),
    "DeltaNet": (lambda key: delta.DeltaNet(WIDTH, WIDTH, key), None),
    "DeltaProduct": (lambda key: deltap.DeltaProduct(WIDTH, WIDTH, 2, key), None),
    "gated DeltaNet": (lambda key: gdn.GDN(WIDTH, WIDTH, key), None),
    "fast weights": (lambda key: fwp.FWP(WIDTH, WIDTH, key), None),
    "attention": (lambda key: attn.Attention(WIDTH, T, "rope", key), None),
}
"""Each layer, and ours where the equations of the cell are the same: their GRU resets before the product, ours behind
it; their gated DeltaNet writes with twice a sigmoid and has no convolution."""


def differences(layer: Any, inputs: Array) -> tuple[float, float]:
    """Of steps and of a fresh start at a reset from the whole, relative."""
    began = jnp.zeros(T, bool).at[0].set(True)
    start = layer.initialize_carry()
    _, whole = layer(start, (inputs, began))
    state, steps = start, []
    for t in range(T):
        states, out = layer(state, (inputs[t : t + 1], began[t : t + 1]))
        state = layer.latest_recurrent_state(states)
        steps.append(out)
    _, cut = layer(start, (inputs, began.at[RESET].set(True)))
    _, fresh = layer(start, (inputs[RESET:], began[: T - RESET]))
    largest = float(jnp.abs(whole).max())
    far = lambda a, b: float(jnp.abs(a - b).max()) / largest
    return far(jnp.concatenate(steps), whole), far(cut[RESET:], fresh)


def from_ours(layer: Any, ours: Ours, inputs: Array) -> float:
    """Of the layer's states from those of our cell with its weights, at every step."""
    began, xs = jnp.zeros((T, 1), bool), (inputs[:, None],)
    carry = ours.memory.initial_carry(1)
    drawn = ours.memory.init(jax.random.key(0), carry, xs, began)
    weights = {"params": {**drawn["params"], **ours.weights(layer)}}
    states, _ = layer(layer.initialize_carry(), (inputs, began[:, 0].at[0].set(True)))
    theirs, held = jax.vmap(ours.state)(states[0]), []
    for t in range(T):
        carry, _ = ours.memory.apply(weights, carry, (xs[0][t : t + 1],), began[t : t + 1])
        held.append(ours.carry(carry))
    return float(jnp.abs(theirs - jnp.stack(held)).max() / jnp.abs(theirs).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    inputs = jax.random.normal(jax.random.key(0), (T, WIDTH))
    rows = []
    for name, (make, ours) in LAYERS.items():
        layer = make(jax.random.key(1))
        steps, reset = differences(layer, inputs)
        held = from_ours(layer, ours, inputs) if ours else None
        rows.append({"cell": name, "steps": steps, "reset": reset, "ours": held})
        shown = "" if held is None else f"   from ours {held:8.1e}"
        print(f"{name:<32} steps {steps:8.1e}   behind a reset {reset:8.1e}{shown}", flush=True)
    if options.out:
        write_measurement(options.out, {"rows": rows, "memax": version("memax")})


if __name__ == "__main__":
    main()
