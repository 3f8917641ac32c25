"""Texts that answers are drawn into, and what is read of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.lm.base import token_log_probs
from seqrl_jax.lm.sampling import Completions
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.text.encoding import PromptBatch
from seqrl_jax.text.policy import answer, divergence

END, ROOM = 5, 4
PROMPTS = [[END, 3, 1, 4], [END], [END, 2, 0, 1, 1, 3]]


def test_answers_stand_behind_their_prompts_and_leave_a_place_to_read_them_to_their_last_token(shaken):
    model = GPT(END + 1, context=6 + ROOM, width=8, layers=2, heads=2)
    weights = shaken(model)
    size = max(map(len, PROMPTS))
    tokens = np.array([[END] * (size - len(prompt)) + prompt for prompt in PROMPTS], np.int32)
    prompts = PromptBatch(tokens, np.array([size - len(prompt) for prompt in PROMPTS], np.int32), ROOM)
    begin, drawn = jax.jit(answer, static_argnums=(0, 4))(model, weights, jax.random.key(3), prompts, END)
    texts = np.concatenate([begin, drawn.tokens], 1)
    assert texts.shape == (3, size + ROOM + 1)
    for text, mask, prompt in zip(texts, np.asarray(drawn.mask), PROMPTS):
        behind = len(prompt)
        assert text[:behind].tolist() == prompt
        room = text[behind : behind + ROOM].tolist()
        said = room.index(END) + 1 if END in room else ROOM
        assert np.flatnonzero(mask).tolist() == list(range(behind - 1, behind - 1 + said))
        assert (text[behind + said :] == END).all()
    again = jax.jit(token_log_probs, static_argnums=0)(model, weights, begin, drawn.tokens)
    np.testing.assert_allclose(drawn.log_prob, jnp.where(drawn.mask, again, 0.0), atol=1e-5)


def test_the_divergence_is_over_all_tokens_at_the_drawn_places():
    model = GPT(5, context=6, width=8, layers=1, heads=2)
    weights, reference = (
        jax.tree.map(lambda leaf: 9 * leaf, model.initial_weights(jax.random.key(seed))) for seed in range(2)
    )
    begin, tokens = jnp.array([[4], [4]]), jnp.array([[1, 2, 0, 4], [3, 4, 4, 4]])
    mask = np.array([[False, True, True, True], [False, True, False, False]])
    ours, theirs = (
        np.asarray(jax.nn.log_softmax(model.apply(w, jnp.concatenate([begin, tokens[:, :-1]], 1))), np.float64)
        for w in (weights, reference)
    )
    expected = (np.exp(ours) * (ours - theirs)).sum(2)
    drawn = Completions(tokens, jnp.asarray(mask), jnp.zeros(mask.shape))
    measured = divergence(model, weights, reference, begin, drawn)
    assert measured == pytest.approx([expected[0, 1:].sum(), expected[1, 1]], rel=1e-4)
    assert measured.min() > 0.01
