import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrl_jax.text.corpus import scan
from seqrl_jax.text.encoding import batches_of, prompt_batch, token_batch
from seqrl_jax.text.vocabulary import Bytes

END = Bytes().end


def corpus_of(folder, *lines, purpose="texts"):
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return scan(path, purpose, Bytes(), 1000)


def as_bytes(row):
    return bytes(ord(".") if token == END else token for token in row.tolist())


def parts(tokens, mask):
    """What a row of a batch says: (prompt, answer) as bytes, `END` as a dot."""
    first, last = int(mask.argmax()), len(mask) - int(mask[::-1].argmax())
    return as_bytes(tokens[: first + 1]), as_bytes(tokens[first + 1 : last + 1])


def said(prompts):
    """What the prompts of a batch say, and that ends stand before them."""
    assert all((row[:begin] == END).all() for row, begin in zip(prompts.tokens, prompts.begins))
    return [as_bytes(row[begin:]) for row, begin in zip(prompts.tokens, prompts.begins)]


def test_batches_say_what_is_learned(tmp_path):
    corpus = corpus_of(tmp_path, {"prompt": "ab", "chosen": "c", "rejected": "de"}, purpose="pairs")
    batch = token_batch(corpus, [0], context=64)
    assert batch.tokens.shape == (1, 2, 33) and batch.mask.shape == (1, 2, 32)
    assert [parts(*row) for row in zip(batch.tokens[0], batch.mask[0])] == [(b".ab", b"c."), (b".ab", b"de.")]
    assert (batch.tokens[0, 0, 5:] == END).all()


def test_a_long_pair_is_cut_alike_in_front_of_both_answers(tmp_path):
    """By its longer answer: what is compared are two answers to one prompt."""
    corpus = corpus_of(tmp_path, {"prompt": "abcdefgh", "chosen": "y", "rejected": "nnnn"}, purpose="pairs")
    batch = token_batch(corpus, [0], context=8)
    assert [parts(*row) for row in zip(batch.tokens[0], batch.mask[0])] == [(b"efgh", b"y."), (b"efgh", b"nnnn.")]


@given(
    prompt=st.text("abc", max_size=60),
    chosen=st.text("de", max_size=60),
    rejected=st.text("fg", min_size=1, max_size=60),
    context=st.sampled_from([4, 31, 48]),
)
def test_every_pair_shares_the_right_of_its_prompt(tmp_path_factory, prompt, chosen, rejected, context):
    folder = tmp_path_factory.mktemp("pair")
    corpus = corpus_of(folder, {"prompt": prompt, "chosen": chosen, "rejected": rejected}, purpose="pairs")
    batch = token_batch(corpus, [0], context)
    (before, one), (same, other) = (parts(*row) for row in zip(batch.tokens[0], batch.mask[0]))
    assert (before == same and ("." + prompt).endswith(before.decode())) or before == b"."
    whole = [f"{answer}.".encode() for answer in (chosen, rejected)]
    assert [one, other] == [answer[: context + 1 - len(before)] for answer in whole]
    # Nothing is cut that there is room for.
    longest = max(map(len, whole))
    assert len(before) == max(1, min(len(prompt) + 1, context + 1 - longest))


def test_long_texts_lose_the_left_of_their_prompt(tmp_path):
    lines = [("p" * 40 + "q", "answer"), ("x", "y" * 90), ("s", "t")]
    corpus = corpus_of(tmp_path, *({"prompt": prompt, "completion": said} for prompt, said in lines))
    batch = token_batch(corpus, [0, 1, 2], 32)
    assert batch.tokens.shape == (3, 1, 33)
    assert parts(batch.tokens[0, 0], batch.mask[0, 0]) == (b"p" * 25 + b"q", b"answer.")
    assert parts(batch.tokens[1, 0], batch.mask[1, 0]) == (b".", b"y" * 32)


def test_what_people_say_within_an_answer_is_read_and_not_learned(tmp_path):
    talk = [{"role": role, "content": role[0]} for role in ("user", "assistant", "user", "assistant")]
    batch = token_batch(corpus_of(tmp_path, {"messages": talk}), [0], 100)
    said = batch.tokens[0, 0, 1:][batch.mask[0, 0]]
    assert bytes(said[:-1].tolist()) == b" a a" and said[-1] == END


def test_an_empty_answer_is_its_end(tmp_path):
    corpus = corpus_of(tmp_path, {"prompt": "ab", "chosen": "c", "rejected": ""}, purpose="pairs")
    batch = token_batch(corpus, [0], 64)
    assert parts(batch.tokens[0, 1], batch.mask[0, 1]) == (b".ab", b".")


def test_answers_of_others_stand_behind_one_s_own(tmp_path):
    pairs = [{"prompt": word, "chosen": word * 2, "rejected": word * 3} for word in "abc"]
    corpus = corpus_of(tmp_path, *pairs, purpose="pairs")
    batch = token_batch(corpus, [2, 0], 64, [0, 2])
    rows = [parts(*row) for row in zip(batch.tokens.reshape(8, -1), batch.mask.reshape(8, -1))]
    assert rows[:4] == [(b".c", b"cc."), (b".c", b"ccc."), (b".c", b"aa."), (b".c", b"aaa.")]
    assert rows[6:] == [(b".a", b"cc."), (b".a", b"ccc.")]


def test_one_s_own_answers_are_cut_as_if_no_other_stood_there(tmp_path):
    lines = [
        {"prompt": "p" * 20, "completion": "y", "label": True},
        {"prompt": "q", "completion": "n" * 40, "label": True},
    ]
    corpus = corpus_of(tmp_path, *lines, purpose="labels")
    first = token_batch(corpus, [0, 1], 32, [1, 0])
    rows = [parts(*row) for row in zip(first.tokens[0], first.mask[0])]
    assert rows[0] == (b"." + b"p" * 20, b"y.") and rows[1] == (b".", b"n" * 32)


def test_crossed_batches_of_a_part_have_no_example_that_is_its_own_other(tmp_path):
    lines = [{"prompt": word, "completion": word * 2, "label": True} for word in "abc"]
    part = corpus_of(tmp_path, *lines, purpose="labels").whole
    batches = batches_of(part, 2, 64, crossed=True)
    said = [parts(row, mask)[1] for batch in batches for row, mask in zip(batch.tokens[:, 1], batch.mask[:, 1])]
    assert said == [b"bb.", b"cc.", b"aa."]


def test_a_later_piece_of_a_text_does_not_begin_one(tmp_path):
    (tmp_path / "data.jsonl").write_text(json.dumps({"text": "a" * 32 + "b" * 10}))
    corpus = scan(tmp_path / "data.jsonl", "texts", Bytes(), 32)
    batch = token_batch(corpus, [0, 1], 32)
    rows = [parts(*row) for row in zip(batch.tokens[:, 0], batch.mask[:, 0])]
    assert rows == [(b".", b"a" * 32), (b"a", b"b" * 10 + b".")]


def test_prompts_end_side_by_side_and_leave_room(tmp_path):
    corpus = corpus_of(tmp_path, {"prompt": "p" * 70}, {"prompt": "q" * 90}, {"prompt": "s"}, purpose="prompts")
    batch = prompt_batch(corpus, [0, 1], context=128, length=4)
    assert batch.tokens.shape == (2, 124) and batch.length == 4
    assert said(batch) == [b"." + b"p" * 70, b"." + b"q" * 90]
    cut = prompt_batch(corpus, [1, 2], context=32, length=4)
    assert cut.tokens.shape == (2, 28) and said(cut) == [b"q" * 28, b".s"]


@pytest.mark.parametrize("purpose", ["texts", "prompts"])
def test_shapes_are_few(tmp_path, purpose):
    lines = [{"prompt": "p" * size, "completion": "c"} for size in range(1, 90)]
    corpus = corpus_of(tmp_path, *lines, purpose=purpose)
    if purpose == "prompts":
        sizes = {prompt_batch(corpus, [index], 256, 8).tokens.shape[1] for index in range(89)}
    else:
        sizes = {token_batch(corpus, [index], 256).mask.shape[-1] for index in range(89)}
    assert sizes == {32, 64, 128}
