import json

import numpy as np
import pytest

from seqrl_jax.text.corpus import scan
from seqrl_jax.text.examples import DataError
from seqrl_jax.text.splitting import shared, split
from seqrl_jax.text.vocabulary import Bytes


def corpus_of(folder, *lines, purpose="pairs"):
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return scan(path, purpose, Bytes(), 64)


def pair(prompt, chosen="a", rejected="b"):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def test_no_prompt_stands_on_both_sides(tmp_path):
    corpus = corpus_of(tmp_path, *(pair(f"prompt {n % 300}", chosen=f"a{n}") for n in range(900)))
    training, held = split(corpus, 0.1)
    assert not set(training.topics.tolist()) & set(held.topics.tolist())
    assert len(training) + len(held) == 900
    # About a tenth of 300 prompts: 30, give or take four standard deviations of 5.2.
    assert 9 < len(set(held.topics.tolist())) < 51


def test_turns_that_follow_do_not_hide_the_same_dialogue(tmp_path):
    first = "\n\nHuman: hi\n\nAssistant:"
    later = first + " hello\n\nHuman: and?\n\nAssistant:"
    corpus = corpus_of(tmp_path, pair(first, " x", " y"), pair(later, " x", " y"), pair("\n\nHuman: ho\n\nAssistant:"))
    assert corpus.topics[0] == corpus.topics[1] != corpus.topics[2]


def test_a_dialogue_is_about_its_first_turn_however_it_is_written(tmp_path):
    first = "\n\nHuman: What? \n\nAssistant:"
    lines = [{"text": first + " x"}, {"text": first + " y"}, {"prompt": "What?", "completion": "z"}]
    lines += [{"messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "z"}]}]
    lines += [{"prompt": "What? ", "completion": "z"}]
    later = "\n\nHuman: And? \n\nAssistant: w"
    lines += [{"text": (first + " v" + later).strip()}, {"text": (first + " u" + later).strip()}]
    assert len(set(corpus_of(tmp_path, *lines, purpose="texts").topics.tolist())) == 1


def test_a_prompt_that_is_held_out_once_is_held_out_always(tmp_path):
    """Whatever else is in the file, and whatever it is read for."""
    prompts = [f"prompt {n}" for n in range(200)]
    before = split(corpus_of(tmp_path, *map(pair, prompts)), 0.2)[1]
    more = corpus_of(
        tmp_path, *map(pair, reversed(prompts)), *(pair(f"other {n}") for n in range(200)), purpose="texts"
    )
    after = split(more, 0.2)[1]
    assert set(before.topics.tolist()) <= set(after.topics.tolist())


def test_at_least_one_prompt_is_on_either_side(tmp_path):
    for share in (0.001, 0.999):
        training, held = split(corpus_of(tmp_path, pair("x"), pair("y"), pair("y", "c")), share)
        assert len(training) and len(held)
    with pytest.raises(DataError, match=r"2 examples of one prompt: none can be held out; .*--test"):
        split(corpus_of(tmp_path, pair("x"), pair("x", "c")), 0.5)


def test_prompts_of_both_files_are_counted(tmp_path):
    one = corpus_of(tmp_path, pair("x"), pair("y"))
    other = corpus_of(tmp_path, pair("y"), pair("y", "c"), pair("z"))
    assert shared(one, other) == 2 and np.array_equal(one.topics[1:], other.topics[:1])
