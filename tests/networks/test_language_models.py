import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gpt2 import gpt2

from seqrl_jax.networks import GRU, LSTM
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.rnn import RNN
from seqrl_jax.text.weights import by_name

B, T, V = 3, 9, 11
MODELS = {
    "gpt": GPT(V, context=12, width=16, layers=3, heads=4),
    "unlike_gpt_2": GPT(V, 12, 16, 3, 4, activation="silu", layer_norm_epsilon=0.1, tied=False),
    "gru": RNN(V, 16, GRU(16)),
    "lstm": RNN(V, 16, LSTM(16)),
}


@partial(jax.jit, static_argnames=("model", "method"))
def apply(model, *inputs, method=None):
    return model.apply(*inputs, method=method)


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]


@pytest.fixture(scope="module")
def tokens():
    return jax.random.randint(jax.random.key(5), (B, T), 0, V)


def test_reading_in_parts_is_reading_the_whole(model, tokens, shaken):
    """The cache's logits equal those of the full pass, whatever the parts."""
    weights = shaken(model)
    whole = apply(model, weights, tokens)
    for cuts in ([1] * T, [4, 1, 1, 3], [T]):
        carry, parts, at = model.initial_carry(B, T), [], 0
        for size in cuts:
            carry, hidden = apply(model, weights, carry, tokens[:, at : at + size], method="read")
            parts.append(apply(model, weights, hidden, method="logits"))
            at += size
        np.testing.assert_allclose(jnp.concatenate(parts, 1), whole, atol=1e-5)


def test_no_token_is_seen_before_it_is_read(model, tokens, shaken):
    weights = shaken(model)
    other = tokens.at[:, 5].set((tokens[:, 5] + 1) % V)
    one, two = (apply(model, weights, text) for text in (tokens, other))
    np.testing.assert_array_equal(one[:, :5], two[:, :5])
    assert (np.abs(one - two)[:, 5:].max(-1) > 1e-4).all()


def test_the_transformer_is_gpt_2(tokens, shaken):
    model = MODELS["gpt"]
    weights = shaken(model)
    np.testing.assert_allclose(apply(model, weights, tokens), gpt2(by_name(weights), tokens, 3, 4), atol=2e-5)


def test_recomputing_activations_changes_no_gradient(tokens, shaken):
    model = MODELS["gpt"]
    weights = shaken(model)

    def gradient(model):
        return jax.jit(jax.grad(lambda w: model.apply(w, tokens).std()))(weights)

    one, two = gradient(model), gradient(dataclasses.replace(model, remat=True))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one, two)


def test_half_precision_is_close_and_ends_in_float32(tokens, shaken):
    model = MODELS["gpt"]
    weights = shaken(model)
    # jax's own attention promotes dtypes.
    with jax.numpy_dtype_promotion("standard"):
        half = apply(dataclasses.replace(model, dtype="bfloat16"), weights, tokens)
    full = apply(model, weights, tokens)
    assert half.dtype == jnp.float32
    # Eight bits of mantissa, three layers.
    assert 1e-5 < float(jnp.abs(half - full).max()) < 0.05 * float(jnp.abs(full).max())


def test_a_text_longer_than_the_context_is_refused(shaken):
    model = MODELS["gpt"]
    with pytest.raises(ValueError, match="13 tokens is longer than the model's context of 12"):
        model.apply(shaken(model), jnp.zeros((1, 13), jnp.int32))
    with pytest.raises(ValueError, match="13 tokens"):
        model.initial_carry(1, 13)
    with pytest.raises(ValueError, match="width is 16 and heads is 3: heads must divide width"):
        GPT(V, 12, width=16, heads=3)
    with pytest.raises(ValueError, match="attention is cudnn and dtype is float32: cudnn needs bfloat16"):
        GPT(V, 12, attention="cudnn")
    with pytest.raises(ValueError, match="width is 32 and heads is 8: cudnn needs a multiple of 8"):
        GPT(V, 12, heads=8, dtype="bfloat16", attention="cudnn")


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="needs an NVIDIA device")
def test_fused_attention_computes_what_xla_does():
    """Logits and gradients, to what eight bits of mantissa leave; also with weights of several models under `vmap`."""
    model = GPT(V, 64, width=128, layers=2, heads=2, dtype="bfloat16")
    weights = jax.vmap(model.initial_weights)(jax.random.split(jax.random.key(0), 3))
    tokens = jax.random.randint(jax.random.key(1), (4, 64), 0, V)

    def of(model):
        square = lambda weights: jnp.square(model.apply(weights, tokens)).mean()
        return jax.jit(jax.vmap(jax.value_and_grad(square)))(weights)

    # jax's own attention promotes dtypes.
    with jax.numpy_dtype_promotion("standard"):
        both = of(model), of(model.clone(attention="cudnn"))
    for ours, theirs in zip(*map(jax.tree.leaves, both), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.03 * float(jnp.abs(ours).max()))


def test_settings_of_gpt_have_domains():
    with pytest.raises(ValueError, match="activation is 'mish', expected one of gelu_new, "):
        GPT(V, 12, activation="mish")
    with pytest.raises(ValueError, match="layer_norm_epsilon is 0, expected a number >= 1e-30"):
        GPT(V, 12, layer_norm_epsilon=0)


def test_a_memory_of_another_width_is_refused():
    with pytest.raises(ValueError, match="the memory's outputs are 8 wide, the embedding 16"):
        RNN(V, 16, GRU(8)).initial_weights(jax.random.key(0))


def test_initial_weights_are_gpt_2s():
    """Standard deviation .02, smaller by sqrt(2 layers) where a block adds to the stream: each within 5 standard
    errors of n numbers' deviation, 1 / sqrt(2 n) of it."""
    tensors = by_name(GPT(257, context=64, width=64, layers=8, heads=4).initial_weights(jax.random.key(0)))
    for name, tensor in tensors.items():
        if tensor.ndim == 1:
            expected = 1.0 if "ln_" in name and name.endswith("weight") else 0.0
            np.testing.assert_array_equal(tensor, np.full(tensor.shape, expected))
        else:
            deviation = 0.02 / 4 if "c_proj" in name else 0.02
            assert abs(float(tensor.std()) / deviation - 1) < 5 / np.sqrt(2 * tensor.size)
    assert float(jnp.abs(tensors["h.0.mlp.c_fc.weight"] - tensors["h.1.mlp.c_fc.weight"]).max()) > 0.01


def test_the_last_block_can_be_exchanged(tokens, shaken):
    model = MODELS["gpt"]
    weights, other = shaken(model), shaken(model, 3)
    mixed = by_name(model.with_last_block(weights, model.last_block(other)))
    one, two = by_name(weights), by_name(other)
    for name, tensor in mixed.items():
        np.testing.assert_array_equal(tensor, two[name] if name.startswith("h.2.") else one[name])
    with pytest.raises(ValueError, match="only a transformer has a last block"):
        MODELS["gru"].last_block(shaken(MODELS["gru"]))
