"""What holds for every backbone: one property, one naive reference, and what must not cross a reset."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.memory import (
    GRU,
    LRU,
    LSTM,
    MEMORIES,
    FeedForward,
    LinearAttention,
    MinGRU,
    Table,
    Transformer,
    Window,
    dense,
)

T, B, INPUTS = 24, 3, 5
SMALL = {
    "table": Table(),
    "none": FeedForward(8),
    "window": Window(3, 8),
    "gru": GRU(8, block=2),
    "lstm": LSTM(8),
    "lru": LRU(8),
    "mingru": MinGRU(8),
    "linear_attention": LinearAttention(8, heads=2, chunk=4),
    "transformer": Transformer(8, heads=2, layers=2, context=6),
}
HISTORY = [name for name, memory in SMALL.items() if memory.reach is None]


@pytest.fixture(scope="module", params=list(SMALL))
def case(request):
    """(memory, weights, carry that is not empty, inputs, first flags at random places)."""
    memory = SMALL[request.param]
    keys = jax.random.split(jax.random.key(0), 4)
    weights = jax.tree.map(lambda leaf: leaf + 0.1, memory.init(keys[0], dense(INPUTS)))
    before = jax.random.normal(keys[1], (7, B, INPUTS))
    carry, _ = memory.unroll(weights, memory.initialise(weights, B), before, jnp.zeros((7, B), bool))
    xs = jax.random.normal(keys[2], (T, B, INPUTS))
    firsts = jax.random.bernoulli(keys[3], 0.25, (T, B))
    return memory, weights, carry, xs, firsts


def repeated(memory, weights, carry, xs, firsts):
    """Outputs of one step after another."""
    step = jax.jit(memory.step)
    ys = []
    for x, first in zip(xs, firsts, strict=True):
        carry, y = step(weights, carry, x, first)
        ys.append(y)
    return carry, jnp.stack(ys)


def test_every_registered_memory_is_tested():
    assert list(SMALL) == list(MEMORIES)


def test_unroll_is_repeated_step(case):
    memory, weights, carry, xs, firsts = case
    assert firsts.any() and not firsts[0].all()
    after, ys = memory.unroll(weights, carry, xs, firsts)
    stepped_after, stepped = repeated(memory, weights, carry, xs, firsts)
    assert ys.shape == (T, B, memory.features(INPUTS))
    np.testing.assert_allclose(ys, stepped, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), _meaningful(after), _meaningful(stepped_after)
    )


def _meaningful(carry):
    """Cache entries of earlier episodes are masked, not erased."""
    if not hasattr(carry, "valid"):
        return carry
    valid = carry.valid[:, None, :, None].astype(jnp.float32)
    return carry._replace(keys=carry.keys * valid, values=carry.values * valid)


def test_unroll_is_the_whole_history_read_again_at_every_step(case):
    """The naive O(T^2) form: for each t a fresh memory reads the episode from its first step."""
    memory, weights, _, xs, firsts = case
    firsts = firsts.at[0].set(True)
    _, ys = memory.unroll(weights, memory.initialise(weights, B), xs, firsts)
    step = jax.jit(memory.step)
    for t, b in np.random.default_rng(0).integers((T, B), size=(20, 2)):
        began = max(k for k in range(t + 1) if firsts[k, b])
        if t - began > 6:  # beyond the transformer's context
            continue
        carry, again = memory.initialise(weights, 1), None
        for k in range(began, t + 1):
            carry, again = step(weights, carry, xs[k, b][None], jnp.zeros(1, bool))
        np.testing.assert_allclose(ys[t, b], again[0], atol=2e-5)


def test_two_halves_are_the_whole(case):
    memory, weights, carry, xs, firsts = case
    _, whole = memory.unroll(weights, carry, xs, firsts)
    middle, left = memory.unroll(weights, carry, xs[:10], firsts[:10])
    _, right = memory.unroll(weights, middle, xs[10:], firsts[10:])
    np.testing.assert_allclose(whole, jnp.concatenate([left, right]), atol=1e-5)


def test_nothing_comes_back_from_the_future_or_the_next_episode(case):
    memory, weights, carry, xs, firsts = case
    t = 12
    firsts = firsts.at[t].set(True)
    outputs = lambda xs: memory.unroll(weights, carry, xs, firsts)[1]
    changed = outputs(xs.at[t:].add(1.0))
    np.testing.assert_allclose(outputs(xs)[:t], changed[:t], atol=1e-6)


def test_nothing_crosses_a_reset(case):
    """Neither values nor gradients: what was carried, and every input before the reset, may even be infinite."""
    memory, weights, carry, xs, firsts = case
    t = 12
    firsts = firsts.at[t].set(True)

    def after(carry, xs):
        return memory.unroll(weights, carry, xs, firsts)[1][t:]

    moved = jax.tree.map(lambda leaf: leaf + jnp.ones_like(leaf), carry)
    np.testing.assert_array_equal(after(carry, xs), after(moved, xs.at[:t].multiply(-3.0)))
    gradient = jax.grad(lambda xs: jnp.square(after(carry, xs)).sum())(xs)
    assert (gradient[:t] == 0).all()
    assert (jnp.abs(gradient[t:]).sum(-1) > 0).all()


@pytest.mark.parametrize("name", HISTORY)
def test_a_history_reaches_back_to_the_first_observation(name):
    memory = SMALL[name]
    weights = memory.init(jax.random.key(3), dense(INPUTS))
    xs = jax.random.normal(jax.random.key(4), (6, 1, INPUTS))
    firsts = jnp.zeros((6, 1), bool).at[0].set(True)
    last = lambda xs: memory.unroll(weights, memory.initialise(weights, 1), xs, firsts)[1][-1, 0, 0]
    assert (jnp.abs(jax.grad(last)(xs)).sum((1, 2)) > 1e-8).all()


def test_a_window_ends():
    memory = SMALL["window"]
    weights = memory.init(jax.random.key(3), dense(INPUTS))
    xs = jax.random.normal(jax.random.key(4), (6, 1, INPUTS))
    last = lambda xs: memory.unroll(weights, memory.initialise(weights, 1), xs, jnp.zeros((6, 1), bool))[1][-1, 0, 0]
    reach = jnp.abs(jax.grad(last)(xs)).sum((1, 2)) > 0
    assert reach.tolist() == [False, False, False, True, True, True]


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_the_gradient_written_by_hand_is_that_of_automatic_differentiation(name):
    memory = SMALL[name]
    keys = jax.random.split(jax.random.key(5), 4)
    weights = memory.init(keys[0], dense(INPUTS))
    weights = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(keys[3], leaf.shape), weights)
    xs = jax.random.normal(keys[1], (T, B, INPUTS))
    firsts = jax.random.bernoulli(keys[2], 0.2, (T, B))
    start = jax.tree.map(lambda leaf: leaf + 0.3, memory.initialise(weights, B))

    def automatic(weights, carry, xs):
        def step(carry, at):
            x, first = at
            carry = jax.tree.map(lambda leaf: jnp.where(first[:, None], 0, leaf), carry)
            drive = [x @ kernel + bias for kernel, bias in zip(weights["input"], weights["input_bias"])]
            hidden = [carry[0] @ kernel + bias for kernel, bias in zip(weights["recurrent"], weights["recurrent_bias"])]
            carry = type(memory).cell(tuple(drive), tuple(hidden), carry)
            return carry, carry[0]

        return jax.lax.scan(step, carry, (xs, firsts))

    def loss(unroll):
        def value(weights, start, xs):
            last, ys = unroll(weights, start, xs)
            weight = jnp.arange(1.0, 1.0 + ys.size).reshape(ys.shape) / ys.size
            return jnp.sum(weight * jnp.sin(3 * ys)) + 5 * jnp.cos(jnp.stack(last)).sum()

        return jax.grad(value, argnums=(0, 1, 2))

    by_hand = loss(lambda w, c, x: memory.unroll(w, c, x, firsts))(weights, start, xs)
    by_machine = loss(automatic)(weights, start, xs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), by_hand, by_machine)


def test_bfloat16_products_stay_near_float32():
    weights = GRU(16).init(jax.random.key(0), dense(INPUTS))
    xs = jax.random.normal(jax.random.key(1), (T, B, INPUTS))
    firsts = jnp.zeros((T, B), bool)
    outputs = [
        memory.unroll(weights, memory.initialise(weights, B), xs, firsts)[1]
        for memory in (GRU(16), GRU(16, dtype="bfloat16"))
    ]
    assert outputs[1].dtype == jnp.float32
    error = np.abs(outputs[0] - outputs[1])
    assert 0 < error.max() < 0.03
    gradient = jax.grad(lambda w: GRU(16, dtype="bfloat16").unroll(w, (jnp.zeros((B, 16)),), xs, firsts)[1].sum())(
        weights
    )
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(gradient))
