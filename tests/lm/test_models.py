import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from seqrl_jax.lm.base import completion_logits, next_token_logits, token_log_probs
from seqrl_jax.lm.gpt import GPT
from seqrl_jax.lm.rnn import RNN
from seqrl_jax.memory import GRU, LSTM

B, T, V = 3, 9, 11
MODELS = {
    "gpt": GPT(V, context=12, width=16, layers=3, heads=4),
    "gru": RNN(V, GRU(16)),
    "lstm": RNN(V, LSTM(16)),
}


LOGITS = jax.jit(next_token_logits, static_argnames="model")
READ = jax.jit(lambda model, weights, carry, tokens: model.read(weights, carry, tokens), static_argnames="model")


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]


@pytest.fixture(scope="module")
def tokens():
    return jax.random.randint(jax.random.key(5), (B, T), 0, V)


def test_reading_in_parts_is_reading_the_whole(model, tokens, shaken):
    """The cache's logits equal those of the full pass, whatever the parts."""
    weights = shaken(model)
    whole = LOGITS(model, weights, tokens)
    for cuts in ([1] * T, [4, 1, 1, 3], [T]):
        carry, parts, at = model.initialise(weights, B, T), [], 0
        for size in cuts:
            carry, hidden = READ(model, weights, carry, tokens[:, at : at + size])
            parts.append(model.logits(weights, hidden))
            at += size
        np.testing.assert_allclose(jnp.concatenate(parts, 1), whole, atol=1e-5)


def test_no_token_is_seen_before_it_is_read(model, tokens, shaken):
    weights = shaken(model)
    other = tokens.at[:, 5].set((tokens[:, 5] + 1) % V)
    one, two = (LOGITS(model, weights, text) for text in (tokens, other))
    np.testing.assert_array_equal(one[:, :5], two[:, :5])
    assert (np.abs(one - two)[:, 5:].max(-1) > 1e-4).all()


def gpt2(weights, tokens, heads):
    """GPT-2's forward pass, one text at a time, in plain numpy."""
    w = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), weights)

    def norm(p, x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * p["weight"] + p["bias"]

    def gelu(x):
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    def linear(p, x):
        return x @ p["weight"] + p["bias"]

    out = []
    for text in np.asarray(tokens):
        x = w["wte"]["weight"][text] + w["wpe"]["weight"][: len(text)]
        for layer in range(len(w["h"]["ln_1"]["weight"])):
            p = jax.tree.map(lambda leaf, layer=layer: leaf[layer], w["h"])
            q, k, v = np.split(linear(p["attn"]["c_attn"], norm(p["ln_1"], x)), 3, -1)
            mixed = []
            for q_h, k_h, v_h in zip(*(np.split(part, heads, -1) for part in (q, k, v)), strict=True):
                scores = q_h @ k_h.T / np.sqrt(q_h.shape[-1])
                scores[np.triu_indices(len(text), 1)] = -np.inf
                share = np.exp(scores - scores.max(-1, keepdims=True))
                mixed.append(share / share.sum(-1, keepdims=True) @ v_h)
            x = x + linear(p["attn"]["c_proj"], np.concatenate(mixed, -1))
            x = x + linear(p["mlp"]["c_proj"], gelu(linear(p["mlp"]["c_fc"], norm(p["ln_2"], x))))
        out.append(norm(w["ln_f"], x) @ w["wte"]["weight"].T)
    return np.array(out)


def test_the_transformer_is_gpt_2(tokens, shaken):
    model = MODELS["gpt"]
    weights = shaken(model)
    np.testing.assert_allclose(LOGITS(model, weights, tokens), gpt2(weights, tokens, 4), atol=2e-5)


def test_the_activation_is_the_one_by_tanh():
    """GPT-2 approximates x Phi(x); the exact form differs by up to 5e-4, which tells the two apart."""
    x = jnp.linspace(-4, 4, 801)
    apart = np.abs(np.asarray(jax.nn.gelu(x)) - 0.5 * x * (1 + erf(x / np.sqrt(2))))
    assert 1e-4 < apart.max() < 1e-3


def test_recomputing_activations_changes_no_gradient(tokens, shaken):
    model = MODELS["gpt"]
    weights = shaken(model)

    def gradient(model):
        return jax.jit(jax.grad(lambda w: next_token_logits(model, w, tokens).astype(jnp.float32).std()))(weights)

    one, two = gradient(model), gradient(dataclasses.replace(model, remat=True))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one, two)


def test_half_precision_is_close_and_ends_in_float32(tokens, shaken):
    model = MODELS["gpt"]
    weights = shaken(model)
    half = LOGITS(dataclasses.replace(model, dtype="bfloat16"), weights, tokens)
    full = LOGITS(model, weights, tokens)
    assert half.dtype == jnp.float32
    # Eight bits of mantissa, three layers.
    assert 1e-5 < float(jnp.abs(half - full).max()) < 0.05 * float(jnp.abs(full).max())


def test_completions_are_scored_behind_their_prompts(model, tokens, shaken):
    weights = shaken(model)
    prompt, completion = tokens[:, :4], tokens[:, 4:]
    logs = jax.nn.log_softmax(LOGITS(model, weights, tokens))[:, 3:-1]
    np.testing.assert_allclose(
        jax.nn.log_softmax(completion_logits(model, weights, prompt, completion)), logs, atol=1e-5
    )
    expected = np.take_along_axis(np.asarray(logs), np.asarray(completion)[..., None], -1)[..., 0]
    np.testing.assert_allclose(token_log_probs(model, weights, prompt, completion), expected, atol=1e-5)


def test_a_text_longer_than_the_context_is_refused(shaken):
    model = MODELS["gpt"]
    with pytest.raises(ValueError, match="13 tokens is longer than the model's context of 12"):
        next_token_logits(model, shaken(model), jnp.zeros((1, 13), jnp.int32))
    with pytest.raises(ValueError, match="13 tokens"):
        model.initialise(shaken(model), 1, 13)
    with pytest.raises(ValueError, match="width is 16 and heads is 3: heads must divide width"):
        GPT(V, 12, width=16, heads=3)
