from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from seqrl_jax.lm.base import token_distribution
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.throughput.ceilings import peak_of
from seqrl_jax.throughput.lm import OCCUPATIONS, forward_flops, reading, speeds, step_of, writing


def test_operations_are_those_that_the_compiler_counts():
    """Forward and backward of one block, within 10%: the compiler also counts norms, the softmax and the loss."""
    model = GPT(257, context=64, width=128, layers=1, heads=4)
    weights = model.initial_weights(jax.random.key(0))
    tokens = jnp.zeros((4, 65), jnp.int32)

    def loss(weights, tokens):
        return -token_distribution(model.apply(weights, tokens[:, :-1])).log_prob(tokens[:, 1:]).mean()

    counted = jax.jit(jax.grad(loss)).lower(weights, tokens).compile().cost_analysis()["flops"]
    assert counted == pytest.approx(3 * forward_flops(model, 64) * 4 * 64, rel=0.1)


def test_the_default_model_has_25_million_weights():
    model = GPT(257, context=256, width=512, layers=8, heads=8)
    shapes = jax.eval_shape(model.initial_weights, jax.random.key(0))
    assert 25e6 < sum(leaf.size for leaf in jax.tree.leaves(shapes)) < 26e6


def test_a_step_moves_every_weight_and_its_speed_adds_up():
    model = GPT(257, context=8, width=8, layers=2, heads=2, dtype="bfloat16", remat=True)
    # jax's own attention promotes dtypes.
    with jax.numpy_dtype_promotion("standard"):
        (row,) = speeds(model, batch=2, repeats=2, of=["training"])
        program = step_of(model, model.initial_weights(jax.random.key(0)), 2)
        after = [float(program.run(*program.arguments, jax.random.key(seed))) for seed in (1, 2)]
        assert after[0] != after[1]
    assert row.tokens_per_second == pytest.approx(row.steps_per_second * 16)
    assert 0 < row.share_of_peak < 1 and row.peak_is == "measured"


def test_a_prompt_takes_the_operations_that_the_compiler_counts():
    """Within 10%, as above."""
    model = GPT(257, context=128, width=128, layers=1, heads=4)
    program, tokens, flops = reading(model, model.initial_weights(jax.random.key(0)), 4)
    assert tokens == 4 * 64
    counted = program.run.lower(*program.arguments, jax.random.key(1)).compile().cost_analysis()["flops"]
    assert counted == pytest.approx(flops * tokens, rel=0.1)


def test_what_is_written_is_drawn_behind_its_prompt_and_only_that_counts():
    model = GPT(257, context=9, width=8, layers=2, heads=2)
    program, tokens, _ = writing(model, model.initial_weights(jax.random.key(0)), 3)
    assert tokens == 3 * 4
    sums = {float(program.run(*program.arguments, jax.random.key(seed))) for seed in range(3)}
    assert len(sums) == 3, "other keys draw other texts"


def test_a_model_learns_reads_and_writes_in_turn():
    model = GPT(257, context=8, width=8, layers=2, heads=2)
    rows = {row.what: row for row in speeds(model, batch=2, repeats=2)}
    assert list(rows) == list(OCCUPATIONS)
    assert rows["writing"].tokens_per_second == pytest.approx(rows["writing"].steps_per_second * 8)
    assert all(0 < row.share_of_peak < 1 for row in rows.values())


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5e", 197e12),
        ("TPU v5p", 459e12),
        ("TPU v5", 459e12),
    ],
)
def test_cards_that_share_a_part_of_their_name_have_peaks_of_their_own(monkeypatch, name, peak):
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(device_kind=name)])
    assert peak_of("bfloat16") == (peak, "stated")


def test_a_stated_peak_is_of_half_precision_only(monkeypatch):
    class Device:
        device_kind = "NVIDIA H200"

    # Measured once a process, on a device that there is.
    measured = peak_of("float32")
    monkeypatch.setattr(jax, "devices", lambda: [Device()])
    assert peak_of("bfloat16") == (989e12, "stated")
    assert peak_of("float32") == measured and measured[1] == "measured"
