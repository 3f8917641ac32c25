import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.agents import replay

B, N = 3, 4


def block(number):
    """One block whose every entry tells which one it is: [B, 2] of number * 10 + env."""
    tags = number * 10 + jnp.arange(B)
    return {"tag": jnp.stack([tags, tags], 1)}


def filled(blocks):
    ring = replay.empty(N, jax.eval_shape(lambda: block(0)))
    for number in range(blocks):
        ring = replay.add(ring, block(number))
    return ring


def tags(ring, drawn):
    return np.asarray(replay.read(ring, drawn.slot, drawn.env)["tag"][:, 0])


def draw(ring, count, exponent=0.0, after_another=False):
    return replay.sample(jax.random.key(0), ring, count, exponent, after_another)


@pytest.mark.parametrize("blocks", [1, 3, 4, 5, 11])
def test_the_ring_holds_the_last_blocks_and_nothing_else(blocks):
    ring = filled(blocks)
    kept = range(max(0, blocks - N), blocks)
    assert set(tags(ring, draw(ring, 500))) == {10 * number + env for number in kept for env in range(B)}


def test_without_priorities_all_sequences_are_alike():
    """12,000 draws over 12 places: each count within 5 standard deviations of 1,000; false alarms 7e-6 in all."""
    ring = filled(7)
    ring = replay.set_priority(ring, draw(ring, 6), jnp.arange(6.0))
    drawn = draw(ring, 12_000)
    counts = np.bincount(np.asarray(drawn.slot * B + drawn.env), minlength=N * B)
    assert (np.abs(counts - 1000) < 5 * (1000 * 11 / 12) ** 0.5).all()
    np.testing.assert_allclose(drawn.probability, 1 / 12, rtol=1e-5)


def test_sequences_are_drawn_in_proportion_to_a_power_of_their_priority():
    ring = filled(1)
    everything = replay.Draw(jnp.zeros(B, jnp.int32), jnp.arange(B), jnp.ones(B))
    ring = replay.set_priority(ring, everything, jnp.array([1.0, 4.0, 9.0]))
    drawn = draw(ring, 60_000, exponent=0.5)
    counts = np.bincount(np.asarray(drawn.env), minlength=B) / 60_000
    np.testing.assert_allclose(counts, [1 / 6, 2 / 6, 3 / 6], atol=5 * 0.5 / 60_000**0.5)
    np.testing.assert_allclose(drawn.probability, (np.asarray(drawn.env) + 1) / 6, rtol=1e-5)


def test_a_new_block_gets_the_largest_priority_as_it_is():
    ring = filled(2)
    one = replay.Draw(jnp.array([0]), jnp.array([1]), jnp.ones(1))
    ring = replay.add(replay.set_priority(ring, one, jnp.array([2.75])), block(2))
    np.testing.assert_array_equal(ring.priority[2], 2.75)


def test_a_sequence_without_error_can_still_be_drawn():
    """A priority of 0 marks an empty place; a run in which nothing was paid yet has no errors at all."""
    ring = filled(2)
    drawn = draw(ring, 100)
    ring = replay.set_priority(ring, drawn, jnp.zeros(100))
    again = draw(ring, 100, exponent=0.9)
    assert set(tags(ring, again)) == {0, 1, 2, 10, 11, 12}
    assert np.isfinite(np.asarray(again.probability)).all()


def test_of_a_sequence_drawn_twice_the_larger_error_stays():
    ring = filled(1)
    twice = replay.Draw(jnp.zeros(2, jnp.int32), jnp.zeros(2, jnp.int32), jnp.ones(2))
    assert replay.set_priority(ring, twice, jnp.array([3.0, 2.0])).priority[0, 0] == 3


@pytest.mark.parametrize("blocks", [1, 2, 4, 6, 8])
def test_a_block_is_read_after_the_one_before_it(blocks):
    """The first block of a run has none; else the predecessor is the block that was added just before."""
    ring = filled(blocks)
    drawn = draw(ring, 300, after_another=True)
    numbers = tags(ring, drawn) // 10
    before = np.asarray(replay.read(ring, replay.before(ring, drawn.slot), drawn.env)["tag"][:, 0]) // 10
    assert (before[numbers > 0] == numbers[numbers > 0] - 1).all()
    assert set(numbers) == set(range(max(0, blocks - N + (blocks > N)), blocks))


def test_runs_are_stacked_and_scanned():
    def run(key):
        def step(ring, key):
            ring = replay.add(ring, block(ring.added))
            drawn = replay.sample(key, ring, 5, 0.0, False)
            return ring, replay.read(ring, drawn.slot, drawn.env)["tag"][:, 0] // 10

        return jax.lax.scan(step, filled(0), jax.random.split(key, 9))[1]

    seen = np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 3)))
    newest = np.arange(9)[None, :, None]
    assert ((seen <= newest) & (seen > newest - N) & (seen >= 0)).all()
    assert (seen[0] != seen[1]).any()
