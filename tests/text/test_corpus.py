import json

import numpy as np
import pytest

from seqrl_jax.text.corpus import Part, scan
from seqrl_jax.text.examples import DataError
from seqrl_jax.text.vocabulary import Bytes, written

END = Bytes().end
PAIR = {"prompt": "Q: ", "chosen": "yes", "rejected": "no"}
LABELLED = {"prompt": "Q: ", "completion": "yes", "label": True}
BAD = {**LABELLED, "completion": "no", "label": False}
TALK = {"messages": [{"role": role, "content": role[0]} for role in ("user", "assistant", "user", "assistant")]}


@pytest.fixture
def read(tmp_path):
    """(lines, purpose, ...) -> the corpus of a file with these lines."""

    def read(lines, purpose, context=64, skip_bad=False):
        path = tmp_path / "data.jsonl"
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        return scan(path, purpose, Bytes(), context, skip_bad)

    return read


def shown(corpus, index):
    """An example's prompt and answers as text, `.` for the end, in capitals what the model does not say."""
    prompt = corpus.vocabulary.spelled(corpus.prompt(index)).decode().upper()
    answers = []
    for answer in range(corpus.answers):
        tokens, own = corpus.answer(index, answer)
        letters = ["." if token == END else chr(token) for token in tokens]
        answers.append("".join(one if says else one.upper() for one, says in zip(letters, own, strict=True)))
    return prompt, *answers


def test_examples_are_read_for_what_they_serve(read):
    assert shown(read([PAIR], "pairs"), 0) == ("Q: ", "yes.", "no.")
    assert shown(read([PAIR], "texts"), 0) == ("Q: ", "yes.")
    assert shown(read([PAIR], "prompts"), 0) == ("Q: ", "")
    assert shown(read([{"prompt": "q"}], "prompts"), 0) == ("Q", "")
    talk = ("\n\nHUMAN: U\n\nASSISTANT:", " a\n\nHUMAN: U\n\nASSISTANT: a.")
    assert shown(read([TALK], "texts"), 0) == talk
    # What is to be answered is the last turn, and first what has no answer yet.
    assert shown(read([TALK], "prompts"), 0) == (talk[0] + talk[1][:-3].upper(), "")
    unanswered = {"messages": TALK["messages"][:3]}
    assert shown(read([unanswered], "prompts"), 0) == (talk[0] + talk[1][:-3].upper(), "")
    assert shown(read([unanswered], "texts"), 0) == (talk[0], " a.")


def test_a_text_that_says_where_it_begins_and_ends_does_so_once(read):
    end = "<|endoftext|>"
    plain = {"prompt": "Q: ", "completion": "yes"}
    for line in (plain, {"prompt": f"{end}Q: ", "completion": f"yes{end}\n"}):
        assert shown(read([line], "texts"), 0) == ("Q: ", "yes.")
    assert shown(read([{"text": f"{end}a{end}b{end}"}], "texts"), 0) == ("", "a.b.")
    assert shown(read([{"prompt": "", "completion": end}, plain], "texts"), 0) == ("", ".")


def test_what_is_labelled_bad_is_not_imitated(read):
    corpus = read([LABELLED, BAD, LABELLED], "texts")
    assert len(corpus) == 2 and corpus.disliked == 1 and corpus.duplicates == 1
    with pytest.raises(DataError, match="no example among 1 that were left out"):
        read([BAD], "texts")
    labels = read([LABELLED, BAD], "labels")
    assert labels.form == "label" and labels.good.tolist() == [True, False]


@pytest.mark.parametrize(
    ("line", "purpose", "why"),
    [
        ("{oops", "texts", "not JSON"),
        ("[" * 100_000, "texts", "nested too deeply"),
        ({"prompt": "q"}, "texts", "a prompt without a completion has nothing to learn"),
        ({"text": "a"}, "prompts", "a text has no prompt that could be answered"),
        ({"prompt": "", "completion": "x"}, "prompts", "an empty prompt asks for nothing"),
        ({"chosen": "abc", "rejected": "xyz"}, "prompts", "an empty prompt asks for nothing"),
        (LABELLED, "pairs", "a preference needs chosen and rejected$"),
        ({"text": "a"}, "labels", "a preference needs chosen and rejected, or a completion and its label"),
        (LABELLED, "labels", "a label, where those before it are pairs"),
    ],
)
def test_a_bad_line_is_named_or_counted(read, line, purpose, why):
    with pytest.raises(DataError, match=rf"data\.jsonl, line 3: {why}"):
        read([PAIR, PAIR, line, PAIR], purpose)
    skipping = read([PAIR, PAIR, line, PAIR], purpose, skip_bad=True)
    assert (len(skipping), skipping.skipped, skipping.duplicates) == (3, 1, 2)


def test_a_file_without_examples_is_refused(read):
    with pytest.raises(DataError, match=r"data\.jsonl: no example among 1 that were left out"):
        read(["nonsense"], "texts", skip_bad=True)


def test_fields_that_nobody_reads_are_counted(read):
    assert read([PAIR | {"id": 1}, PAIR | {"id": 2, "source": "x"}], "pairs").unread == {"id": 2, "source": 1}


def test_long_texts_are_read_in_pieces_of_which_every_token_is_learned_once(read):
    text = "".join(chr(97 + place % 26) for place in range(70))
    corpus = read([{"text": text}, {"text": "short"}], "texts", context=32)
    assert len(corpus) == 4
    assert [shown(corpus, index)[0] for index in range(4)] == ["", text[31].upper(), text[63].upper(), ""]
    assert "".join(shown(corpus, index)[1] for index in range(3)) == text + "."
    assert len(set(corpus.topics[:3].tolist())) == 1
    assert Part(corpus, np.arange(4)).truncated(32) == 0


def test_what_does_not_fit_is_counted(read):
    """A text of n bytes is n + 2 tokens, of which a model with context C reads C and is asked for the last C."""
    lengths = [29, 31, 32, 33, 90]
    corpus = read([{"prompt": "p" * 9, "completion": "c" * (length - 9)} for length in lengths], "texts")
    part = Part(corpus, np.arange(5))
    assert corpus.lengths.tolist() == [length + 2 for length in lengths]
    assert [part.truncated(context) for context in (30, 31, 32, 33, 34, 91)] == [4, 4, 3, 2, 1, 0]
    assert part.truncated_prompts(context=19, length=9) == 0 and part.truncated_prompts(context=18, length=9) == 5


def test_pairs_that_a_model_sees_alike_are_refused_or_counted(read):
    with pytest.raises(DataError, match=r"data.jsonl, line 2: chosen and rejected are equal in tokens"):
        read([PAIR, {**PAIR, "rejected": "yes<|endoftext|>"}], "pairs")
    longer = {**PAIR, "chosen": "aaaaaaab", "rejected": "aaaaaaac"}
    corpus = read([PAIR, longer], "pairs")
    assert [corpus.whole.alike(context) for context in (6, 7, 8, 64)] == [1, 1, 0, 0]
    assert not read([{"text": "a" * 20}], "texts", context=4).whole.alike(4)


def test_tokens_are_written_up_to_their_end():
    assert written(Bytes(), np.array([104, 105, END, 33])) == "hi"
    assert written(Bytes(), np.array([0xC3])) == "\ufffd"
