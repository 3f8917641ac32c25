"""What is read in packed rows is what is read text by text."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrl_jax.lm.base import token_distribution
from seqrl_jax.networks.gpt import GPT, positions_within
from seqrl_jax.text import training
from seqrl_jax.text.corpus import Part, scan
from seqrl_jax.text.encoding import text_row, token_batch
from seqrl_jax.text.losses import losses_of, packed_log_probs, packed_losses
from seqrl_jax.text.packing import first_fit, pack, packed_batch
from seqrl_jax.text.settings import TextRun
from seqrl_jax.text.training import batch_of_step, packed_descent
from seqrl_jax.text.vocabulary import Bytes

END, CONTEXT = Bytes().end, 32
MODEL = GPT(257, CONTEXT, width=16, layers=2, heads=2)
TALK = [{"role": role, "content": role[0] * 3} for role in ("user", "assistant", "user", "assistant")]
LINES = [
    {"prompt": "p", "completion": "ab"},
    {"prompt": "a long prompt of many words ", "completion": "whose left is cut"},
    {"prompt": "q", "completion": "an answer that is longer than the context of all texts"},
    {"text": "a text that is longer than the context is read in pieces, the last of which is short"},
    {"prompt": "r", "completion": ""},
    {"messages": TALK},
    {"text": "x"},
    {"prompt": "four", "completion": "bytes"},
]


def corpus_of(folder, lines):
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return scan(path, "texts", Bytes(), CONTEXT)


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    corpus = corpus_of(tmp_path_factory.mktemp("data"), LINES)
    return Part(corpus, np.arange(len(corpus)))


@pytest.fixture(scope="module")
def packing(part):
    return pack(part, CONTEXT, 0)


def batch_of(part, packing, rows):
    return packed_batch(part.corpus, [packing.row(row) for row in rows], CONTEXT)


def one_by_one(lengths, room):
    left, rows = [], []
    for length in lengths:
        row = next((row for row, free in enumerate(left) if free >= length), len(left))
        if row == len(left):
            left.append(room)
        left[row] -= length
        rows.append(row)
    return rows


@given(st.integers(1, 20).flatmap(lambda room: st.tuples(st.just(room), st.lists(st.integers(1, room), min_size=1))))
def test_rows_are_those_of_first_fit_text_by_text(room_and_lengths):
    room, lengths = room_and_lengths
    lengths = np.sort(lengths)[::-1]
    rows = first_fit(lengths, room)
    assert rows.tolist() == one_by_one(lengths, room)
    assert np.bincount(rows, lengths).max() <= room


@given(
    sizes=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30), seed=st.integers(0, 3)
)
def test_no_text_is_lost_or_cut_that_was_not_cut_before(sizes, seed, tmp_path_factory):
    lines = [{"prompt": f"{n}".ljust(before, "p"), "completion": "c" * said} for n, (before, said) in enumerate(sizes)]
    corpus = corpus_of(tmp_path_factory.mktemp("data"), lines)
    part = Part(corpus, np.arange(len(corpus))[::-1])
    packing = pack(part, CONTEXT, seed)
    assert sorted(packing.texts) == sorted(part.indices)
    batch = batch_of(part, packing, range(len(packing)))
    assert packing.padding == pytest.approx(np.mean(batch.segment_ids == 0))
    for row in range(len(packing)):
        assert batch.segment_ids[row].max() == len(packing.row(row))
        for number, index in enumerate(packing.row(row), 1):
            own_places = batch.segment_ids[row] == number
            unpacked = token_batch(corpus, [index], CONTEXT)
            length = int(own_places.sum())
            np.testing.assert_array_equal(batch.tokens[row, own_places], unpacked.tokens[0, 0, :length])
            np.testing.assert_array_equal(batch.targets[row, own_places], unpacked.tokens[0, 0, 1 : length + 1])
            np.testing.assert_array_equal(batch.loss_weight[row, own_places] > 0, unpacked.mask[0, 0, :length])
            assert (
                batch.loss_weight[row, own_places].sum() == pytest.approx(1) and not unpacked.mask[0, 0, length:].any()
            )


def test_rows_follow_from_the_seed(part):
    one, same, other = (pack(part, CONTEXT, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.texts, same.texts)
    # Only texts of one length change places.
    np.testing.assert_array_equal(one.bounds, other.bounds)
    lengths = lambda packing: [len(text_row(part.corpus, index, CONTEXT)[0]) for index in packing.texts]
    assert lengths(one) == lengths(other)


def test_positions_begin_anew_in_each_text():
    segment_ids = jnp.array([[1, 1, 1, 2, 3, 3, 0, 0], [1, 1, 2, 2, 2, 2, 2, 2], [1] * 8])
    expected = [[0, 1, 2, 0, 0, 1, 0, 1], [0, 1, 0, 1, 2, 3, 4, 5], list(range(8))]
    assert positions_within(segment_ids).tolist() == expected


@pytest.mark.parametrize("settings", [{}, {"activation": "silu", "tied": False, "remat": True}], ids=str)
def test_log_probabilities_are_those_of_each_text_alone(settings, part, packing, shaken):
    model = MODEL.clone(**settings)
    weights = shaken(model)
    batch = batch_of(part, packing, range(len(packing)))
    assert len(packing) < len(part) and batch.segment_ids.max() > 2
    packed = jax.jit(partial(packed_log_probs, model))(weights, batch)
    for row in range(len(packing)):
        for number, index in enumerate(packing.row(row), 1):
            text, _ = text_row(part.corpus, index, CONTEXT)
            alone = token_distribution(model.apply(weights, text[None, :-1])).log_prob(jnp.asarray(text[None, 1:]))[0]
            np.testing.assert_allclose(packed[row][batch.segment_ids[row] == number], alone, atol=1e-5)


def test_a_text_does_not_see_the_others_of_its_row(part, packing, shaken):
    """Other tokens in their places change nothing, to the bit."""
    weights, log_probs = shaken(MODEL), jax.jit(partial(packed_log_probs, MODEL))
    row = next(row for row in range(len(packing)) if len(packing.row(row)) > 2)
    batch = batch_of(part, packing, [row])
    second = batch.segment_ids == 2
    others = batch._replace(tokens=np.where(second, batch.tokens, (batch.tokens + 1) % 257))
    one, two = (np.asarray(log_probs(weights, each)) for each in (batch, others))
    np.testing.assert_array_equal(one[second], two[second])
    assert np.abs(one - two)[batch.segment_ids == 1].max() > 1e-3


def test_loss_and_gradient_of_a_row_are_the_sums_of_those_of_its_texts(part, packing, shaken):
    weights = shaken(MODEL)

    def alone(weights, texts):
        return losses_of("sft", 0.1, MODEL, {"model": weights}, weights, texts.tokens, texts.mask)[0].sum()

    for row in range(len(packing)):
        batch = batch_of(part, packing, [row])
        packed, gradient = jax.jit(jax.value_and_grad(lambda w, batch: packed_losses(MODEL, w, batch).sum()))(
            weights, batch
        )
        texts = token_batch(part.corpus, packing.row(row), CONTEXT)
        loss, expected = jax.jit(jax.value_and_grad(alone))(weights, texts)
        np.testing.assert_allclose(packed, loss, rtol=1e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5), gradient, expected)


def test_over_an_epoch_every_text_counts_alike(part, packing, shaken, monkeypatch):
    """In whichever row it lies: the mean gradient of an epoch's steps is that of the mean loss of all texts."""
    monkeypatch.setattr(training, "falling_adam", lambda *_: optax.sgd(1.0))
    run, weights = TextRun(batch=1, packing=True), shaken(MODEL)
    stage = packed_descent(run, MODEL, weights, part, packing)
    state, step = (stage.begin, stage.optimiser.init(stage.begin)), jax.jit(stage.step)
    batches = [batch_of_step(run, part, CONTEXT, packing, number) for number in range(len(packing))]
    texts = token_batch(part.corpus, part.indices, CONTEXT)

    def mean_loss(weights):
        return losses_of("sft", 0.1, MODEL, {"model": weights}, weights, texts.tokens, texts.mask)[0].mean()

    loss, expected = jax.jit(jax.value_and_grad(mean_loss))(weights)
    steps = [step(state, None, None, batch) for batch in batches]
    gradients = [jax.tree.map(jnp.subtract, weights, after["model"]) for (after, _), _ in steps]
    close = partial(np.testing.assert_allclose, atol=1e-5, rtol=1e-4)
    jax.tree.map(lambda mean, *each: close(sum(each) / len(each), mean), expected, *gradients)
    counts = [int(batch.segment_ids.max()) for batch in batches]
    assert np.average([float(metrics["loss"]) for _, metrics in steps], weights=counts) == pytest.approx(
        float(loss), rel=1e-5
    )


def test_every_epoch_has_each_row_once(part, packing):
    run = TextRun(batch=len(packing), packing=True)
    one, two = (batch_of_step(run, part, CONTEXT, packing, number) for number in (0, 1))
    assert sorted(map(bytes, one.tokens)) == sorted(map(bytes, two.tokens)) and (one.tokens != two.tokens).any()
