"""What holds for every memory: one property, one naive reference, and what must not cross a reset."""

import re
from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from naive_memories import NAIVE

from seqrl_jax.networks import (
    BMRU,
    FFM,
    GRU,
    LRU,
    LSTM,
    MEMORIES,
    MLSTM,
    NBRC,
    S5,
    FeedForward,
    GatedDeltaNet,
    GTrXL,
    Latent,
    LinearAttention,
    Mamba2,
    MinGRU,
    Table,
    Transformer,
    Window,
)
from seqrl_jax.networks.gated_deltanet import solve_unit_lower
from seqrl_jax.networks.s5 import hippo_frequencies
from seqrl_jax.settings import LARGEST
from seqrl_jax.tasks.environment import Discrete

T, B, INPUTS = 24, 3, (5, 2)
CUT = 10
"""Not a multiple of a chunk."""
SMALL = {
    "table": Table(),
    "none": FeedForward(8),
    "window": Window(3, 8),
    "gru": GRU(8, block=2),
    "lstm": LSTM(8),
    "nbrc": NBRC(8),
    "lru": LRU(8),
    "s5": S5(8, blocks=2),
    "ffm": FFM(8, traces=3, contexts=2),
    "mingru": MinGRU(8),
    "bmru": BMRU(8),
    "linear_attention": LinearAttention(8, heads=2, chunk=4),
    "mamba2": Mamba2(8, heads=2, chunk=4, state=3, window=3),
    "gated_deltanet": GatedDeltaNet(8, heads=2, chunk=5, window=3),
    "mlstm": MLSTM(8, heads=2, chunk=4),
    "transformer": Transformer(8, heads=2, layers=2, context=6),
    "gtrxl": GTrXL(8, heads=2, layers=2, context=6),
    "latent": Latent(8, groups=2, classes=3, pass_gradient=True).for_environment(Discrete(4), Discrete(2)),
}
HISTORY = [name for name, memory in SMALL.items() if memory.reach is None]


def codes(key, *shape):
    """Two of them, of norm about one together."""
    keys = jax.random.split(key, len(INPUTS))
    return tuple(jax.random.normal(key, (*shape, size)) * 7**-0.5 for key, size in zip(keys, INPUTS))


def init(memory, key):
    return jax.jit(memory.init)(key, memory.initial_carry(1), codes(key, 1, 1), jnp.ones((1, 1), bool))


@cache
def begun(memory, room=0):
    """(The compiled program that draws weights from each of two keys, the weights from the first), for codes with room
    for so many more symbols."""
    xs = tuple(jnp.zeros((1, 1, size + room)) for size in INPUTS)
    begin = lambda key: memory.init(key, memory.initial_carry(1), xs, jnp.ones((1, 1), bool))
    keys = jax.random.split(jax.random.key(0), 2)
    program = jax.jit(jax.vmap(begin)).lower(keys).compile()
    return program, jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[0]), program(keys))


def shaken(weights):
    """Weights about which nothing is special: no zeros, no ones, and none alike."""
    rng = np.random.default_rng(0)
    noise = lambda leaf: (0.2 * rng.normal(size=leaf.shape)).astype(np.float32)
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf) + noise(leaf)), weights)


@pytest.fixture(scope="module", params=list(SMALL))
def case(request):
    """(memory, weights, carry that is not empty, inputs, first flags at random places)."""
    memory = SMALL[request.param]
    keys = jax.random.split(jax.random.key(0), 4)
    weights = shaken(begun(memory)[1])
    before = codes(keys[1], 7, B)
    carry, _ = jax.jit(memory.apply)(weights, memory.initial_carry(B), before, jnp.zeros((7, B), bool))
    xs = codes(keys[2], T, B)
    firsts = jax.random.bernoulli(keys[3], 0.2, (T, B))
    assert firsts.any(0).all() and not firsts[0].any()
    return memory, weights, carry, xs, firsts


def attended(query, key, value, mask):
    """[B, T, heads, D] of queries [B, T, heads, D], keys and values [B, S, heads, D] and a mask [B, 1, T, S].

    Source: Vaswani et al. (2017), eq. 1.
    """
    logits = jnp.einsum("bthd,bshd->bhts", query, key) * query.shape[-1] ** -0.5
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(jnp.where(mask, logits, -jnp.inf)), value)


def test_attention_is_what_it_is_in_double_precision():
    query, *others = jax.random.normal(jax.random.key(0), (3, 2, 5, 2, 4))
    mask = jnp.tril(jnp.ones((5, 5), bool))[None, None]
    expected = attended(query, *others, mask)
    np.testing.assert_allclose(jax.nn.dot_product_attention(query, *others, mask=mask), expected, atol=1e-5)


@pytest.fixture
def double(case, monkeypatch):
    """The case in double precision, in which the test runs. flax names single precision, so promotion is let off, and
    jax's attention adds up in single precision whatever it is given, so that another one stands in for it."""
    memory, *arrays = case
    monkeypatch.setattr(jax.nn, "dot_product_attention", attended)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield memory, *jax.tree.map(doubled, arrays)


def doubled(leaf):
    wider = {"float32": jnp.float64, "complex64": jnp.complex128}
    return leaf.astype(wider.get(leaf.dtype.name, leaf.dtype))


def at(xs, place):
    return jax.tree.map(lambda leaf: leaf[place], xs)


def test_every_registered_memory_is_tested():
    assert list(SMALL) == list(NAIVE) == list(MEMORIES)


def whole(memory, firsts, weights, carry, xs):
    return memory.apply(weights, carry, xs, firsts)


def stepped(memory, firsts, weights, carry, xs):
    """One step after another, as an agent acts."""

    def step(carry, now):
        carry, y = memory.apply(weights, carry, *at(now, None))
        return carry, y[0]

    return jax.lax.scan(step, carry, (xs, firsts))


def cut(memory, firsts, weights, carry, xs):
    """In two parts, one after the other."""
    carry, before = memory.apply(weights, carry, at(xs, slice(CUT)), firsts[:CUT])
    carry, after = memory.apply(weights, carry, at(xs, slice(CUT, None)), firsts[CUT:])
    return carry, jnp.concatenate([before, after])


def naively(memory, firsts, weights, carry, xs):
    """Every episode by itself, from its first step, as the paper has it; each is filled up with zeros to T steps."""
    naive = partial(NAIVE[name_of(memory)], memory, weights.get("params"))
    begun = np.maximum.accumulate(np.where(firsts, np.arange(T)[:, None], 0), 0)
    t, b = np.nonzero(np.asarray(firsts))
    x = jnp.concatenate(xs, -1)
    episodes = jnp.stack([jnp.pad(x[start:, number], [(0, start), (0, 0)]) for start, number in zip(t, b)])
    number = np.zeros((T, B), int)
    number[t, b] = np.arange(len(t))
    number = number[begun, np.arange(B)]
    return carry, jax.vmap(naive)(episodes)[number, np.arange(T)[:, None] - begun]


def name_of(memory):
    return next(name for name, kind in MEMORIES.items() if type(memory) is kind)


def weighed(leaf):
    """A number on which every entry bears, each otherwise."""
    weight = jnp.cos(jnp.arange(1.0, 1.0 + leaf.size)).reshape(leaf.shape)
    return jnp.sum(weight * (jnp.sin(3 * leaf.real) + jnp.cos(2 * leaf.imag)))


@cache
def differentiated(form, memory):
    """(weights, carry, inputs, first flags, whether the carry after counts) -> gradients of a function of the outputs
    and that carry in the first three, the outputs and the carry. One program for all tests of a form."""

    def value(weights, smooth, xs, other, firsts, counts):
        carried, ys = form(memory, firsts, weights, joined(smooth, other), xs)
        carried = _meaningful(carried)
        parts = [leaf for leaf in jax.tree.leaves(carried) if is_smooth(leaf)]
        return weighed(ys) + counts * sum(map(weighed, parts)), (ys, carried)

    return jax.jit(jax.grad(value, (0, 1, 2), has_aux=True))


def computed(form, memory, weights, carry, xs, firsts, counts=1.0):
    """Of a form: gradients in weights, carry and inputs of a function of outputs and carry, and these two."""
    smooth = jax.tree.map(lambda leaf: leaf if is_smooth(leaf) else None, carry)
    other = jax.tree.map(lambda leaf: None if is_smooth(leaf) else leaf, carry)
    return differentiated(form, memory)(weights, smooth, xs, other, firsts, counts)


def joined(smooth, other):
    """The carry of its differentiable and its other leaves."""
    return jax.tree.map(lambda a, b: b if a is None else a, smooth, other, is_leaf=lambda leaf: leaf is None)


def is_smooth(leaf):
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def _meaningful(carry):
    """Cache entries of earlier episodes are masked, not erased."""
    if not hasattr(carry, "valid"):
        return carry
    valid = carry.valid[:, None, :, None].astype(carry.keys.dtype)
    return carry._replace(keys=carry.keys * valid, values=carry.values * valid)


def assert_equal(found, expected, tolerance=1e-10):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), found, expected)


def test_a_rollout_at_once_is_its_steps_and_its_parts(double):
    """Outputs, carries and gradients in weights, carry and inputs, with resets at random places."""
    expected = computed(whole, *double)
    for form in (stepped, cut):
        assert_equal(computed(form, *double), expected)


def test_a_rollout_is_what_the_paper_says_of_each_episode(double):
    """Outputs and gradients; whatever an episode follows upon, it is the naive form's, which begins with it."""
    memory, weights, _, xs, firsts = double
    empty, firsts = memory.initial_carry(B), firsts.at[0].set(True)
    by_itself = lambda memory, _, *arguments: naively(memory, firsts, *arguments)
    found, expected = (computed(form, memory, weights, empty, xs, firsts, 0.0) for form in (whole, by_itself))
    # The naive form carries nothing.
    assert_equal((found[0], found[1][0]), (expected[0], expected[1][0]))


def test_nothing_comes_back_from_the_future_or_the_next_episode(case):
    memory, weights, carry, xs, firsts = case
    t = 12
    firsts = firsts.at[t].set(True)
    outputs = jax.jit(lambda xs: memory.apply(weights, carry, xs, firsts)[1])
    changed = outputs(jax.tree.map(lambda leaf: leaf.at[t:].add(1.0), xs))
    np.testing.assert_allclose(outputs(xs)[:t], changed[:t], atol=1e-6)


def test_nothing_crosses_a_reset(case):
    """Neither values nor gradients, whatever was carried and seen before; not even a rounding error."""
    memory, weights, carry, xs, firsts = case
    t = 12
    firsts = firsts.at[t].set(True)

    def after(xs, carry):
        ys = memory.apply(weights, carry, xs, firsts)[1][t:]
        return jnp.square(ys).sum(), ys

    program = jax.jit(jax.grad(after, has_aux=True))
    moved = jax.tree.map(lambda leaf: leaf + jnp.ones_like(leaf), carry)
    earlier = jax.tree.map(lambda leaf: leaf.at[:t].multiply(-3.0), xs)
    gradient, ys = program(xs, carry)
    np.testing.assert_array_equal(ys, program(earlier, moved)[1])
    gradient = jnp.concatenate(gradient, -1)
    assert (gradient[:t] == 0).all()
    assert (jnp.abs(gradient[t:]).sum(-1) > 0).all()


@pytest.fixture(scope="module", params=[whole, stepped])
def reset(request, case):
    """(form, its compiled program, weights, carry, inputs before the reset and from it on, first flags).

    The program has the arguments weights, inputs from the reset on, those before it and the carry, and returns (a
    function of the outputs from the reset on, (the carry, all outputs)) and its gradients in the first two.
    """
    form, (memory, weights, carry, xs, firsts) = request.param, case
    t = 12
    firsts = firsts.at[t].set(True)

    def value(weights, later, earlier, carry):
        both = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), earlier, later)
        carried, ys = form(memory, firsts, weights, carry, both)
        return jnp.square(ys[t:]).sum(), (_meaningful(carried), ys)

    program = jax.jit(jax.value_and_grad(value, (0, 1), has_aux=True))
    return form, program, weights, carry, at(xs, slice(t)), at(xs, slice(t, None)), firsts


def test_no_episode_is_broken_by_what_another_one_saw(reset):
    """Outputs, the carry and gradients behind a reset; of steps that are read at once, an input that is no number is
    seen in the output of its step alone."""
    form, program, weights, carry, earlier, later, _ = reset
    t = len(earlier[0])
    (expected, (carried, ys)), gradient = program(weights, later, earlier, carry)
    for number in (np.nan, np.inf):
        broken = jax.tree.map(lambda x, number=number: x.at[3:5, 1].set(number), earlier)
        (found, (also_carried, also_ys)), (of_weights, of_inputs) = program(weights, later, broken, carry)
        assert_equal((found, also_carried, of_inputs), (expected, carried, gradient[1]), 0.0)
        assert_equal(also_ys[t:], ys[t:], 0.0)
        if form is whole:
            assert jax.tree.all(jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), of_weights))
            assert jnp.isnan(also_ys[3:5, 1]).all() and jnp.isnan(also_ys).sum() == also_ys[3:5, 1].size


def test_what_was_carried_and_is_no_number_ends_with_its_episode(reset):
    """As after single steps that read such; other sequences, and gradients, know nothing of it."""
    form, program, weights, carry, earlier, later, firsts = reset
    spoil = lambda leaf: leaf.at[1].set(jnp.nan) if is_smooth(leaf) else leaf
    (expected, (carried, ys)), gradient = program(weights, later, earlier, carry)
    (found, (also_carried, also_ys)), also_gradient = program(weights, later, earlier, jax.tree.map(spoil, carry))
    assert_equal((found, also_carried), (expected, carried), 0.0)
    begun = np.maximum.accumulate(firsts) | (np.arange(B) != 1)
    np.testing.assert_array_equal(np.where(begun[..., None], also_ys, 0), np.where(begun[..., None], ys, 0))
    if form is whole:
        assert_equal(also_gradient, gradient, 1e-5)


def test_what_overflows_is_gone_with_its_episode(reset):
    """Outputs, the carry and gradients behind a reset, when numbers before it are too large to be multiplied; and
    weights are still learned."""
    _, program, weights, carry, earlier, later, _ = reset
    t = len(earlier[0])
    (expected, (carried, ys)), (_, of_inputs) = program(weights, later, earlier, carry)
    large = jax.tree.map(lambda x: 3e38 * jnp.sign(x), earlier)
    (found, (also_carried, also_ys)), (of_weights, also_of_inputs) = program(weights, later, large, carry)
    before, after = (expected, carried, ys[t:], of_inputs), (found, also_carried, also_ys[t:], also_of_inputs)
    assert_equal(after, before, 0.0)
    assert jax.tree.all(jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), of_weights))


@pytest.mark.parametrize("name", list(SMALL))
def test_a_number_too_large_is_read_as_the_largest_in_every_form(name):
    memory, xs, firsts = SMALL[name], codes(jax.random.key(1), T, B), jnp.zeros((T, B), bool).at[0].set(True)
    weights, start = begun(memory)[1], memory.initial_carry(B)
    run = jax.jit(lambda form, size: form(memory, firsts, weights, start, at_most(size, xs))[1], static_argnums=0)
    for form in (whole, stepped):
        np.testing.assert_array_equal(run(form, 3e38), run(form, LARGEST))


def at_most(size, xs):
    """The first inputs as large as this."""
    return jax.tree.map(lambda x: x.at[:3].set(size * jnp.sign(x[:3])), xs)


def reach(memory, length):
    """[T] how much each of T steps of an episode moves the last output."""
    weights, xs = begun(memory)[1], codes(jax.random.key(4), length, 1)
    firsts = jnp.zeros((length, 1), bool).at[0].set(True)
    last = lambda xs: memory.apply(weights, memory.initial_carry(1), xs, firsts)[1][-1, 0, 0]
    return jnp.abs(jnp.concatenate(jax.jit(jax.grad(last))(xs), -1)).sum((1, 2))


@pytest.mark.parametrize("name", HISTORY)
def test_a_history_reaches_back_to_the_first_observation(name):
    assert (reach(SMALL[name], 6) > 1e-8).all()


def test_a_window_ends():
    assert (reach(SMALL["window"], 6) > 0).tolist() == [False, False, False, True, True, True]


@pytest.mark.parametrize("kind", [LinearAttention, Mamba2, GatedDeltaNet, MLSTM])
def test_rollouts_of_any_length_are_worked_off_in_chunks(kind):
    """Also of prime ones: the last chunk is filled up with steps that leave no trace."""
    length = 37
    short, long = kind(8, heads=2, chunk=8), kind(8, heads=2, chunk=length)
    weights, xs = init(long, jax.random.key(0)), codes(jax.random.key(1), length, B)
    firsts = jax.random.bernoulli(jax.random.key(2), 0.1, (length, B))
    left, right = (jax.jit(memory.apply)(weights, memory.initial_carry(B), xs, firsts) for memory in (short, long))
    assert_equal(left, right, 2e-5)


def test_a_unit_lower_system_is_solved_as_numpy_does():
    """Also its gradient; and without an error where all keys are alike, where powers of the matrix would be large."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        lower, right = np.tril(rng.normal(size=(7, 7)), -1), rng.normal(size=(7, 3))
        inverse, moved = np.linalg.inv(lower + np.eye(7)), rng.normal(size=(7, 3))
        solved, pull = jax.vjp(solve_unit_lower, jnp.asarray(lower), jnp.asarray(right))
        np.testing.assert_allclose(solved, inverse @ right, rtol=1e-10)
        np.testing.assert_allclose(pull(jnp.asarray(moved))[1], inverse.T @ moved, rtol=1e-10)
        expected = -(inverse.T @ moved) @ (inverse @ right).T
        np.testing.assert_allclose(pull(jnp.asarray(moved))[0], expected, rtol=1e-10)
    alike = solve_unit_lower(jnp.tril(jnp.ones((32, 32)), -1), jnp.eye(32))
    np.testing.assert_array_equal(alike, np.eye(32) - np.eye(32, k=-1))


@pytest.mark.parametrize("log_rate", [-7.0, -12.0, -17.0, -20.0])
def test_a_unit_that_hardly_decays_takes_what_its_definition_says_and_has_a_gradient(log_rate):
    """1 - |lambda|^2 is 0 in single precision at the last of these, where the root of that had an infinite gradient."""
    memory = SMALL["lru"]
    weights = init(memory, jax.random.key(0))["params"]
    xs, first = codes(jax.random.key(1), 1, B), jnp.ones((1, B), bool)

    def taken(log_rate):
        params = {**weights, "log_rate": jnp.full(8, log_rate)}
        return jnp.abs(memory.apply({"params": params}, memory.initial_carry(B), xs, first)[0]).sum()

    value, gradient = jax.jit(jax.value_and_grad(taken))(log_rate)
    kernels = [np.asarray(weights["input"][f"kernel_{k}"], np.float64) for k in range(len(xs))]
    real, imaginary = np.split(sum(np.asarray(x[0], np.float64) @ kernel for x, kernel in zip(xs, kernels)), 2, -1)
    rate = np.exp(log_rate)
    inputs, scale = np.hypot(real, imaginary).sum(), np.sqrt(-np.expm1(-2 * rate) / 2)
    assert float(value) == pytest.approx(inputs * scale, rel=1e-5)
    assert float(gradient) == pytest.approx(inputs * rate * np.exp(-2 * rate) / (2 * scale), rel=1e-5)


def test_the_frequencies_are_those_of_hippo_n():
    """Of HiPPO-LegS plus P P^T, entry by entry. The eigenvectors that are kept have real and imaginary parts that are
    orthogonal and of one length, so that a Gaussian input matrix has independent entries in their basis as well."""
    size = 12
    n, k = np.indices((size, size))
    legs = -np.where(n > k, np.sqrt((2 * n + 1) * (2 * k + 1)), np.where(n == k, n + 1, 0))
    normal = legs + np.sqrt((n + 0.5) * (k + 0.5))
    values, vectors = np.linalg.eig(normal)
    np.testing.assert_allclose(values.real, -0.5, atol=1e-10)
    kept = values.imag > 0
    np.testing.assert_allclose(hippo_frequencies(size // 2), np.sort(values.imag[kept]), rtol=1e-10)
    basis = 2**0.5 * np.concatenate([vectors[:, kept].real, vectors[:, kept].imag], 1)
    np.testing.assert_allclose(basis.T @ basis, np.eye(size), atol=1e-10)


@pytest.mark.parametrize("name", list(SMALL))
def test_no_lapack_call_begins_one_of_many(name):
    """Batched LAPACK calls deadlock XLA's CPU client on few cores."""
    text = begun(SMALL[name])[0].as_text()
    assert not {call for call in re.findall(r'custom_call_target="([^"]+)"', text) if "lapack" in call.lower()}


@pytest.mark.parametrize("feedback", [0.9, 1.5])
def test_a_bistable_unit_holds_a_bit_for_ever_where_its_feedback_exceeds_one(feedback):
    """After a pulse of either sign the state comes to rest at the root of `h = tanh(a h)`: none but 0 for a <= 1."""
    memory, length = NBRC(2), 400
    weights = jax.tree.map(jnp.zeros_like, init(memory, jax.random.key(0)))
    kernel, bias = weights["params"]["input_kernel_0"], weights["params"]["input_bias"]
    weights["params"]["input_kernel_0"] = kernel.at[2, 0].set(jnp.array([3.0, -3.0]))
    weights["params"]["input_bias"] = bias.at[0].set(np.arctanh(feedback - 1))
    pulse = jnp.zeros((length, 1, 5)).at[0, 0, 0].set(1.0)
    xs, firsts = (pulse, jnp.zeros((length, 1, 2))), jnp.zeros((length, 1), bool)
    (state,), _ = jax.jit(memory.apply)(weights, memory.initial_carry(1), xs, firsts)
    rest = 0.0 if feedback <= 1 else scipy.optimize.brentq(lambda h: np.tanh(feedback * h) - h, 0.1, 1.0)
    np.testing.assert_allclose(state[0], [rest, -rest], atol=1e-4)


def test_a_switch_holds_exactly_what_it_was_set_to_until_something_exceeds_its_threshold():
    memory, length = BMRU(2), 5000
    weights = jax.tree.map(jnp.zeros_like, init(memory, jax.random.key(0)))
    candidate = next(iter(weights["params"]["candidate"]))
    kernel = weights["params"]["candidate"][candidate]
    weights["params"]["candidate"][candidate] = kernel.at[0].set(jnp.array([1.0, -1.0]))
    weights["params"]["threshold_bias"] = jnp.full(2, 0.5)
    symbol = jnp.tile(jnp.array([0.49, -0.49]), length // 2).at[0].set(0.51).at[-1].set(-0.51)
    xs = (jnp.zeros((length, 1, 5)).at[:, 0, 0].set(symbol), jnp.zeros((length, 1, 2)))
    run = jax.jit(lambda xs: memory.apply(weights, memory.initial_carry(1), xs, jnp.zeros(xs[0].shape[:2], bool))[0])
    np.testing.assert_array_equal(run(jax.tree.map(lambda x: x[:-1], xs)), [[1.0, -1.0]])
    np.testing.assert_array_equal(run(xs), [[-1.0, 1.0]])


@pytest.mark.parametrize(("name", "forgets"), [("bmru", True), ("gru", False), ("mingru", False)])
def test_what_a_switch_reads_twice_is_what_it_reads_once(name, forgets):
    """Behind q q p p it has read (p, q) twice, symbol and last right answer, where q and then p is asked for."""
    memory, (xs, firsts) = SMALL[name], (codes(jax.random.key(1), T, B), jnp.zeros((T, B), bool))
    weights, stuttered = init(memory, jax.random.key(0)), jax.tree.map(lambda x: jnp.repeat(x, 2, 0), xs)
    run = lambda xs, firsts: jax.jit(memory.apply)(weights, memory.initial_carry(B), xs, firsts)[1]
    once, twice = run(xs, firsts), run(stuttered, jnp.zeros((2 * T, B), bool))
    same = [bool(np.allclose(once, twice[k::2], atol=1e-6)) for k in range(2)]
    assert same == [forgets, forgets]


@pytest.mark.parametrize("size", [1.0, 60.0])
def test_exponential_gates_do_not_overflow(size):
    """Single precision gives what double does, also where an unstabilised cell would hold numbers like exp(180)."""
    memory, (xs, firsts) = SMALL["mlstm"], (codes(jax.random.key(1), T, B), jnp.zeros((T, B), bool))
    weights = init(memory, jax.random.key(0))
    weights["params"]["gates"] = jax.tree.map(lambda leaf: leaf * size, weights["params"]["gates"])
    run = lambda *arguments: jax.jit(memory.apply)(arguments[0], memory.initial_carry(B), arguments[1], firsts)[1]
    single = run(weights, xs)
    with jax.enable_x64(True):
        double = run(*jax.tree.map(doubled, (weights, xs)))
    log_in = jnp.concatenate(xs, -1) @ jnp.concatenate(list(weights["params"]["gates"].values()))
    assert (log_in.max() > 90) == (size > 1)
    np.testing.assert_allclose(single, double, atol=1e-4)


def test_gates_begin_with_the_identity():
    """Of a gated transformer whose gates are shut, what comes out is what was embedded."""
    shut, one = GTrXL(8, heads=2, gate_bias=50.0), jnp.ones((1, 1), bool)
    weights, xs = init(shut, jax.random.key(0)), codes(jax.random.key(1), 1, 1)
    _, ys = jax.jit(shut.apply)(weights, shut.initial_carry(1), xs, one)
    embedded = jnp.concatenate(xs, -1) @ jnp.concatenate(list(weights["params"]["embed"].values()))
    stream = (embedded + jnp.array([0.0] * 4 + [1.0] * 4))[0, 0]
    np.testing.assert_allclose(ys[0, 0], (stream - stream.mean()) / stream.std(), atol=1e-4)


@pytest.mark.parametrize("name", ["gru", "lstm", "nbrc"])
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
            carry, _ = memory.cell.forward(tuple(drive), tuple(hidden), carry)
            return carry, carry[0]

        return jax.lax.scan(step, carry, (jnp.concatenate(xs, -1), firsts))

    def loss(unroll):
        def value(weights, start, xs):
            last, ys = unroll(weights, start, xs)
            weight = jnp.arange(1.0, 1.0 + ys.size).reshape(ys.shape) / ys.size
            return jnp.sum(weight * jnp.sin(3 * ys)) + 5 * jnp.cos(jnp.stack(last)).sum()

        return jax.jit(jax.grad(value, argnums=(0, 1, 2)))

    by_hand = loss(lambda w, c, x: memory.apply(w, c, x, firsts))(weights, start, xs)
    by_machine = loss(automatic)(weights, start, xs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), by_hand, by_machine)


def test_the_cells_are_those_of_flax():
    """An independent implementation, with the same weights: reset gate behind the product, as in cuDNN."""
    xs, firsts = codes(jax.random.key(1), T, B), jnp.zeros((T, B), bool)
    weights = init(GRU(8), jax.random.key(0))
    _, ours = jax.jit(GRU(8).apply)(weights, GRU(8).initial_carry(B), xs, firsts)
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
    expected = jax.jit(cell.apply)({"params": {"cell": theirs}}, jnp.concatenate(xs, -1))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("name", list(SMALL))
def test_inputs_padded_at_their_ends_find_the_same_weights(name):
    """Codes with room for more symbols, which read zeros: weights are the same, and those of the others come behind."""
    weights, wider = begun(SMALL[name])[1], begun(SMALL[name], 3)[1]

    def compare(leaf, other):
        assert all(0 <= more - size <= 3 for size, more in zip(leaf.shape, other.shape, strict=True))
        np.testing.assert_allclose(other[tuple(map(slice, leaf.shape))], leaf, rtol=1e-5, atol=1e-6)

    jax.tree.map(compare, weights, wider)
    if not SMALL[name].tabular:
        assert sum(leaf.size for leaf in jax.tree.leaves(wider)) > sum(leaf.size for leaf in jax.tree.leaves(weights))


def test_bfloat16_products_stay_near_float32():
    weights = init(GRU(16), jax.random.key(0))
    xs = codes(jax.random.key(1), T, B)
    firsts = jnp.zeros((T, B), bool)
    run = jax.jit(
        lambda memory, weights: memory.apply(weights, memory.initial_carry(B), xs, firsts)[1], static_argnums=0
    )
    outputs = [run(memory, weights) for memory in (GRU(16), GRU(16, dtype="bfloat16"))]
    assert outputs[1].dtype == jnp.float32
    error = np.abs(outputs[0] - outputs[1])
    assert 0 < error.max() < 0.03
    gradient = jax.jit(jax.grad(lambda weights: run(GRU(16, dtype="bfloat16"), weights).sum()))(weights)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(gradient))
