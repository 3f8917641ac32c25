import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrl_jax.text.corpus import END, DataError, Example, parse, scan, shared_beginning, token_batch, written


@pytest.fixture
def file(tmp_path):
    def file(*lines):
        path = tmp_path / "data.jsonl"
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
        return path

    return file


def test_the_four_formats_are_read(file):
    text = {"text": "once"}
    answer = {"prompt": "Q: ", "completion": "A"}
    pair = {"prompt": "Q: ", "chosen": "yes", "rejected": "no"}
    shared = {"chosen": "Human: hi\n\nAssistant: hello", "rejected": "Human: hi\n\nAssistant: help"}
    texts = scan(file(text, answer, pair, shared), pairs=False)
    assert texts.read(range(4)) == [
        Example(b"", (b"once",)),
        Example(b"Q: ", (b"A",)),
        Example(b"Q: ", (b"yes",)),
        Example(b"Human: hi\n\nAssistant: ", (b"hello",)),
    ]
    pairs = scan(file(pair, "", shared), pairs=True)
    assert pairs.read([1, 0]) == [
        Example(b"Human: hi\n\nAssistant: ", (b"hello", b"help")),
        Example(b"Q: ", (b"yes", b"no")),
    ]
    assert pairs.numbers.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("line", "pairs", "why"),
    [
        ('{"text": ', False, "not JSON"),
        ("[1]", False, "not an object"),
        ({"text": 3}, False, "text is not a string"),
        ({"texts": "a"}, False, "expected text; prompt and completion; or chosen and rejected, found texts"),
        ({"prompt": "a", "completion": ""}, False, "an empty completion"),
        ({"text": "a"}, True, "a preference needs chosen and rejected"),
        ({"prompt": "", "chosen": "a", "rejected": "a"}, True, "chosen and rejected are equal"),
        ({"prompt": "", "chosen": "a", "rejected": ""}, True, "an empty completion"),
        ({"chosen": "so it is", "rejected": "so "}, True, "an empty completion"),
        ('{"text": "\\ud800"}', False, "no valid Unicode"),
    ],
)
def test_a_bad_line_is_named_or_counted(file, line, pairs, why):
    good = {"prompt": "p", "chosen": "a", "rejected": "b"}
    path = file(good, good, line, good)
    with pytest.raises(DataError, match=rf"data\.jsonl, line 3: .*{why}"):
        scan(path, pairs)
    skipping = scan(path, pairs, skip_bad=True)
    assert (len(skipping), skipping.skipped, skipping.numbers.tolist()) == (3, 1, [1, 2, 4])
    assert len(skipping.read([2])) == 1


def test_a_file_without_examples_is_refused(file):
    with pytest.raises(DataError, match=r"data\.jsonl: no example among 1 bad lines"):
        scan(file("nonsense"), pairs=False, skip_bad=True)
    with pytest.raises(OSError, match="nowhere"):
        scan("nowhere.jsonl", pairs=False)


def test_batches_say_what_is_learned():
    batch = token_batch([Example(b"ab", (b"c", b"de"))], context=64)
    assert batch.tokens.shape == (1, 2, 33) and batch.mask.shape == (1, 2, 32)
    a, b, c, d, e = b"abcde"
    assert batch.tokens[0, 0, :6].tolist() == [END, a, b, c, END, END]
    assert batch.tokens[0, 1, :6].tolist() == [END, a, b, d, e, END]
    # What is predicted where the mask is true: the completion and its end.
    assert batch.tokens[0, 0, 1:][batch.mask[0, 0]].tolist() == [c, END]
    assert batch.tokens[0, 1, 1:][batch.mask[0, 1]].tolist() == [d, e, END]


def test_long_texts_lose_the_left_of_their_prompt():
    examples = [Example(b"p" * 40 + b"q", (b"answer",)), Example(b"x", (b"y" * 90,)), Example(b"s", (b"t",))]
    batch = token_batch(examples, 32)
    assert batch.tokens.shape == (3, 1, 33)
    assert bytes(batch.tokens[0, 0, :-1].tolist()[:26]) == b"p" * 25 + b"q"
    assert batch.tokens[0, 0, 1:][batch.mask[0, 0]].tolist() == [*b"answer", END]
    assert batch.tokens[1, 0].tolist() == [END, *b"y" * 32] and batch.mask[1, 0].all()


def test_examples_that_do_not_fit_are_counted_once(file):
    """A text of n bytes is n + 2 tokens, of which a model with context C reads C and is asked for the last C."""
    lengths = [29, 31, 32, 33, 90]
    corpus = scan(file(*({"prompt": "p" * 9, "completion": "c" * (length - 9)} for length in lengths)), pairs=False)
    assert corpus.lengths.tolist() == [length + 2 for length in lengths]
    for context in (30, 31, 32, 33, 34, 91):
        rows = [token_batch([example], context).tokens[0, 0] for example in corpus.read(range(5))]
        whole = [bytes(row[row != END].tolist()) for row in rows]
        cut = sum(len(text) < length for text, length in zip(whole, lengths, strict=True))
        # One byte short of room, only the end itself is cut.
        assert corpus.truncated(context) - cut == lengths.count(context)


@given(st.lists(st.tuples(st.binary(max_size=80), st.binary(min_size=1, max_size=80)), min_size=1, max_size=4))
def test_every_text_keeps_its_completion_or_fills_the_context(texts):
    context = 48
    batch = token_batch([Example(prompt, (completion,)) for prompt, completion in texts], context)
    for tokens, mask, (prompt, completion) in zip(batch.tokens[:, 0], batch.mask[:, 0], texts, strict=True):
        said = tokens[1:][mask].tolist()
        assert said == [*completion, END][:context]
        before = tokens[: int(mask.argmax()) + 1].tolist()
        assert [END, *prompt][-len(before) :] == before or before == [END]


@given(st.binary(), st.text())
def test_only_bad_lines_are_refused_and_never_otherwise(noise, text):
    for line in (noise, json.dumps({"text": text}).encode()):
        try:
            parse(line, 7, pairs=False)
        except DataError as error:
            assert str(error).startswith("line 7: ")


def test_prompts_end_with_a_word():
    assert shared_beginning(b"the cat sat", b"the car sat") == 4
    assert shared_beginning(b"abc", b"abd") == 0
    assert shared_beginning(b"a\nxy", b"a\nxz") == 2


def test_tokens_are_written_up_to_their_end():
    assert written(np.array([104, 105, END, 33])) == "hi"
    assert written([0xC3]) == "\ufffd"
