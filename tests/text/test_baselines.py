import json

import numpy as np
import pytest

from seqrl_jax.text.baselines import counted, counts_of, length_of, lengths, preferring
from seqrl_jax.text.corpus import Part, scan
from seqrl_jax.text.judge import NEGATIVE, POSITIVE, share, sign_of_mean, sign_of_most, summary
from seqrl_jax.text.report import as_good_as_counting, as_good_as_pairs, reward_moved
from seqrl_jax.text.vocabulary import Bytes


@pytest.fixture
def read(tmp_path):
    """(lines, purpose, how many are learned from) -> two parts."""

    def read(lines, purpose, learned):
        path = tmp_path / "data.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        corpus = scan(path, purpose, Bytes(), 64)
        return Part(corpus, np.arange(learned)), Part(corpus, np.arange(learned, len(corpus)))

    return read


@pytest.mark.parametrize("shorter", [False, True])
def test_which_length_is_liked_is_learned(read, shorter):
    """The shorter one, where that is what was chosen."""
    rng = np.random.default_rng(0)
    pairs = []
    for n in range(40):
        texts = ["x" * length for length in sorted(rng.choice(np.arange(1, 9), 2, replace=False))]
        short, long = texts
        chosen, rejected = (short, long) if shorter else (long, short)
        pairs.append({"prompt": f"{n}", "chosen": chosen, "rejected": rejected})
    training, held = read(pairs, "pairs", 30)
    assert preferring(length_of, training, held).tolist() == [1] * 10


def test_bytes_are_counted_in_pairs_and_under_labels(read):
    pairs = [{"prompt": f"{n}", "chosen": "ab", "rejected": "cd"} for n in range(8)]
    # What has no known byte cannot be told.
    pairs += [{"prompt": "x", "chosen": "xa", "rejected": "xc"}, {"prompt": "y", "chosen": "yy", "rejected": "zz"}]
    assert preferring(counts_of, *read(pairs, "pairs", 8)).tolist() == [1, 0.5]
    labels = [{"prompt": f"{n}", "completion": "ab" if n % 2 else "cb", "label": bool(n % 2)} for n in range(12)]
    assert preferring(counts_of, *read(labels, "labels", 8)).tolist() == [1] * 4


def test_counts_of_pairs_know_what_follows_what(read):
    """After `a` always `b`, after `b` `a` or the end: one of two halves of the bytes costs nothing to guess."""
    training, held = read([{"text": "ab" * n} for n in range(1, 20)] + [{"text": "abab"}], "texts", 19)
    counts = counted(training, held)
    # 190 of each, 19 ends, and one more of every byte: two `a`, two `b` and an end are said.
    unigram = -np.log(np.array([191, 191, 191, 191, 20]) / (190 * 2 + 19 + 257)).mean()
    assert counts.unigram == pytest.approx([unigram])
    assert 0 < counts.bigram[0] < 0.5 * unigram
    assert lengths(held).tolist() == [5]


def test_a_byte_after_a_prompt_follows_the_prompt(read):
    lines = [{"prompt": f"{n}a", "completion": "b"} for n in range(9)] + [{"prompt": "za", "completion": "b"}]
    training, held = read(lines, "texts", 9)
    assert counted(training, held).bigram[0] < counted(training, held).unigram[0]


def test_prompts_count_once_however_often_they_are_written():
    """Nine copies of a prompt that is judged right, one of a prompt that is not: one of two."""
    topics = np.array([5] * 9 + [7], np.uint64)
    right = [1.0] * 9 + [0.0]
    for interval in (summary(right, topics), share(right, topics)):
        assert interval["mean"] == 0.5 and interval["low"] < 0.2 and interval["high"] > 0.8
    assert share(right[:9], topics[:9]) == {"mean": 1.0, "low": None, "high": None}


def test_intervals_end_where_the_truth_must_lie():
    """Two values have Student's quantile of one degree of freedom, 12.7, which leads far below 0."""
    values, topics = np.array([0.5, 2.5]), np.arange(2)
    assert summary(values, topics)["low"] < 0 and summary(values, topics, POSITIVE)["low"] == 0
    assert summary(-values, topics, NEGATIVE)["high"] == 0


def test_a_sign_is_said_where_a_coin_would_not_have_shown_it():
    """All of five alike are 1 coin in 16, all of six 1 in 32; prompts that tell nothing are no trials."""
    signs = lambda *values: sign_of_most(np.array(values), np.arange(len(values)))
    assert signs(1, 1) == signs(*[1] * 5) == signs(0, 0) == signs(*[0] * 100) == 0
    assert signs(*[0.5] * 6) == signs(*[1] * 6, *[0] * 9) == 1 and signs(*[-1] * 6) == -1
    assert sign_of_most(np.ones(12), np.repeat([0, 1], 6)) == 0, "copies of a prompt are one"
    means = lambda *values: sign_of_mean(summary(np.array(values), np.arange(len(values))))
    assert means(1.0) == means(1.0, 1.5) == 0 and means(1.0, 1.1, 1.2, 0.9) == 1 and means(-1.0, -1.1, -1.2, -0.9) == -1


def test_what_the_judged_do_not_tell_is_no_verdict():
    assert as_good_as_counting("dpo", 1, 40) == "the model is better than counting bytes, on 40 prompts"
    worse = "the reward model is worse than counting bytes, on 40 prompts: optimising it is not advised"
    assert as_good_as_counting("rm", -1, 40) == worse
    undecided = "whether the reward model is better than counting bytes is not decided by 2 prompts"
    assert as_good_as_counting("rm", 0, 2) == f"{undecided}: optimising it is not advised"
    undecided = "whether the model is better than counting pairs of bytes is not decided by 1 prompt"
    assert as_good_as_pairs(0, 1) == undecided
    assert reward_moved(0, 2) == "whether the reward rose is not decided by 2 prompts"
    assert reward_moved(1, 9) == "the reward rose, on 9 prompts"
    assert reward_moved(-1, 9) == "the reward fell, on 9 prompts"
