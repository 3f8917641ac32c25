import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from seqrl_jax.checkpoint import load_tree, read_metadata, save_tree


def everything():
    """A leaf of every kind that a run's state may hold."""
    return {
        "key": jax.random.key(3),
        "keys": jax.random.split(jax.random.key(1, impl="rbg"), 3),
        "scalar": jnp.float32(1.5),
        "half": jnp.arange(3, dtype=jnp.bfloat16) / 3,
        "quarter": jnp.ones(2, jnp.float8_e4m3fn),
        "empty": jnp.zeros((0, 3)),
        "flags": (jnp.array([True, False]), np.array(False)),
        "double": [np.arange(3.0) / 3, np.array(2**63, np.uint64)],
        "transposed": np.arange(6).reshape(2, 3).T,
        "nan": jnp.array([np.nan, -0.0, np.inf]),
    }


def bits(tree):
    is_key = lambda leaf: jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return [np.asarray(jax.random.key_data(x) if is_key(x) else x).tobytes() for x in jax.tree.leaves(tree)]


def test_every_kind_of_leaf_comes_back_to_the_bit(tmp_path):
    tree = everything()
    save_tree(tmp_path / "x", tree, {"chunk": 3})
    loaded = load_tree(tmp_path / "x", tree)
    assert bits(loaded) == bits(tree) and jax.tree.structure(loaded) == jax.tree.structure(tree)
    for ours, theirs in zip(jax.tree.leaves(loaded), jax.tree.leaves(tree), strict=True):
        assert (ours.dtype, ours.shape, type(ours)) == (theirs.dtype, theirs.shape, type(theirs))
    assert read_metadata(tmp_path / "x") == {"chunk": 3}
    assert jax.random.uniform(loaded["key"]) == jax.random.uniform(tree["key"])


def test_a_single_leaf_is_a_tree(tmp_path):
    save_tree(tmp_path / "x", np.arange(3), {})
    np.testing.assert_array_equal(load_tree(tmp_path / "x", np.zeros(3, int)), np.arange(3))


def test_leaves_are_laid_over_the_devices_of_the_example(tmp_path):
    spread = NamedSharding(Mesh(np.array(jax.devices()[:1]), ("runs",)), PartitionSpec("runs"))
    like = {
        name: jax.device_put(leaf, spread)
        for name, leaf in (("w", jnp.zeros(4)), ("k", jax.random.split(jax.random.key(0), 4)))
    }
    save_tree(tmp_path / "x", {"w": jnp.ones(4), "k": jax.random.split(jax.random.key(5), 4)}, {})
    loaded = load_tree(tmp_path / "x", like)
    assert all(leaf.sharding == spread for leaf in loaded.values())


def test_leaves_are_bound_to_a_device_only_where_those_of_the_example_are(tmp_path):
    """`jit` compiles again for an argument that is bound where it was free before."""
    (device,) = jax.devices()[:1]
    like = {"w": jnp.zeros(4), "k": jax.random.key(0), "bound": jax.device_put(jnp.zeros(4), device)}
    save_tree(tmp_path / "x", like, {})
    loaded = load_tree(tmp_path / "x", like)
    assert {name: leaf.committed for name, leaf in loaded.items()} == {"w": False, "k": False, "bound": True}


@pytest.mark.parametrize(
    "like, named",
    [
        ({"a": jnp.zeros(2), "b": jnp.zeros(1)}, r"\['a'\] is float32\[3\], expected float32\[2\]"),
        ({"a": jnp.zeros(3, int), "b": jnp.zeros(1)}, r"\['a'\] is float32\[3\], expected int32\[3\]"),
        ({"a": jnp.zeros(3), "b": jnp.zeros(1), "c": jnp.zeros(1)}, r"\['c'\] is nothing, expected float32\[1\]"),
        ({"a": jnp.zeros(3)}, r"\['b'\] has no place"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, like, named):
    save_tree(tmp_path / "x", {"a": jnp.zeros(3), "b": jnp.zeros(1)}, {})
    with pytest.raises(ValueError, match=named):
        load_tree(tmp_path / "x", like)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", bytes(100), None])
def test_what_is_no_checkpoint_is_named(tmp_path, content):
    """None: a directory."""
    if content is None:
        (tmp_path / "x").mkdir()
    else:
        (tmp_path / "x").write_bytes(content)
    for read in (lambda path: load_tree(path, jnp.zeros(3)), read_metadata):
        with pytest.raises(ValueError, match="x: not a checkpoint"):
            read(tmp_path / "x")
