import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.networks.distributions import Categorical, masked_categorical, uniform

LOGITS = jnp.array([[0.5, -1.0, 2.0, 0.0, 1.0], [0.0, 3.0, -2.0, 0.5, -0.5]])
MASK = jnp.array([[True, True, False, True, False], [False, True, True, True, True]])


@pytest.mark.parametrize("mask", [jnp.ones_like(MASK), MASK], ids=["all", "masked"])
def test_draws_have_the_distribution(mask):
    """Frequencies within 5 standard errors (10 outcomes: false alarms 6e-6); what is impossible is never drawn."""
    draws = 40_000
    outcomes = np.asarray(Categorical(LOGITS, mask).sample(seed=jax.random.key(0), sample_shape=draws))
    assert outcomes.shape == (draws, 2) and outcomes.dtype == np.int32
    weights = np.where(mask, np.exp(np.asarray(LOGITS, np.float64)), 0.0)
    expected = weights / weights.sum(1, keepdims=True)
    frequency = np.stack([np.bincount(row, minlength=5) for row in outcomes.T]) / draws
    assert (np.abs(frequency - expected) <= 5 * np.sqrt(expected * (1 - expected) / draws)).all()
    assert (frequency[~np.asarray(mask)] == 0).all()


def test_an_outcome_is_the_inverse_of_the_cumulative_distribution_at_one_uniform_number():
    key, probs = jax.random.key(3), np.asarray(jax.nn.softmax(LOGITS))
    at = np.asarray(jax.random.uniform(key, (2,)))
    expected = [np.searchsorted(np.cumsum(row), u, side="right") for row, u in zip(probs, at, strict=True)]
    np.testing.assert_array_equal(Categorical(LOGITS).sample(seed=key), expected)


def test_without_a_mask_it_is_distrax_s():
    ours, theirs = Categorical(LOGITS), distrax.Categorical(LOGITS)
    value = jnp.array([2, 0])
    np.testing.assert_array_equal(ours.log_prob(value), theirs.log_prob(value))
    np.testing.assert_array_equal(ours.entropy(), theirs.entropy())
    other = Categorical(LOGITS[::-1])
    np.testing.assert_array_equal(ours.kl_divergence(other), theirs.kl_divergence(distrax.Categorical(LOGITS[::-1])))


def test_what_is_impossible_counts_for_nothing():
    """Values and gradients are those of the distribution over the rest."""

    def measures(one, two):
        return one.entropy() + 2 * one.kl_divergence(two) + 3 * one.log_prob(jnp.array(1))

    def masked(logits, other):
        mask = jnp.array([True, True, False, True])
        return measures(masked_categorical(logits, mask), masked_categorical(other, mask))

    def without(logits, other):
        rest = jnp.array([0, 1, 3])
        return measures(Categorical(logits[rest]), Categorical(other[rest]))

    one, two = LOGITS[0, :4], LOGITS[1, :4]
    value, gradient = jax.jit(jax.value_and_grad(masked, argnums=(0, 1)))(one, two)
    expected, expected_gradient = jax.jit(jax.value_and_grad(without, argnums=(0, 1)))(one, two)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(jnp.stack(gradient), jnp.stack(expected_gradient), atol=1e-6)


def test_uniform_is_over_what_the_mask_allows():
    np.testing.assert_allclose(uniform(MASK[0], 3).probs, np.tile([1 / 3, 1 / 3, 0, 1 / 3, 0], (3, 1)), atol=1e-7)
