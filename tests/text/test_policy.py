"""What is read of drawn answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.lm.sampling import Completions
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.text.policy import divergence


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
