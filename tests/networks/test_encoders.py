import jax
import numpy as np
import pytest

from seqrl_jax.networks.encoders import patches


@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 2, 4)])
def test_a_linear_layer_of_patches_is_a_convolution(shape):
    image = jax.random.normal(jax.random.key(0), (2, *shape))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, shape[-1], 6))
    layout = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=layout)
    np.testing.assert_allclose(patches(image) @ kernel.reshape(-1, 6), expected, atol=1e-5)
