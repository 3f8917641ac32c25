"""What holds for every memory: one property, one naive reference, and what must not cross a reset."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.networks import (
    GRU,
    LRU,
    LSTM,
    MEMORIES,
    FeedForward,
    Latent,
    LinearAttention,
    MinGRU,
    Table,
    Transformer,
    Window,
)
from seqrl_jax.tasks.environment import Discrete

T, B, INPUTS = 24, 3, (5, 2)
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
    "latent": Latent(8, groups=2, classes=3, pass_gradient=True).for_environment(Discrete(4), Discrete(2)),
}
HISTORY = [name for name, memory in SMALL.items() if memory.reach is None]


def codes(key, *shape):
    """Two of them, of norm about one together."""
    keys = jax.random.split(key, len(INPUTS))
    return tuple(jax.random.normal(key, (*shape, size)) * 7**-0.5 for key, size in zip(keys, INPUTS))


def init(memory, key):
    return memory.init(key, memory.initial_carry(1), codes(key, 1, 1), jnp.ones((1, 1), bool))


@pytest.fixture(scope="module", params=list(SMALL))
def case(request):
    """(memory, weights, carry that is not empty, inputs, first flags at random places)."""
    memory = SMALL[request.param]
    keys = jax.random.split(jax.random.key(0), 4)
    weights = jax.tree.map(lambda leaf: leaf + 0.1, init(memory, keys[0]))
    before = codes(keys[1], 7, B)
    carry, _ = memory.apply(weights, memory.initial_carry(B), before, jnp.zeros((7, B), bool))
    xs = codes(keys[2], T, B)
    firsts = jax.random.bernoulli(keys[3], 0.25, (T, B))
    return memory, weights, carry, xs, firsts


def at(xs, place):
    return jax.tree.map(lambda leaf: leaf[place], xs)


def repeated(memory, weights, carry, xs, firsts):
    """Outputs of one step after another."""
    step = jax.jit(memory.apply)
    ys = []
    for t in range(len(firsts)):
        carry, y = step(weights, carry, at(xs, slice(t, t + 1)), firsts[t : t + 1])
        ys.append(y[0])
    return carry, jnp.stack(ys)


def test_every_registered_memory_is_tested():
    assert list(SMALL) == list(MEMORIES)


def test_unroll_is_repeated_step(case):
    memory, weights, carry, xs, firsts = case
    assert firsts.any() and not firsts[0].all()
    after, ys = memory.apply(weights, carry, xs, firsts)
    stepped_after, stepped = repeated(memory, weights, carry, xs, firsts)
    assert ys.shape[:2] == (T, B)
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
    _, ys = memory.apply(weights, memory.initial_carry(B), xs, firsts)
    step = jax.jit(memory.apply)
    for t, b in np.random.default_rng(0).integers((T, B), size=(20, 2)):
        began = max(k for k in range(t + 1) if firsts[k, b])
        if t - began > 6:  # beyond the transformer's context
            continue
        carry, again = memory.initial_carry(1), None
        for k in range(began, t + 1):
            carry, again = step(weights, carry, at(xs, np.ix_([k], [b])), jnp.zeros((1, 1), bool))
        np.testing.assert_allclose(ys[t, b], again[0, 0], atol=2e-5)


def test_two_halves_are_the_whole(case):
    memory, weights, carry, xs, firsts = case
    _, whole = memory.apply(weights, carry, xs, firsts)
    middle, left = memory.apply(weights, carry, at(xs, slice(10)), firsts[:10])
    _, right = memory.apply(weights, middle, at(xs, slice(10, None)), firsts[10:])
    np.testing.assert_allclose(whole, jnp.concatenate([left, right]), atol=1e-5)


def test_nothing_comes_back_from_the_future_or_the_next_episode(case):
    memory, weights, carry, xs, firsts = case
    t = 12
    firsts = firsts.at[t].set(True)
    outputs = lambda xs: memory.apply(weights, carry, xs, firsts)[1]
    changed = outputs(jax.tree.map(lambda leaf: leaf.at[t:].add(1.0), xs))
    np.testing.assert_allclose(outputs(xs)[:t], changed[:t], atol=1e-6)


def test_nothing_crosses_a_reset(case):
    """Neither values nor gradients: what was carried, and every input before the reset, may even be infinite."""
    memory, weights, carry, xs, firsts = case
    t = 12
    firsts = firsts.at[t].set(True)

    def after(carry, xs):
        return memory.apply(weights, carry, xs, firsts)[1][t:]

    moved = jax.tree.map(lambda leaf: leaf + jnp.ones_like(leaf), carry)
    earlier = jax.tree.map(lambda leaf: leaf.at[:t].multiply(-3.0), xs)
    np.testing.assert_array_equal(after(carry, xs), after(moved, earlier))
    gradient = jnp.concatenate(jax.grad(lambda xs: jnp.square(after(carry, xs)).sum())(xs), -1)
    assert (gradient[:t] == 0).all()
    assert (jnp.abs(gradient[t:]).sum(-1) > 0).all()


def reach(memory, length):
    """[T] how much each of T steps of an episode moves the last output."""
    weights, xs = init(memory, jax.random.key(3)), codes(jax.random.key(4), length, 1)
    firsts = jnp.zeros((length, 1), bool).at[0].set(True)
    last = lambda xs: memory.apply(weights, memory.initial_carry(1), xs, firsts)[1][-1, 0, 0]
    return jnp.abs(jnp.concatenate(jax.grad(last)(xs), -1)).sum((1, 2))


@pytest.mark.parametrize("name", HISTORY)
def test_a_history_reaches_back_to_the_first_observation(name):
    assert (reach(SMALL[name], 6) > 1e-8).all()


def test_a_window_ends():
    assert (reach(SMALL["window"], 6) > 0).tolist() == [False, False, False, True, True, True]


@pytest.mark.parametrize("length", [1, 31, 37, 101])
def test_linear_attention_works_off_rollouts_of_any_length_in_chunks(length):
    """Also of prime ones: the last chunk is filled up with steps that leave no trace."""
    short, whole = LinearAttention(8, heads=2, chunk=8), LinearAttention(8, heads=2, chunk=length)
    weights, xs = init(whole, jax.random.key(0)), codes(jax.random.key(1), length, B)
    firsts = jax.random.bernoulli(jax.random.key(2), 0.1, (length, B))
    left, right = (memory.apply(weights, memory.initial_carry(B), xs, firsts) for memory in (short, whole))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), left, right)


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_the_gradient_written_by_hand_is_that_of_automatic_differentiation(name):
    memory = SMALL[name]
    keys = jax.random.split(jax.random.key(5), 4)
    weights = init(memory, keys[0])
    weights = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(keys[3], leaf.shape), weights)
    xs = codes(keys[1], T, B)
    firsts = jax.random.bernoulli(keys[2], 0.2, (T, B))
    start = jax.tree.map(lambda leaf: leaf + 0.3, memory.initial_carry(B))

    def automatic(weights, carry, xs):
        w = weights["params"]
        kernels = jnp.concatenate([w["input_kernel_0"], w["input_kernel_1"]], 1)

        def step(carry, at):
            x, first = at
            carry = jax.tree.map(lambda leaf: jnp.where(first[:, None], 0, leaf), carry)
            drive = [x @ kernel + bias for kernel, bias in zip(kernels, w["input_bias"])]
            hidden = [carry[0] @ kernel + bias for kernel, bias in zip(w["recurrent_kernel"], w["recurrent_bias"])]
            carry = type(memory).cell(tuple(drive), tuple(hidden), carry)
            return carry, carry[0]

        return jax.lax.scan(step, carry, (jnp.concatenate(xs, -1), firsts))

    def loss(unroll):
        def value(weights, start, xs):
            last, ys = unroll(weights, start, xs)
            weight = jnp.arange(1.0, 1.0 + ys.size).reshape(ys.shape) / ys.size
            return jnp.sum(weight * jnp.sin(3 * ys)) + 5 * jnp.cos(jnp.stack(last)).sum()

        return jax.grad(value, argnums=(0, 1, 2))

    by_hand = loss(lambda w, c, x: memory.apply(w, c, x, firsts))(weights, start, xs)
    by_machine = loss(automatic)(weights, start, xs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), by_hand, by_machine)


def test_the_cells_are_those_of_flax():
    """An independent implementation, with the same weights: reset gate behind the product, as in cuDNN."""
    xs, firsts = codes(jax.random.key(1), T, B), jnp.zeros((T, B), bool)
    weights = init(GRU(8), jax.random.key(0))
    _, ours = GRU(8).apply(weights, GRU(8).initial_carry(B), xs, firsts)
    w = weights["params"]
    into = jnp.concatenate([w["input_kernel_0"], w["input_kernel_1"]], 1)
    linear = lambda kernel, bias: {"kernel": kernel, "bias": bias}
    theirs = {
        "ir": linear(into[0], w["input_bias"][0] + w["recurrent_bias"][0]),
        "iz": linear(into[1], w["input_bias"][1] + w["recurrent_bias"][1]),
        "in": linear(into[2], w["input_bias"][2]),
        "hr": {"kernel": w["recurrent_kernel"][0]},
        "hz": {"kernel": w["recurrent_kernel"][1]},
        "hn": linear(w["recurrent_kernel"][2], w["recurrent_bias"][2]),
    }
    cell = nn.RNN(nn.GRUCell(8), time_major=True)
    expected = cell.apply({"params": {"cell": theirs}}, jnp.concatenate(xs, -1))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("name", list(SMALL))
def test_inputs_padded_at_their_ends_find_the_same_weights(name):
    """Codes with room for more symbols: the first outputs are the same."""
    memory, xs = SMALL[name], codes(jax.random.key(1), T, B)
    if memory.tabular:
        pytest.skip("it has no weights")
    padded = tuple(jnp.pad(x, [(0, 0), (0, 0), (0, 3)]) for x in xs)
    firsts = jnp.zeros((T, B), bool).at[0].set(True)
    run = lambda xs: memory.apply(
        memory.init(jax.random.key(0), memory.initial_carry(B), xs, firsts), memory.initial_carry(B), xs, firsts
    )
    np.testing.assert_allclose(run(xs)[1], run(padded)[1], atol=1e-6)


def test_bfloat16_products_stay_near_float32():
    weights = init(GRU(16), jax.random.key(0))
    xs = codes(jax.random.key(1), T, B)
    firsts = jnp.zeros((T, B), bool)
    run = lambda memory, weights: memory.apply(weights, memory.initial_carry(B), xs, firsts)[1]
    outputs = [run(memory, weights) for memory in (GRU(16), GRU(16, dtype="bfloat16"))]
    assert outputs[1].dtype == jnp.float32
    error = np.abs(outputs[0] - outputs[1])
    assert 0 < error.max() < 0.03
    gradient = jax.grad(lambda weights: run(GRU(16, dtype="bfloat16"), weights).sum())(weights)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(gradient))
