import jax
import numpy as np
import pytest

from seqrl_jax.lm.base import completion_logits, token_log_probs
from seqrl_jax.networks import GRU
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.rnn import RNN


@pytest.mark.parametrize("model", [GPT(11, context=12, width=16, heads=4), RNN(11, 16, GRU(16))], ids=["gpt", "rnn"])
def test_completions_are_scored_behind_their_prompts(model, shaken):
    weights, tokens = shaken(model), jax.random.randint(jax.random.key(5), (3, 9), 0, 11)
    prompt, completion = tokens[:, :4], tokens[:, 4:]
    logs = jax.nn.log_softmax(jax.jit(model.apply)(weights, tokens))[:, 3:-1]
    logits = jax.jit(completion_logits, static_argnums=0)(model, weights, prompt, completion)
    np.testing.assert_allclose(jax.nn.log_softmax(logits), logs, atol=1e-5)
    expected = np.take_along_axis(np.asarray(logs), np.asarray(completion)[..., None], -1)[..., 0]
    log_prob = jax.jit(token_log_probs, static_argnums=0)(model, weights, prompt, completion)
    np.testing.assert_allclose(log_prob, expected, atol=1e-5)
