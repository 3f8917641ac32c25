"""A checkpoint of a few thousand weights in GPT-2's layout, with a tokenizer of its own, from files to files."""

import json
import shutil
import string

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax import cli
from seqrl_jax.checkpoint import save_tree
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.text.chat import Message
from seqrl_jax.text.page import is_text_run, write_text_page
from seqrl_jax.text.run import run_text
from seqrl_jax.text.settings import Files, TextRun
from seqrl_jax.text.training import CHECKPOINT
from seqrl_jax.text.use import continuations, scored
from seqrl_jax.text.vocabulary import Bytes, byte_characters
from seqrl_jax.text.weights import load_gpt, load_vocabulary, save_gpt

PARAGRAPH = "It was the best of times, it was the worst of times, it was the age of wisdom."
MERGES = [("t", "h"), ("th", "e"), ("\u0120", "the"), ("\u0120", "w"), ("\u0120w", "a"), ("\u0120wa", "s")]
MODEL = GPT(257 + len(MERGES), context=32, width=16, layers=1, heads=2)
END = "<|endoftext|>"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A directory as `transformers` leaves it: weights, settings, and byte pairs with six merges."""
    pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("gpt2")
    save_gpt(folder, MODEL, MODEL.initial_weights(jax.random.key(0)))
    words = [END, *byte_characters(), *map("".join, MERGES)]
    config = json.loads((folder / "config.json").read_text())
    del config["pad_token_id"]
    (folder / "config.json").write_text(json.dumps({**config, "bos_token_id": 0, "eos_token_id": 0}))
    content = json.loads(Bytes().files()["tokenizer.json"])
    content["model"] |= {"vocab": {word: place for place, word in enumerate(words)}}
    content["model"] |= {"merges": [" ".join(pair) for pair in MERGES]}
    content["added_tokens"][0]["id"] = 0
    content["pre_tokenizer"]["use_regex"] = True
    content["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder


def test_a_model_is_read_with_its_tokenizer(theirs):
    vocabulary = load_vocabulary(theirs)
    assert (vocabulary.size, vocabulary.end) == (MODEL.vocabulary, 0)
    tokens = vocabulary.encode(" was the")
    assert tokens.tolist() == [257 + MERGES.index(("\u0120wa", "s")), 257 + MERGES.index(("\u0120", "the"))]
    for text in (PARAGRAPH, "né\n 語", f"a{END}b"):
        assert vocabulary.spelled(vocabulary.encode(text)).decode() == text
    assert vocabulary.encode(f" the{END}").tolist() == [tokens[1], 0]


def test_a_model_of_others_is_trained_and_keeps_its_tokenizer(theirs, tmp_path):
    (tmp_path / "book.txt").write_text("\n\n".join(f"{n} {PARAGRAPH}" for n in range(20)))
    run = TextRun(steps=3, batch=4)
    report = run_text(run, Files(tmp_path / "book.txt", start=theirs), tmp_path / "sft")
    # A token is more than a byte.
    assert report.per_byte["mean"] < report.loss["mean"]
    assert load_gpt(tmp_path / "sft")[0] == MODEL
    assert (tmp_path / "sft" / "tokenizer.json").read_bytes() == (theirs / "tokenizer.json").read_bytes()
    for name in ("generation_config.json", "config.json"):
        written = json.loads((tmp_path / "sft" / name).read_text())
        assert (written["bos_token_id"], written["eos_token_id"]) == (0, 0) and "pad_token_id" not in written


def test_what_the_files_of_a_model_say_of_tokens_is_kept_from_run_to_run(theirs, tmp_path):
    generation = {"eos_token_id": [0], "max_length": 20}
    for name in theirs.iterdir():
        shutil.copy(name, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"bos_token_id": None, "pad_token_id": 5}))
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}")
    (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    (tmp_path / "book.txt").write_text("\n\n".join(f"{n} {PARAGRAPH}" for n in range(5)))
    start = tmp_path
    for out in (tmp_path / "first", tmp_path / "second"):
        run_text(TextRun(steps=1, batch=2), Files(tmp_path / "book.txt", start=start), out)
        written = json.loads((out / "config.json").read_text())
        assert [written[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")] == [None, 0, 5]
        assert json.loads((out / "generation_config.json").read_text()) == generation
        assert (out / "chat_template.jinja").read_text() == "{{ messages[0].content }}"
        start = out


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A byte model that says `a` and ends, each half of the time."""
    model = GPT(257, context=32, width=8, layers=1, heads=1)
    weights = jax.tree.map(np.zeros_like, model.initial_weights(jax.random.key(0)))
    weights["params"]["ln_f"]["bias"] = np.ones(8, np.float32)
    weights["params"]["wte"]["embedding"] = np.full((257, 8), -10, np.float32)
    weights["params"]["wte"]["embedding"][[ord("a"), 256]] = 10
    folder = tmp_path_factory.mktemp("ours")
    save_gpt(folder, model, weights, Bytes())
    return folder


def test_continuations_end_where_the_model_ends(ours):
    said = continuations(ours, "say ", 20, count=200)
    assert set("".join(said)) == {"a"}
    # Geometric lengths: a mean of 1, whose standard error over 200 is .1.
    assert abs(np.mean([len(text) for text in said]) - 1) < 0.4
    with pytest.raises(ValueError, match="5 tokens of the prompt and 40 more, and the model reads 32"):
        continuations(ours, "say ", 40)
    # As much as there is room for, where nobody says how much.
    assert len(continuations(ours, "say ")) == 1
    with pytest.raises(ValueError, match="33 tokens of the prompt and 1 more"):
        continuations(ours, 32 * "a")


def test_a_prompt_is_what_a_user_says_in_a_dialogue_where_that_is_asked_for(ours, tmp_path):
    vocabulary = load_vocabulary(ours)
    written = vocabulary.chat([Message("user", "Hi")], True)
    assert written == "\n\nHuman: Hi\n\nAssistant:"
    assert continuations(ours, "Hi", 2, 8, chat=True) == continuations(ours, written, 2, 8)
    for name in ours.iterdir():
        shutil.copy(name, tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ raise_exception('not today') }}")
    with pytest.raises(ValueError, match=r"the chat template cannot write it \(not today\)"):
        continuations(tmp_path, "Hi", chat=True)


def test_scores_are_log_probabilities_of_answers(ours, tmp_path):
    pairs = [{"prompt": letter, "chosen": "a", "rejected": "aa"} for letter in string.ascii_lowercase]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    result = scored(ours, tmp_path / "pairs.jsonl")
    expected = np.log(0.5) * np.array([[2, 3]] * 26)
    np.testing.assert_allclose(result.values, expected, atol=1e-4)
    assert result.what == "log_prob" and result.mean["mean"] == pytest.approx(2 * np.log(0.5), abs=1e-4)
    assert result.preferred["mean"] == 1 and result.preferred["low"] < 1
    (tmp_path / "texts.jsonl").write_text('{"text": "a"}\n')
    assert scored(ours, tmp_path / "texts.jsonl").preferred is None


def test_a_line_has_one_score_however_long_and_what_is_left_out_is_said(ours, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join([json.dumps({"text": "a" * 100}), "nothing", json.dumps({"text": "a", "more": 1})]))
    result = scored(ours, path, skip_bad=True)
    np.testing.assert_allclose(result.values, np.log(0.5) * np.array([[32], [2]]), atol=1e-3)
    assert result.mean["high"] == 0, "no log-probability is above it"
    assert result.truncated == 1 and result.skipped == 1
    left_out = ["fields that are not read: more (1 times)", "1 bad lines are left out"]
    assert result.remarks == [f"{path}: {what}" for what in left_out]


class Stop(Exception):
    pass


def test_a_run_that_has_not_ended_has_a_page_of_its_curve(ours, tmp_path, capsys):
    def stop(moment):
        if moment.step == 3:
            raise Stop

    (tmp_path / "book.txt").write_text("\n\n".join(f"{n} {PARAGRAPH}" for n in range(5)))
    run = TextRun(steps=4, batch=2, check_every=2)
    assert not is_text_run(tmp_path / "out")
    with pytest.raises(Stop):
        run_text(run, Files(tmp_path / "book.txt", start=ours), tmp_path / "out", progress=stop)
    assert is_text_run(tmp_path / "out")
    page = write_text_page(tmp_path / "out", tmp_path / "page" / "index.html").read_text()
    assert "2 steps made; the run has not ended" in page and page.count("<img") == 1

    elsewhere = tmp_path / "elsewhere"
    report = lambda out: cli.main(["report", str(tmp_path / "out"), "--out", str(out)])
    assert report(elsewhere) == report(elsewhere) == 0, "a page takes the place of an earlier one"
    (elsewhere / "notes.txt").write_text("mine")
    assert report(elsewhere) == 2 and "holds other files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("metadata", "why"),
    [([], "is no object"), ({"curve": [], "run": {}}, "not a checkpoint of a run on texts .without planned, step.")],
)
def test_a_checkpoint_of_something_else_has_no_page(tmp_path, metadata, why):
    save_tree(tmp_path / CHECKPOINT, jnp.zeros(2), metadata)
    with pytest.raises(ValueError, match=rf"training\.safetensors: .*{why}"):
        write_text_page(tmp_path, tmp_path / "page.html")
