from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.networks.causal import SMALLEST, causal_attention


def by_jax(query, key, value, visible):
    places_first = (array.swapaxes(1, 2) for array in (query, key, value))
    return jax.nn.dot_product_attention(*places_first, is_causal=True, mask=visible).swapaxes(1, 2)


@pytest.mark.parametrize("length", [5, SMALLEST, 2 * SMALLEST + 3, 5 * SMALLEST])
@pytest.mark.parametrize("packed", [False, True])
def test_blocks_are_attention_and_have_its_gradient(length, packed):
    """One block, two of unequal size, and the most."""
    keys = jax.random.split(jax.random.key(0), 4)
    parts = tuple(jax.random.normal(key, (2, 3, length, 8)) for key in keys[:3])
    text = jnp.sort(jax.random.randint(keys[3], (2, length), 0, 3), 1)
    visible = (text[:, :, None] == text[:, None])[:, None] if packed else None

    @partial(jax.jit, static_argnums=0)
    def mixed(attend, *parts):
        mixed, back = jax.vjp(lambda *parts: attend(*parts, visible), *parts)
        return mixed, back(jnp.cos(mixed))

    compared = [mixed(attend, *parts) for attend in (causal_attention, by_jax)]
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=2e-5), *compared)
