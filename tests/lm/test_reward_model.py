import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.lm.base import token_log_probs
from seqrl_jax.lm.labels import Labeller
from seqrl_jax.lm.preference import compared
from seqrl_jax.lm.reward_model import ANCHORS, RewardModel, counts, plackett_luce
from seqrl_jax.lm.rlhf import RLHF
from seqrl_jax.lm.stage import Aligning, advance, begin
from seqrl_jax.lm.tasks import make_task
from seqrl_jax.naming import SpecError
from seqrl_jax.networks.gpt import GPT


def test_rankings_have_plackett_and_luce_s_likelihood():
    rewards = np.random.default_rng(0).normal(size=(5, 4))
    expected = 0.0
    for row in rewards:
        for i in range(4):
            expected -= row[i] - np.log(np.exp(row[i:]).sum())
    assert float(plackett_luce(jnp.float32(rewards))) == pytest.approx(expected / 5, rel=1e-5)
    pair = jnp.float32(rewards[:, :2])
    assert float(plackett_luce(pair)) == pytest.approx(
        float(-jax.nn.log_sigmoid(pair[:, 0] - pair[:, 1]).mean()), rel=1e-5
    )


@pytest.mark.parametrize("noise", [0.0, 0.25])
def test_labels_follow_bradley_and_terry(noise):
    """The frequency of a > b within 5 standard errors; noise turns labels around, a liking for length moves them."""
    task = make_task("length_hack")
    a, b = [2, 0, 7, 7, 7], [0, 1, 0, 1, 7]
    prompt = jnp.full((20_000, 1), 2)
    tokens = jnp.broadcast_to(jnp.array([a, b]), (20_000, 2, 5))
    for bias in (0.0, 0.5, None):
        difference = (1 - 0.4) - (0 - 0.8) + (0.5 if bias is None else bias) * (3 - 5)
        chance = noise + (1 - 2 * noise) / (1 + np.exp(-difference))
        ranked = Labeller(noise, bias).rank(jax.random.key(1), task, prompt, tokens)
        won = np.asarray((ranked.chosen == jnp.array(a)).all(1)).mean()
        assert abs(won - chance) <= 5 * np.sqrt(chance * (1 - chance) / 20_000)
        both = np.sort(np.asarray(ranked.tokens).reshape(-1, 10), 1)
        assert (both == np.sort(a + b)).all()


def test_rankings_of_four_follow_plackett_and_luce():
    task = make_task("keyword")
    texts = [[7, 0, 7, 1], [7, 0, 1, 2], [0, 1, 2, 3], [0, 0, 0, 1]]
    worth = np.array([2, 1, 0, -2.0])
    tokens = jnp.broadcast_to(jnp.array(texts), (20_000, 4, 4))
    ranked = Labeller().rank(jax.random.key(0), task, jnp.broadcast_to(jnp.array([1, 3]), (20_000, 2)), tokens)
    share = np.exp(worth) / np.exp(worth).sum()
    first = np.array([(np.asarray(ranked.tokens[:, 0]) == text).all(1).mean() for text in texts])
    assert (np.abs(first - share) <= 5 * np.sqrt(share * (1 - share) / 20_000)).all()
    last = np.array([(np.asarray(ranked.rejected) == text).all(1).mean() for text in texts])
    assert last.argmax() == 3


def fit(rewards, model, task, reference, rankings):
    """The ensemble of seed 0 and its losses, in one compiled program."""
    train = jax.jit(lambda key, reference, rankings: rewards.train(key, model, task, reference, rankings))
    return train(jax.random.key(0), reference, rankings)


def rewarded(rewards, model, task, fitted, texts):
    """The reward of prompts and completions, in one compiled program."""
    return jax.jit(lambda fitted, texts: rewards.reward(model, task, fitted)(*texts))(fitted, texts)


def scored(rewards, model, task, weights, texts):
    """A member's raw score of prompts and completions, in one compiled program."""
    return jax.jit(lambda weights, texts: rewards.score(model, task, weights, *texts))(weights, texts)


@pytest.fixture(scope="module")
def setting(shaken):
    task = make_task("length_hack")
    model = GPT(task.size, 1 + task.length, width=8, layers=2, heads=2)
    weights = shaken(model)
    rankings = jax.jit(lambda key: compared(key, model, task, weights, 256, 3, Labeller(length_bias=0.0)))(
        jax.random.key(3)
    )
    return task, model, weights, rankings


@pytest.fixture(scope="module")
def others(setting):
    """Answers of the reference that no reward model has seen: prompts and completions."""
    task, model, reference, _ = setting
    again = jax.jit(lambda key: compared(key, model, task, reference, 1000, 2, Labeller()))(jax.random.key(8))
    return jnp.repeat(again.prompt, 2, 0), again.tokens.reshape(-1, task.length)


@pytest.mark.parametrize("trained", ["head", "last_block", "full", "scratch"])
def test_only_what_is_trained_moves_and_scores_are_centred(setting, others, trained):
    task, model, reference, rankings = setting
    rewards = RewardModel(trained=trained, members=2, updates=20, batch=32)
    fitted, losses = fit(rewards, model, task, reference, rankings)
    assert losses.shape == (2, 20) and np.isfinite(losses).all()
    first = jax.tree.map(lambda leaf: np.asarray(leaf)[0], fitted.weights)
    body = first["body"]
    change = lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).reshape(len(a), -1).max(1) > 0
    moved = jax.tree.map(change, body, reference)
    blocks = np.stack(jax.tree.leaves(moved["params"]["h"])).any(0)
    assert blocks.tolist() == {"head": [False, False], "last_block": [False, True]}.get(trained, [True, True])
    assert moved["params"]["wte"]["embedding"].any() == (trained in ("full", "scratch"))
    # Members differ by their seeds.
    assert np.ptp(fitted.weights["head"], 0).max() > 0

    one = dataclasses.replace(rewards, members=1)
    alone = jax.tree.map(lambda leaf: np.asarray(leaf)[:1], fitted)
    scores = np.asarray(rewarded(one, model, task, alone, others))
    # To every prompt mean 0 over 16 other draws, within 5 standard errors; the deviation is what the labels made it.
    for target in range(4):
        mine = scores[np.asarray(others[0][:, 0]) == target]
        assert abs(mine.mean()) < 5 * mine.std() * np.sqrt(1 / ANCHORS + 1 / len(mine))
    raw = scored(rewards, model, task, first, others)
    np.testing.assert_allclose(np.asarray(raw) - scores, np.asarray(fitted.offset)[0][others[0][:, 0]], atol=1e-5)


def test_ensembles_take_the_mean_or_the_smallest_score(setting):
    task, model, reference, rankings = setting
    rewards = RewardModel(features="bigram", members=3, updates=20, batch=32)
    fitted, _ = fit(rewards, model, task, reference, rankings)
    texts = rankings.prompt, rankings.chosen

    @jax.jit
    def each(fitted):
        of_one = lambda i: rewards.reward(model, task, jax.tree.map(lambda leaf: leaf[i : i + 1], fitted))(*texts)
        return jnp.stack([of_one(i) for i in range(3)])

    each = np.asarray(each(fitted))
    np.testing.assert_allclose(rewarded(rewards, model, task, fitted, texts), np.mean(each, 0), atol=1e-5)
    careful = dataclasses.replace(rewards, pessimistic=True)
    np.testing.assert_allclose(rewarded(careful, model, task, fitted, texts), np.min(each, 0), atol=1e-5)


@pytest.mark.parametrize("pessimistic", [False, True])
def test_a_constant_for_each_prompt_changes_nothing(pessimistic):
    """What preferences leave open: c(prompt) in a member's raw scores changes neither what rankings say of it nor the
    reward that a policy climbs, also where members disagree about c."""
    task = make_task("keyword")
    model = GPT(task.size, 6, width=8, layers=1, heads=2)
    reference = jax.jit(model.initial_weights)(jax.random.key(0))
    rewards = RewardModel(features="unigram", members=3, pessimistic=pessimistic)
    linear = jax.random.normal(jax.random.key(1), (3, 16, 8))
    constant = 5 * jax.random.normal(jax.random.key(2), (3, 16, 1))
    texts = jax.random.randint(jax.random.key(3), (64, 4), 0, 8)
    prompt = jnp.asarray(task.prompts, jnp.int32)[jnp.arange(64) % 16]

    @jax.jit
    def reward(linear):
        fitted = rewards.anchored(jax.random.key(4), model, task, reference, {"linear": linear})
        raw = jax.vmap(lambda weights: rewards.score(model, task, weights, prompt, texts))(fitted.weights)
        return rewards.reward(model, task, fitted)(prompt, texts), raw

    (before, raw), (after, moved) = reward(linear), reward(linear + constant / task.length)
    raw, moved = np.asarray(raw), np.asarray(moved)
    np.testing.assert_allclose(moved - raw, np.asarray(constant)[:, np.arange(64) % 16, 0], atol=1e-4)
    pairs = lambda raw: raw[:, :16] - raw[:, 16:32]  # two answers to the same prompt
    np.testing.assert_allclose(pairs(moved), pairs(raw), atol=1e-4)
    np.testing.assert_allclose(before, after, atol=1e-4)


def test_a_fit_keeps_the_weights_that_held_out_rankings_like_best(setting):
    """Half of all labels are random: 32 rankings are learned by heart, and the best is what came before that."""
    task, model, reference, rankings = setting
    few = jax.tree.map(lambda leaf: np.asarray(leaf)[:64], rankings)
    rewards = RewardModel(updates=100, batch=32, learning_rate=0.02, held_out=0.5)
    stage, start = rewards.stage(model, task), Aligning(reference, reference, few)
    state = jax.jit(lambda key: advance(stage, begin(stage, key, start), 100))(jax.random.key(0)).state
    held, training = np.asarray(state.order[:32]), np.asarray(state.order[32:])
    assert set(held) | set(training) == set(range(64)) and len(held) == len(training) == 32

    @jax.jit
    def loss_of(weights, part):
        return rewards._loss(model, task, jax.tree.map(lambda leaf: leaf[0], weights), part)

    loss = lambda weights, rows: float(loss_of(weights, jax.tree.map(lambda leaf: leaf[rows], few)))
    assert loss(state.best, held) == pytest.approx(float(state.best_loss[0]), rel=1e-4)
    assert loss(state.best, held) < loss(state.trained, held)
    assert loss(state.trained, training) < loss(state.best, training)


@pytest.mark.parametrize(("rankings", "batch"), [(2, 1), (2, 128), (1000, 1), (1000, 128)])
def test_some_rankings_are_held_out_and_some_learned_however_large_the_share(rankings, batch):
    for share in (1e-4, 0.5, 0.9999):
        held = RewardModel(held_out=share, batch=batch)._held_out_batches(jnp.arange(rankings))
        assert 1 <= held.size < rankings


def test_a_round_has_a_ranking_to_learn_from():
    with pytest.raises(ValueError, match="prompts is 5 and rounds is 3: a round needs a ranking to learn from"):
        RLHF(prompts=5, rounds=3)
    assert RLHF(prompts=6, rounds=3).rounds == 3


def test_a_score_is_read_at_the_last_spoken_token(setting):
    """What stands behind the end does not matter, and the end does."""
    task, model, reference, _ = setting
    weights = {"body": reference, "head": jax.random.normal(jax.random.key(1), (8,))}
    rewards = RewardModel()
    tokens = jnp.array([[1, 2, 7, 7, 7], [1, 2, 7, 0, 3], [1, 2, 3, 7, 7]])
    scores = np.asarray(scored(rewards, model, task, weights, (jnp.ones((3, 1), jnp.int32), tokens)))
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    assert abs(scores[0] - scores[2]) > 1e-3


def test_a_likelihood_ratio_is_the_log_ratio_of_spoken_tokens(setting):
    """0 before it is fitted; then that of a model that moved and of pi_0, which did not: by hand, token by token."""
    task, model, reference, rankings = setting
    rewards = RewardModel(features="likelihood", learning_rate=0.01, updates=20, batch=32)
    fitted, losses = fit(rewards, model, task, reference, rankings)
    assert losses[0, 0] == pytest.approx(np.log(6), abs=1e-5), "three answers that are worth the same"
    weights = jax.tree.map(lambda leaf: np.asarray(leaf)[0], fitted.weights)
    chex.assert_trees_all_equal(weights["reference"], reference)
    tokens = jnp.array([[1, 2, 7, 7, 7], [1, 2, 7, 0, 3], [1, 2, 3, 0, 1]])
    prompt = jnp.ones((3, 1), jnp.int32)
    read = jax.jit(lambda body: token_log_probs(model, body, prompt, tokens))
    log_prob = [np.asarray(read(body)) for body in (weights["body"], reference)]
    by_hand = [float(sum((log_prob[0] - log_prob[1])[row, :spoken])) for row, spoken in enumerate((3, 3, 5))]
    np.testing.assert_allclose(scored(rewards, model, task, weights, (prompt, tokens)), by_hand, atol=1e-5)
    assert np.abs(by_hand).min() > 1e-3
    with pytest.raises(
        SpecError, match="features is likelihood and trained is head: a likelihood ratio is fitted whole"
    ):
        RewardModel(features="likelihood", trained="head")


def test_words_and_pairs_are_counted():
    task = make_task("length_hack")
    counted = np.asarray(counts(jnp.array([[1, 2, 1, 7, 7], [0, 0, 0, 0, 0]]), task, "bigram"))
    words, pairs = counted[:, :8], counted[:, 8:].reshape(2, 8, 8)
    assert words[0].tolist() == [0, 2, 1, 0, 0, 0, 0, 1] and words[1, 0] == 5
    assert pairs[0, 1, 2] == pairs[0, 2, 1] == pairs[0, 1, 7] == 1 and pairs[0].sum() == 3
    assert pairs[1, 0, 0] == 4


def test_counted_words_find_the_reward_that_is_one(shaken):
    """A unigram model on labels of a reward that counts words finds the words' worth, up to noise of 8,000 labels."""
    worth = jnp.array([1.0, -1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0])
    task = dataclasses.replace(make_task("overopt"), gold=lambda prompt, tokens: worth[tokens].sum())
    model = GPT(8, 7, width=8, layers=1, heads=2)
    reference = jax.jit(model.initial_weights)(jax.random.key(0))
    rankings = jax.jit(lambda key: compared(key, model, task, reference, 8000, 2, Labeller()))(jax.random.key(1))
    rewards = RewardModel(features="unigram", updates=1500, learning_rate=0.03)
    fitted, _ = fit(rewards, model, task, reference, rankings)
    fit_worth = np.asarray(fitted.weights["linear"][0, 0])
    np.testing.assert_allclose(fit_worth - fit_worth.mean(), worth - worth.mean(), atol=0.2)
