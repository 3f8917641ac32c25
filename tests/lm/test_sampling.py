import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.lm.base import completion_logits, token_log_probs
from seqrl_jax.lm.exact import completions
from seqrl_jax.lm.sampling import drawn_mask, sample
from seqrl_jax.networks import GRU
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.rnn import RNN

V, P, L, END = 4, 2, 3, 3
MODELS = [GPT(V, context=P + L, width=8, layers=2, heads=2), RNN(V, 8, GRU(8))]
DRAW = jax.jit(sample, static_argnames=("model", "length", "end"))
LOGITS = jax.jit(completion_logits, static_argnames="model")
LOG_PROBS = jax.jit(token_log_probs, static_argnames="model")
LONGER = [GPT(6, context=9, width=8, layers=2, heads=2), RNN(6, 8, GRU(8))]


@pytest.mark.parametrize("model", MODELS, ids=["gpt", "rnn"])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_what_is_drawn_has_the_law_that_the_model_gives_it(model, temperature, shaken):
    """The frequency of every completion within 5 standard errors of its probability: 40 completions, false alarms 2e-5;
    and the log-probabilities that come with the draws are those of a second pass."""
    draws = 20_000
    weights = shaken(model)
    prompt = jnp.broadcast_to(jnp.array([1, 2]), (draws, P))
    drawn = DRAW(model, weights, jax.random.key(0), prompt, L, END, temperature)

    texts = completions(V, L, END)
    behind = jnp.broadcast_to(jnp.array([1, 2]), (len(texts), P))
    logits = LOGITS(model, weights, behind, jnp.asarray(texts)) / temperature
    logs = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.asarray(texts)[..., None], -1)[..., 0]
    law = np.exp(np.where(drawn_mask(texts, END), logs, 0.0).sum(1), dtype=np.float64)
    assert law.sum() == pytest.approx(1, abs=1e-5)
    number = np.asarray(drawn.tokens) @ V ** np.arange(L - 1, -1, -1)
    seen = np.bincount(number, minlength=V**L)[texts @ V ** np.arange(L - 1, -1, -1)]
    assert seen.sum() == draws
    assert (np.abs(seen / draws - law) <= 5 * np.sqrt(law * (1 - law) / draws)).all()

    if temperature == 1:
        again = jnp.where(drawn.mask, LOG_PROBS(model, weights, prompt, drawn.tokens), 0.0)
        np.testing.assert_allclose(drawn.log_prob, again, atol=1e-5)


def test_nothing_is_said_behind_the_end():
    tokens = jnp.array([[0, 3, 3], [3, 3, 3], [0, 1, 2], [1, 2, 3]])
    expected = [[True, True, False], [True, False, False], [True] * 3, [True] * 3]
    np.testing.assert_array_equal(drawn_mask(tokens, END), expected)
    assert drawn_mask(tokens, None).all()


def test_drawn_masks_stop_with_the_end(shaken):
    model = MODELS[0]
    drawn = DRAW(model, shaken(model), jax.random.key(1), jnp.zeros((500, P), jnp.int32), L, END)
    np.testing.assert_array_equal(drawn.mask, drawn_mask(drawn.tokens, END))
    behind = ~np.asarray(drawn.mask)
    assert behind.any()
    assert (np.asarray(drawn.tokens)[behind] == END).all()
    assert (np.asarray(drawn.log_prob)[behind] == 0).all()


@pytest.mark.parametrize("model", LONGER, ids=["gpt", "rnn"])
def test_prompts_of_any_length_are_answered_as_each_would_be_alone(model, shaken):
    """Cold enough that every draw is the likeliest token; what stands before a prompt is nothing to it."""
    weights, cold, room = shaken(model), 1e-4, 4
    prompts, begins = [[3, 1, 4], [1], [5, 2, 0, 5, 1]], jnp.array([2, 4, 0])
    for before in (0, 5):
        tokens = jnp.array([[before] * (5 - len(prompt)) + prompt for prompt in prompts])
        together = DRAW(model, weights, jax.random.key(2), tokens, room, temperature=cold, begins=begins)
        for row, prompt in enumerate(prompts):
            alone = DRAW(model, weights, jax.random.key(3), jnp.array([prompt]), room, temperature=cold)
            np.testing.assert_array_equal(together.tokens[row], alone.tokens[0])
            np.testing.assert_allclose(together.log_prob[row], alone.log_prob[0], atol=1e-3)


@pytest.mark.parametrize("model", LONGER, ids=["gpt", "rnn"])
def test_a_single_token_is_drawn_from_the_last_of_the_prompt(model, shaken):
    weights, prompt = shaken(model), jnp.array([[3, 1, 4], [0, 2, 2]])
    drawn = DRAW(model, weights, jax.random.key(0), prompt, 1)
    logs = jax.nn.log_softmax(jax.jit(model.apply)(weights, prompt)[:, -1])
    np.testing.assert_allclose(drawn.log_prob[:, 0], logs[jnp.arange(2), drawn.tokens[:, 0]], atol=1e-5)
