"""Tokenizers as `transformers` 4 and 5 leave them: six merges of GPT-2's kind, and the tokens beside them.

What is expected of their texts is what `transformers` 5.24 reads from the same files.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrl_jax.text.chat import Message, plain
from seqrl_jax.text.corpus import scan
from seqrl_jax.text.formats import shared_beginning
from seqrl_jax.text.tokenizer import vocabulary_of
from seqrl_jax.text.vocabulary import END_WORD, Bytes, byte_characters

BYTES = Bytes()
MERGES = [("t", "h"), ("th", "e"), ("\u0120", "the"), ("\u0120", "w"), ("\u0120w", "a"), ("\u0120wa", "s")]
WORDS = [END_WORD, *byte_characters(), *map("".join, MERGES)]
PAD = len(WORDS)
TOKEN = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"content": "<pad>", "special": True}


def content(**settings):
    """A `tokenizer.json`. settings: of its pre-tokenizer."""
    whole = json.loads(BYTES.files()["tokenizer.json"])
    whole["model"] |= {"vocab": {word: place for place, word in enumerate(WORDS)}}
    whole["model"] |= {"merges": [" ".join(pair) for pair in MERGES]}
    whole["added_tokens"][0]["id"] = 0
    whole["pre_tokenizer"] |= {"use_regex": True, **settings}
    return whole | {"post_processor": None}


def read(directory, tokens=PAD, **files):
    """The vocabulary of a directory with these JSON files, named without their end."""
    for name, value in files.items():
        (directory / f"{name}.json").write_text(json.dumps(value))
    return vocabulary_of(directory, tokens, 0)


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("tokenizers")
    return tmp_path


@pytest.fixture
def old(folder):
    """As the slow tokenizers were saved: words and merges."""
    (folder / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, MERGES), ""]))
    return folder


def test_a_tokenizer_is_as_large_as_its_largest_number(folder):
    """Numbers that are left out count: a row that a model does not have would be read as another one."""
    whole = content()
    whole["model"]["vocab"]["\u0120was"] = PAD + 50
    with pytest.raises(ValueError, match=f"a tokenizer of {PAD + 51} tokens beside a model of {PAD}"):
        read(folder, tokenizer=whole)
    vocabulary = read(folder, PAD + 51, tokenizer=whole)
    assert vocabulary.size == PAD + 51
    assert vocabulary.encode(" was").tolist() == [PAD + 50]


def test_bytes_end_as_their_configuration_says(tmp_path):
    """257 tokens without a tokenizer are bytes, and their end is the last one or nobody's."""
    for end in (None, BYTES.end):
        assert vocabulary_of(tmp_path, BYTES.size, end) == BYTES
    with pytest.raises(ValueError, match="257 tokens and no tokenizer"):
        vocabulary_of(tmp_path, BYTES.size, 0)


def test_words_and_merges_are_read_with_their_end(old):
    vocabulary = read(old)
    assert vocabulary.encode(f"a{END_WORD} was the").tolist() == [98, 0, 262, 259]


@pytest.mark.parametrize("beside", ["added_tokens", "tokenizer_config"])
@pytest.mark.parametrize("kind", ["words and merges", "tokenizer"])
def test_tokens_beside_the_tokenizer_are_its_own(kind, beside, folder, request):
    files = {"tokenizer": content()} if kind == "tokenizer" else {}
    if not files:
        request.getfixturevalue("old")
    files[beside] = {"<pad>": PAD} if beside == "added_tokens" else {"added_tokens_decoder": {str(PAD): TOKEN}}
    vocabulary = read(folder, PAD + 1, **files)
    assert vocabulary.size == PAD + 1
    assert vocabulary.encode(f"a{END_WORD}b<pad> <pad>").tolist() == [98, 0, 99, PAD, 33, PAD]
    assert json.loads(vocabulary.files()[f"{beside}.json"]) == files[beside]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    pytest.importorskip("tokenizers")
    return read(tmp_path_factory.mktemp("gpt2"), tokenizer=content())


PIECES = st.lists(st.sampled_from(["the", " the", " was", "a", "'s", ".", " ", "\n", "\n\n"]), max_size=8)


@given(shared=PIECES, one=PIECES, other=PIECES)
def test_tokens_do_not_change_where_a_shared_prompt_ends(gpt2, shared, one, other):
    texts = ["".join(shared + rest) for rest in (one, other)]
    cut = shared_beginning(*texts)
    for text in texts:
        tokens = [*gpt2.encode(text[:cut]), *gpt2.encode(text[cut:])]
        assert tokens == gpt2.encode(text).tolist()


HELLO = [Message("user", "a"), Message("assistant", "b")]
WRITES = "{% for message in messages %}{{ eos_token }}WORD{{ message.content }}{% endfor %}"


@pytest.mark.parametrize("where", ["file", "configuration", "list"])
def test_a_model_s_own_chat_template_writes_dialogues(where, folder):
    own, other = WRITES.replace("WORD", "<pad>"), WRITES.replace("WORD", "")
    config = {"added_tokens_decoder": {str(PAD): TOKEN}, "eos_token": {"content": "<pad>"}, "add_bos_token": True}
    if where == "file":
        (folder / "chat_template.jinja").write_text(own)
    by_name = [{"name": "rag", "template": other}, {"name": "default", "template": own}]
    config["chat_template"] = {"file": other, "configuration": own, "list": by_name}[where]
    vocabulary = read(folder, PAD + 1, tokenizer=content(), tokenizer_config=config)
    assert vocabulary.chat(HELLO, True) == "<pad><pad>a<pad><pad>b"
    assert ("chat_template.jinja" in vocabulary.files()) == (where == "file")


def test_a_turn_that_the_template_ends_is_ended_once(folder):
    """The answer's last token is its end, whatever space the template puts behind it, and the model says it."""
    source = (
        "{{ bos_token }}{% for message in messages %}{{ '<pad>' if message.role == 'user' else '' }}"
        "{{ message.content + eos_token + '\\n' }}{% endfor %}"
    )
    files = {
        "tokenizer": content(),
        "tokenizer_config": {"chat_template": source, "added_tokens_decoder": {PAD: TOKEN}},
    }
    vocabulary = read(folder, PAD + 1, **files)
    talk = [message._asdict() for message in HELLO * 2]
    (folder / "talk.jsonl").write_text(json.dumps({"messages": talk}) + "\n")
    corpus = scan(folder / "talk.jsonl", "texts", vocabulary, 64)
    end, line, a, b = 0, 11, 98, 99
    tokens, own = corpus.answer(0, 0)
    assert corpus.prompt(0).tolist() == [PAD, a, end, line] and corpus.begins[0]
    assert tokens.tolist() == [b, end, line, PAD, a, end, line, b, end]
    assert own.tolist() == [True] * 3 + [False] * 4 + [True] * 2


def test_bytes_with_another_chat_template_are_written_by_it(folder):
    for name, file in BYTES.files().items():
        (folder / name).write_bytes(file)
    assert vocabulary_of(folder, BYTES.size, BYTES.end) == BYTES
    (folder / "chat_template.jinja").write_text(WRITES)
    vocabulary = vocabulary_of(folder, BYTES.size, BYTES.end)
    assert vocabulary.chat(HELLO, False) == f"{END_WORD}WORDa{END_WORD}WORDb"
    assert vocabulary.encode(f"a{END_WORD}é").tolist() == BYTES.encode(f"a{END_WORD}é").tolist()


def test_without_a_chat_template_dialogues_are_plain(gpt2):
    assert gpt2.chat is plain and BYTES.chat is plain


@pytest.mark.parametrize("template", ["{% for %}", [{"name": "rag", "template": "x"}], 3])
def test_a_chat_template_that_is_none_is_refused(template, folder):
    with pytest.raises(ValueError, match=r"chat.template"):
        read(folder, tokenizer=content(), tokenizer_config={"chat_template": template})


def test_a_number_that_is_not_free_is_refused(old):
    with pytest.raises(ValueError, match=f"the added token '<pad>' is {PAD + 5}, and {PAD} beside the others"):
        read(old, PAD + 9, added_tokens={"<pad>": PAD + 5})
    with pytest.raises(ValueError, match=r"added_tokens\.json: not an object"):
        read(old, added_tokens=[1])


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer": content(), "tokenizer_config": {"add_prefix_space": True}},
        {"tokenizer": content(add_prefix_space=True)},
        {
            "tokenizer": content()
            | {
                "pre_tokenizer": {
                    "type": "Sequence",
                    "pretokenizers": [
                        {"type": "Metaspace", "replacement": "_", "prepend_scheme": "first", "split": True}
                    ],
                }
            }
        },
        {"tokenizer": content() | {"normalizer": {"type": "Prepend", "prepend": "_"}}},
    ],
)
def test_a_space_before_whatever_is_read_is_refused(files, folder):
    """An answer is read by itself, and would stand behind its prompt with a space that nobody wrote."""
    with pytest.raises(ValueError, match="puts a space before whatever it reads"):
        read(folder, **files)


def test_a_model_of_bytes_is_known_by_its_size_and_its_file(tmp_path):
    assert vocabulary_of(tmp_path, 257, None) == BYTES
    (tmp_path / "tokenizer.json").write_bytes(BYTES.files()["tokenizer.json"])
    assert vocabulary_of(tmp_path, 257, 256) == BYTES


def test_a_model_without_its_tokenizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match="50257 tokens and no tokenizer"):
        vocabulary_of(tmp_path, 50257, 50256)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="eos_token_id is None, expected one of the 300 tokens"):
        vocabulary_of(tmp_path, 300, None)


def test_the_library_that_is_missing_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ImportError, match=r'pip install "seqrl_jax\[tokenizers\]"'):
        vocabulary_of(tmp_path, 300, 299)
