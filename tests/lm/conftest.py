import jax.numpy as jnp
import pytest


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
