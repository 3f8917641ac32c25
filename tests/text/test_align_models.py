"""The texts of `benchmarks/align_models.py` are what their rule says."""

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest

from seqrl_jax.text.encoding import SHORTEST

ORDERED = ("two", "red", "kites", "Ada")


@pytest.fixture(scope="module")
def made():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        return importlib.import_module("align_models")


def test_every_batch_of_prompts_has_one_shape(made):
    """An end and a prompt fill one part that is read at once, and with a reply fit into the context."""
    sizes = {len(order.prompt) + 1 for order in made.orders(np.random.default_rng(0))}
    assert min(sizes) >= SHORTEST and max(sizes) < 2 * SHORTEST and max(sizes) + made.LONGEST + 1 <= made.CONTEXT


def test_replies_are_as_likely_and_as_good_as_they_say(made):
    """4000 of them: means lie within five standard errors of what follows from the rule."""
    rng = np.random.default_rng(0)
    replies = [made.draw_reply(rng, ORDERED) for _ in range(4000)]
    assert all(made.gold(ORDERED, reply.text) == reply.gold for reply in replies)
    binary = -made.RIGHT * math.log(made.RIGHT) - (1 - made.RIGHT) * math.log(1 - made.RIGHT)
    others = sum((1 - made.RIGHT) * math.log(len(words) - 1) for words in made.KINDS.values())
    entropy = math.log(len(made.OPENINGS)) + len(made.KINDS) * binary + others
    for values, mean in (([r.gold for r in replies], made.RIGHT), ([-r.log_prob for r in replies], entropy)):
        assert np.mean(values) == pytest.approx(mean, abs=5 * np.std(values) / len(values) ** 0.5)
    assert max(len(reply.text) for reply in replies) < made.LONGEST


@pytest.mark.parametrize("text", ["", "two red kites for Ada", "two red kites for Ada. ", "a"])
def test_what_is_no_reply_earns_nothing(made, text):
    assert made.gold(ORDERED, text) == 0 and made.gold(ORDERED, "Sure: two blue kites for Ben.") == 0.5


def test_no_policy_earns_more_at_its_distance(made):
    """What tilts every word to p spends four words' nats, and is the best there; all is earned at four surprises."""
    right = made.RIGHT
    assert made.best_gold(0.0) == made.best_gold(-1e-9) == right
    p = 0.85
    spent = 4 * (p * math.log(p / right) + (1 - p) * math.log((1 - p) / (1 - right)))
    assert made.best_gold(spent) == pytest.approx(p)
    assert made.best_gold(-4 * math.log(right)) == made.best_gold(9.0) == 1


def test_data_are_labelled_with_noise_and_judged_on_prompts_of_their_own(made, tmp_path):
    data = made.write_data(tmp_path, learned=300, judged=200, seed=0)
    read = lambda name: [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
    prompts = lambda name: {line["prompt"] for line in read(name)}
    assert len(read("pairs")) == 300 and len(data.ordered) == len(data.entropy) == len(read("texts_judge")) == 200
    assert not prompts("pairs") & prompts("pairs_judge") and prompts("texts") == prompts("prompts") == prompts("pairs")
    golds = [
        [made.gold(o, p[name]) for name in ("chosen", "rejected")] for o, p in zip(data.ordered, read("pairs_judge"))
    ]
    assert [chosen > rejected for chosen, rejected in golds] == data.labels.tolist()
    # Five standard errors of a share of 200.
    assert abs(1 - data.labels.mean() - made.NOISE) < 5 * (made.NOISE / 200) ** 0.5
