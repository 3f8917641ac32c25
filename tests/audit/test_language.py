import dataclasses
import itertools
import json

import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax import cli
from seqrl_jax.audit import language
from seqrl_jax.audit.audit import VALID
from seqrl_jax.audit.language import (
    GROUP,
    Estimate,
    advantages_by_level,
    compared,
    gradient,
    group_estimates,
    language_rows,
    mean_square,
    simple,
    table,
    top_k,
    top_p,
)
from seqrl_jax.lm.tasks import LMTask, make_task

SIZE, LENGTH, PROMPTS = 4, 2, 2


@pytest.fixture(scope="module")
def task():
    """Sixteen texts of two words, of which those that go on behind the end are none."""
    return LMTask(
        name="tiny",
        vocabulary=tuple("abc."),
        prompts=np.array([[0], [1]]),
        length=LENGTH,
        end=3,
        gold=lambda prompt, tokens: (
            jnp.sum(tokens == prompt[0]).astype(jnp.float32) - jnp.where(tokens[0] == 3, 0.5, 0.0)
        ),
        corpus=lambda key, prompt: jnp.zeros(LENGTH, jnp.int32),
    )


@pytest.fixture(scope="module")
def logits():
    rng = np.random.default_rng(5)
    return [rng.normal(size=(PROMPTS, SIZE**t, SIZE)) for t in range(LENGTH)]


def by_differences(value, logits):
    """The gradient of a function of all logits, flat."""
    out = []
    for t, here in enumerate(logits):
        for place in np.ndindex(here.shape):
            step = np.zeros(here.shape)
            step[place] = 1e-5
            moved = [value([*logits[:t], here + sign * step, *logits[t + 1 :]]) for sign in (1, -1)]
            out.append((moved[0] - moved[1]) / 2e-5)
    return np.array(out)


def test_laws_leave_out_what_goes_on_behind_the_end(task, logits):
    law = table(task, logits).law.reshape(PROMPTS, SIZE, SIZE)
    np.testing.assert_allclose(law.sum((1, 2)), 1)
    assert (law[:, 3, :3] == 0).all() and (law[:, 3, 3] > 0).all()
    assert (law[:, :3] > 0).all()


def test_gradients_are_those_of_the_objectives(task, logits):
    """E[r] and KL(pi || pi_0), by finite differences."""
    policy, reward = table(task, logits), language.rewards(task)
    reference = table(task, [0.5 * here for here in logits])
    earns = lambda logits: float((table(task, logits).law * reward).sum(1).mean())
    np.testing.assert_allclose(
        gradient(simple(policy, policy, reward[..., None])), by_differences(earns, logits), atol=1e-8
    )

    def divergence(logits):
        now = table(task, logits)
        return float((now.law * (now.logs - reference.logs).sum(2)).sum(1).mean())

    away = (policy.logs - reference.logs).sum(2, keepdims=True)
    np.testing.assert_allclose(gradient(simple(policy, policy, away)), by_differences(divergence, logits), atol=1e-8)


def test_spread_is_that_of_one_answer_s_estimate(task, logits):
    """Text by text: the squared length of each weighted score."""
    policy = table(task, logits)
    weights = np.random.default_rng(1).normal(size=policy.logs.shape)
    total = 0.0
    for prompt, text in np.ndindex(policy.law.shape):
        alone = dataclasses.replace(policy, law=np.zeros(policy.law.shape))
        alone.law[prompt, text] = 1.0
        one = PROMPTS * gradient(Estimate(alone, policy, weights, weights))
        total += policy.law[prompt, text] * float(one @ one) / PROMPTS
    assert mean_square(simple(policy, policy, weights)) == pytest.approx(total)


def test_groups_are_all_groups(task, logits):
    """Every four answers, by brute force on two words: expectation and mean square of one member's advantage."""
    values, mass = np.array([-1.0, 0.0, 2.0]), np.array([0.2, 0.5, 0.3])
    found = advantages_by_level(values, mass)
    for own in range(3):
        expected = {name: np.zeros(2) for name in found}
        for others in itertools.product(range(3), repeat=GROUP - 1):
            rewards = values[[own, *others]]
            each = {
                "leave one out": rewards[0] - rewards[1:].mean(),
                "minus mean": rewards[0] - rewards.mean(),
                "minus mean, by deviation": (rewards[0] - rewards.mean()) / (rewards.std(ddof=1) + 1e-4),
            }
            for name, advantage in each.items():
                expected[name] += np.prod(mass[list(others)]) * np.array([advantage, advantage**2])
        for name, moments in found.items():
            np.testing.assert_allclose(moments[:, own], expected[name], rtol=1e-9)


def test_truncated_policies_keep_the_likely_words(task, logits):
    policy = table(task, logits)
    halved, nucleus = top_k(task, policy), top_p(task, policy)
    for before, kept, enough in zip(policy.tokens, halved.tokens, nucleus.tokens, strict=True):
        assert ((kept > 0).sum(-1) == 2).all() and (kept.argmax(-1) == before.argmax(-1)).all()
        np.testing.assert_allclose(kept.sum(-1), 1)
        share = np.where(enough > 0, before, 0).sum(-1)
        least = np.where(enough > 0, before, np.inf).min(-1)
        assert (share >= language.TOP_P - 1e-12).all() and (share - least < language.TOP_P).all()


@pytest.fixture(scope="module", params=["tiny", "reversal"])
def rows(request, task):
    few = make_task("reversal")
    few = dataclasses.replace(few, prompts=few.prompts[1::8])
    return {row["estimator"]: row for row in language_rows(task if request.param == "tiny" else few)}


def test_what_is_known_of_estimates_of_kl(rows):
    valid = ["k1 in reward", "k2 in loss, of completions"]
    assert all(rows[name]["relative_bias"] < VALID and rows[name]["cosine"] > 1 - VALID for name in valid)
    assert rows["k1 in loss"]["relative_bias"] == pytest.approx(1) and rows["k1 in loss"]["cosine"] is None
    assert rows["k1 in loss"]["std"] > 0, "all of it is noise"
    biased = ["k3 in loss", "k3 in loss, of completions", "k2 in reward", "k3 in reward", "k2 in loss"]
    assert all(rows[name]["relative_bias"] > 0.01 for name in biased)


def test_what_is_known_of_groups_and_ratios(rows):
    valid = [
        "group, leave one out",
        "old data, ratio of the completion",
        "top-k, truncated score",
        "top-p, truncated score",
    ]
    assert all(rows[name]["relative_bias"] < VALID for name in valid)
    # The mean that holds oneself takes 1 / G off, and no more.
    assert rows["group, minus mean"]["relative_bias"] == pytest.approx(1 / GROUP)
    assert rows["group, minus mean"]["cosine"] == pytest.approx(1)
    biased = [
        "group, minus mean, by deviation",
        "old data, no ratio",
        "old data, ratios of tokens",
        "top-k, whole score",
    ]
    assert all(rows[name]["relative_bias"] > 0.01 for name in biased)
    geometric, whole = (rows[f"old data, {name}"]["std"] for name in ("geometric ratio", "ratio of the completion"))
    assert geometric < whole, "what the root is taken for"


def test_k3_in_the_loss_pulls_towards_the_reference(task, logits):
    """For completions its gradient is that of KL(pi_0 || pi), exactly."""
    policy, reference = table(task, logits), table(task, [0.5 * here for here in logits])
    estimates = dict(language.kl_estimates(policy, reference))
    backwards = by_differences(
        lambda logits: -float((reference.law * table(task, logits).logs.sum(2)).sum(1).mean()), logits
    )
    assert compared(backwards, estimates["k3 in loss, of completions"])["relative_bias"] < 1e-6


def test_groups_of_too_many_rewards_have_no_rows(task, logits):
    policy = table(task, logits)
    many = np.random.default_rng(0).normal(size=(PROMPTS, 60))
    assert not list(group_estimates(policy, many))


def test_language_tasks_stand_beside_the_others(capsys, tmp_path):
    assert cli.main(["audit", "--tasks", "reversal", "--json", "--out", str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {row["task"] for row in printed["rows"]} == {"reversal"}
    assert {"task", "estimator", "cosine", "relative_bias", "std"} <= set(printed["rows"][0])
    assert json.loads((tmp_path / "audit.json").read_text())["rows"] == printed["rows"]
    assert cli.main(["audit", "--tasks", "reversal"]) == 0
    assert "k2 in loss" in capsys.readouterr().out
    assert cli.main(["audit", "--tasks", "random_walks"]) == 2
    assert "too many to list" in capsys.readouterr().err
