"""Wrappers in Python: what they do not wrap, and numbers that are none of theirs, are one clear line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.naming import SpecError
from seqrl_jax.tasks import make
from seqrl_jax.tasks import wrappers as public
from seqrl_jax.tasks.environments import environment
from seqrl_jax.tasks.tabular import fingerprint
from seqrl_jax.tasks.wrappers import delay, flicker, flicker_env, frame_stack_env, mask_env, noise_env, sticky

TABLE = make("tiger")
CHAIN = environment("memory_chain:length=3")


@pytest.mark.parametrize("name", [name for name in public.__all__ if name != "WRAPPERS"])
def test_a_form_refuses_what_the_other_one_wraps(name):
    of_table, of_environment = (TABLE, "of TabularPOMDP: it wraps env"), (CHAIN, "of Ready: it wraps tables")
    other, said = of_table if name.endswith("_env") else of_environment
    setting = () if name.startswith("previous") or name == "with_time" else (1,)
    with pytest.raises(TypeError, match=f"^{name} {said}"):
        getattr(public, name)(other, *setting)


@pytest.mark.parametrize(
    ("wrapped", "said"),
    [
        (lambda: delay(TABLE, -1), r"steps is -1, expected a whole number >= 0"),
        (lambda: sticky(TABLE, probability=2.0), r"probability is 2.0, expected a number >= 0 and <= 1"),
        (lambda: flicker_env(CHAIN, float("nan")), r"probability is nan, expected"),
        (lambda: frame_stack_env(CHAIN, 0), r"frames is 0, expected a whole number >= 1"),
        (lambda: noise_env(CHAIN, np.float32(-1)), r"std is -1.0, expected a number >= 0"),
        (lambda: delay(TABLE, 1.5), r"steps is 1.5, expected a whole number"),
        (lambda: flicker_env(CHAIN, jnp.float32(2)), r"probability is 2.0, expected"),
        (lambda: mask_env(CHAIN, [0.5]), r"mask is 0.5: observations have 3 components"),
        (lambda: mask_env(CHAIN, [-1]), r"mask is -1: observations have 3 components"),
        (lambda: mask_env(CHAIN, []), r"mask is nothing: observations have 3 components"),
    ],
)
def test_a_number_outside_of_its_domain_is_refused(wrapped, said):
    with pytest.raises(SpecError, match=f"^{said}"):
        wrapped()


def test_numbers_of_any_kind_and_traced_ones_are_taken():
    for wrap, number in (
        (flicker, np.float64(0.5)),
        (delay, np.int64(1)),
        (delay, np.float32(1)),
        (sticky, jnp.array(0.5)),
    ):
        assert fingerprint(wrap(TABLE, number)) == fingerprint(wrap(TABLE, number.item()))
    assert mask_env(CHAIN, np.array([2, 0])).env.components == (2, 0)
    chances = jax.vmap(lambda chance: flicker_env(CHAIN, chance).params.number)(jnp.array([0.25, 0.5]))
    assert chances.tolist() == [0.25, 0.5]
