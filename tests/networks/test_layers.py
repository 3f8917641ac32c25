import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.networks.layers import Dense, product


@pytest.mark.parametrize("lead", [(), (3,), (3, 2), (3, 2, 4)])
def test_a_product_and_its_gradients_are_those_of_all_axes_at_once(lead):
    rng = np.random.default_rng(0)
    x, kernel, by = (jnp.asarray(rng.normal(size=size), jnp.float32) for size in ((*lead, 5), (5, 6), (*lead, 6)))
    out, gradient = jax.vjp(product, x, kernel)
    along_x, along_kernel = gradient(by)
    np.testing.assert_allclose(out, np.einsum("...i,if->...f", x, kernel), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(along_x, np.einsum("...f,if->...i", by, kernel), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        along_kernel, np.einsum("ri,rf->if", np.reshape(x, (-1, 5)), np.reshape(by, (-1, 6))), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_linear_layer_is_flaxs_by_name_and_value(dtype):
    x = jax.random.normal(jax.random.key(0), (4, 3, 2, 8))

    class Named(nn.Module):
        layer: type[nn.Dense]

        @nn.compact
        def __call__(self, x):
            return self.layer(5, dtype=dtype)(x)

    weights = Named(nn.Dense).init(jax.random.key(1), x)
    jax.tree.map(np.testing.assert_array_equal, weights, Named(Dense).init(jax.random.key(1), x))
    ours, theirs = (Named(layer).apply(weights, x) for layer in (Dense, nn.Dense))
    assert ours.dtype == theirs.dtype == dtype
    np.testing.assert_allclose(ours.astype("float32"), theirs.astype("float32"), rtol=1e-2, atol=1e-2)
