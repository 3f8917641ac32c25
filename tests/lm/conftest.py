import jax
import jax.numpy as jnp
import pytest


@pytest.fixture(scope="session")
def shaken():
    """(model, seed) -> weights about which nothing is special, so that no test leans on zeros or on a small start."""

    def shaken(model, seed=0):
        weights = model.init(jax.random.key(seed))
        leaves, tree = jax.tree.flatten(weights)
        keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
        noisy = [leaf + 0.2 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
        return jax.tree.unflatten(tree, noisy)

    return shaken


@pytest.fixture(scope="session")
def uniform():
    """A model without weights that says every token with the same probability."""

    class Uniform:
        width = 1

        def __init__(self, vocabulary):
            self.vocabulary = vocabulary

        def init(self, key):
            return {}

        def initialise(self, weights, batch, length):
            return jnp.zeros(batch)

        def read(self, weights, carry, tokens):
            return carry, self.hidden(weights, tokens)

        def hidden(self, weights, tokens):
            return jnp.zeros((*tokens.shape, 1))

        def logits(self, weights, hidden):
            return jnp.zeros((*hidden.shape[:-1], self.vocabulary))

    return Uniform
