import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrl_jax.text.vocabulary import END_WORD, Bytes, begun, byte_characters, ended, written

BYTES = Bytes()


@given(st.text())
def test_bytes_spell_what_they_encode(text):
    tokens = BYTES.encode(text)
    assert written(BYTES, np.append(tokens, [BYTES.end, 65])) == text and (tokens < 256).all()


def test_an_end_that_a_text_spells_is_the_end():
    text = f"{END_WORD}a{END_WORD}{END_WORD}b{END_WORD}"
    tokens = BYTES.encode(text)
    assert tokens.tolist() == [256, 97, 256, 256, 98, 256] and tokens.dtype == np.int32
    assert BYTES.spelled(tokens).decode() == text


@pytest.mark.parametrize("text", ["a", f"a{END_WORD}", f"a{END_WORD}\n"])
def test_a_text_begins_and_ends_once_whoever_says_so(text):
    assert ended(BYTES, text).tolist() == [97, 256]
    assert begun(BYTES, END_WORD + "a").tolist() == begun(BYTES, "a").tolist() == [97]
    assert ended(BYTES, "").tolist() == ended(BYTES, END_WORD).tolist() == [256]
    assert ended(BYTES, f"{END_WORD}a").tolist() == [256, 97, 256]


def test_byte_characters_are_gpt_2_s():
    """As its vocabulary has them: a space is U+0120, a line break U+010A, and what prints is itself."""
    names = byte_characters()
    assert len(set(names)) == 256
    assert (names[ord(" ")], names[ord("\n")], names[ord("a")], names[0]) == ("\u0120", "\u010a", "a", "\u0100")


def test_the_tokenizer_file_of_bytes_numbers_them_as_they_are():
    content = json.loads(BYTES.files()["tokenizer.json"])
    vocabulary = content["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(257))
    assert [vocabulary[name] for name in byte_characters()] == list(range(256))
    (end,) = content["added_tokens"]
    assert end["id"] == vocabulary[end["content"]] == BYTES.end and end["special"]
    assert json.loads(BYTES.files()["tokenizer_config.json"])["eos_token"] == end["content"]


def test_the_library_reads_the_tokenizer_file_of_bytes_as_we_do(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.Tokenizer.from_str(BYTES.files()["tokenizer.json"].decode())
    for text in ("", "once upon", "  \n\tné 語 🙂", "a" * 50, f"so{END_WORD} it{END_WORD}"):
        assert theirs.encode(text).ids == [BYTES.end, *BYTES.encode(text).tolist()]
        assert theirs.decode(BYTES.encode(text).tolist(), skip_special_tokens=False) == text
