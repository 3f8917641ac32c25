import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.lm import exact
from seqrl_jax.lm.policy_gradient import (
    PolicyGradient,
    Rollout,
    batch_normalised,
    clipped_value_loss,
    differing_groups,
    group_normalised,
    k1,
    k3,
    leave_one_out,
    surrogate,
)
from seqrl_jax.lm.registry import DAPO, DR_GRPO, GRPO, GSPO, PPO, REINFORCE_PP, RLOO
from seqrl_jax.lm.tasks import make_task
from seqrl_jax.networks.gpt import GPT

G, M, L = 4, 3, 5
B = G * M


@pytest.fixture(scope="module")
def drawn():
    """Random log-probabilities, rewards and values of completions that end at different places."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, L + 1, size=B)
    lengths[:2] = L, 1
    mask = np.arange(L) < lengths[:, None]
    old = -rng.exponential(size=(B, L))
    return {
        "mask": mask,
        "old": np.where(mask, old, 0.0),
        "new": old + 0.3 * rng.normal(size=(B, L)),
        "reference": np.where(mask, old + 0.5 * rng.normal(size=(B, L)), 0.0),
        "reward": rng.normal(size=B),
        "value": rng.normal(size=(B, L)),
        "new_value": rng.normal(size=(B, L)),
    }


def ours(method, d):
    """Loss and gradients by log pi and values, of the code that trains."""

    @jax.jit
    def of(f):
        advantage, target = method.advantages(f["reward"], f["old"], f["reference"], f["mask"], f["value"])
        zeros = jnp.zeros((B, L), jnp.int32)
        rollout = Rollout(zeros, zeros, f["mask"], f["old"], f["reference"], f["reward"], advantage, target)
        loss = lambda log_prob, value: method.token_loss(log_prob, value, rollout)
        return jax.value_and_grad(loss, argnums=(0, 1))(f["new"], f["new_value"])

    return of({name: value if name == "mask" else value.astype(np.float32) for name, value in d.items()})


def by_differences(loss, d, name):
    """The gradient of a float64 loss by one of its arrays."""
    out = np.zeros((B, L))
    for place in np.ndindex(B, L):
        moved = [
            {**d, name: d[name] + step * (np.arange(B * L).reshape(B, L) == place[0] * L + place[1])}
            for step in (1e-6, -1e-6)
        ]
        out[place] = (loss(moved[0]) - loss(moved[1])) / 2e-6
    return out


def rloo(d, kl_coef=0.05):
    total = 0.0
    for i in range(B):
        group = [j for j in range(B) if j // G == i // G and j != i]
        worth = lambda j: d["reward"][j] - kl_coef * sum((d["old"] - d["reference"])[j][d["mask"][j]])
        total -= (worth(i) - np.mean([worth(j) for j in group])) * d["new"][i][d["mask"][i]].sum()
    return total / B


def grpo(d, kl_coef=0.05, clip=0.2, normalise=True):
    total = 0.0
    for i in range(B):
        group = d["reward"][i // G * G : i // G * G + G]
        advantage = d["reward"][i] - group.mean()
        if normalise:
            advantage /= group.std(ddof=1) + 1e-4
        each = []
        for t in np.flatnonzero(d["mask"][i]):
            ratio = np.exp(d["new"][i, t] - d["old"][i, t])
            bound = min(ratio * advantage, np.clip(ratio, 1 - clip, 1 + clip) * advantage)
            log_ratio = d["reference"][i, t] - d["new"][i, t]
            each.append(bound - kl_coef * (np.exp(log_ratio) - log_ratio - 1))
        total -= np.mean(each) if normalise else np.sum(each)
    return total / B


def ppo(d, kl_coef=0.05, clip=0.2, lambda_=0.95, cost=0.1, value_clip=0.2):
    total = 0.0
    for i in range(B):
        n = d["mask"][i].sum()
        reward = -kl_coef * (d["old"] - d["reference"])[i, :n]
        reward[-1] += d["reward"][i]
        value = np.append(d["value"][i, :n], 0.0)
        advantage = np.zeros(n + 1)
        for t in reversed(range(n)):
            advantage[t] = reward[t] + value[t + 1] - value[t] + lambda_ * advantage[t + 1]
        for t in range(n):
            ratio = np.exp(d["new"][i, t] - d["old"][i, t])
            target = advantage[t] + value[t]
            near = value[t] + np.clip(d["new_value"][i, t] - value[t], -value_clip, value_clip)
            error = 0.5 * max((d["new_value"][i, t] - target) ** 2, (near - target) ** 2)
            total -= min(ratio * advantage[t], np.clip(ratio, 1 - clip, 1 + clip) * advantage[t]) - cost * error
    return total / B


def group_advantage(d, i):
    group = d["reward"][i // G * G : i // G * G + G]
    return (d["reward"][i] - group.mean()) / (group.std(ddof=1) + 1e-4)


def dapo(d):
    """Clipped higher upwards; every token of the batch weighs the same."""
    total = 0.0
    for i in range(B):
        for t in np.flatnonzero(d["mask"][i]):
            ratio, advantage = np.exp(d["new"][i, t] - d["old"][i, t]), group_advantage(d, i)
            total -= min(ratio * advantage, np.clip(ratio, 1 - 0.2, 1 + 0.28) * advantage)
    return total / d["mask"].sum()


def gspo(d, kl_coef=0.05):
    """The ratio of whole completions, its |y|-th root, clipped once for each."""
    total = 0.0
    for i in range(B):
        here, advantage = d["mask"][i], group_advantage(d, i)
        ratio = np.exp((d["new"] - d["old"])[i][here].mean())
        log_ratio = (d["reference"] - d["new"])[i][here]
        penalty = kl_coef * np.sum(np.exp(log_ratio) - log_ratio - 1)
        total -= min(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage) - penalty
    return total / B


def reinforce_pp(d, kl_coef=0.05):
    """Reward to go with the price of KL at each token, normalised over the tokens of the batch; clipped ratios."""
    to_go = {}
    for i in range(B):
        spoken = np.flatnonzero(d["mask"][i])
        for t in spoken:
            to_go[i, t] = d["reward"][i] - kl_coef * sum((d["old"] - d["reference"])[i, s] for s in spoken if s >= t)
    mean, deviation = np.mean(list(to_go.values())), np.std(list(to_go.values()))
    total = 0.0
    for (i, t), worth in to_go.items():
        ratio, advantage = np.exp(d["new"][i, t] - d["old"][i, t]), (worth - mean) / deviation
        total -= min(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage)
    return total / B


@pytest.mark.parametrize(
    ("method", "numpy"),
    [
        (RLOO, rloo),
        (GRPO, grpo),
        (DR_GRPO, lambda d: grpo(d, normalise=False)),
        (PPO, ppo),
        (DAPO, dapo),
        (GSPO, gspo),
        (REINFORCE_PP, reinforce_pp),
    ],
    ids=["rloo", "grpo", "dr_grpo", "ppo", "dapo", "gspo", "reinforce_pp"],
)
def test_losses_and_gradients_are_those_of_numpy(drawn, method, numpy):
    method = dataclasses.replace(method, group=G, prompts=M)
    value, (by_log_prob, by_value) = ours(method, drawn)
    assert float(value) == pytest.approx(numpy(drawn), rel=1e-5)
    np.testing.assert_allclose(by_log_prob, by_differences(numpy, drawn, "new"), atol=1e-5)
    if method.advantage == "value":
        np.testing.assert_allclose(by_value, by_differences(numpy, drawn, "new_value"), atol=1e-5)


def test_groups_are_centred():
    rewards = jnp.array([[1.0, 2.0, 3.0, 6.0], [0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(leave_one_out(rewards)[0], [1 - 11 / 3, 2 - 10 / 3, 0 / 1 + 3 - 3, 6 - 2], atol=1e-6)
    np.testing.assert_allclose(
        group_normalised(rewards)[0], (np.array([1, 2, 3, 6]) - 3) / (np.std([1, 2, 3, 6], ddof=1) + 1e-4), rtol=1e-5
    )
    assert not np.asarray(group_normalised(rewards)[1]).any()


def test_a_batch_is_normalised_over_its_tokens():
    mask = jnp.array([[True, True, False], [True, False, False]])
    normalised = np.asarray(batch_normalised(jnp.array([[1.0, 2.0, 99.0], [6.0, 99.0, 99.0]]), mask))
    np.testing.assert_allclose(normalised[np.asarray(mask)], (np.array([1, 2, 6]) - 3) / np.std([1, 2, 6]), rtol=1e-5)
    assert not normalised[~np.asarray(mask)].any()


def test_groups_that_differ_are_kept_and_others_fill_the_batch():
    reward = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    assert differing_groups(reward, 2).tolist() == [2, 3, 6, 7]
    assert differing_groups(reward, 3).tolist() == [2, 3, 6, 7, 0, 1]


def test_dynamic_sampling_learns_from_groups_whose_rewards_differ(climbed):
    """Where one answer in 500 is right, most groups are alike; of 8 times as many more of the kept ones differ."""
    task, model, weights, reference, _ = climbed
    easier = lambda prompt, tokens: (tokens[:, 0] == 0).astype(jnp.float32)
    whole = {"model": weights, "value": jnp.zeros(4)}

    def differ(candidates):
        method = dataclasses.replace(DAPO, prompts=16, group=2, candidates=candidates)
        drawn = jax.jit(lambda key: method.collect(key, model, task, whole, reference, easier))(jax.random.key(0))
        groups = np.asarray(drawn.reward).reshape(16, 2)
        assert (np.asarray(drawn.advantage).reshape(16, 2, -1).any((1, 2)) == (groups[:, 0] != groups[:, 1])).all()
        return int((groups[:, 0] != groups[:, 1]).sum())

    assert differ(8) == 16 > differ(1)


def test_both_estimates_of_kl_have_its_mean():
    """Exactly, over all tokens of a law; and k3 is never negative."""
    rng = np.random.default_rng(3)
    p, q = (jax.nn.log_softmax(jnp.asarray(rng.normal(size=50), jnp.float32)) for _ in range(2))
    kl = float(jnp.sum(jnp.exp(p) * (p - q)))
    for estimate in (k1, k3):
        assert float(jnp.sum(jnp.exp(p) * estimate(p, q))) == pytest.approx(kl, rel=1e-5)
    assert (np.asarray(k3(p, q)) >= 0).all() and (np.asarray(k1(p, q)) < 0).any()


def test_k3_in_the_loss_pulls_along_the_forward_kl():
    """Its expected gradient on policy is that of KL(pi_0 || pi), and not that of KL(pi || pi_0)."""
    rng = np.random.default_rng(4)
    logits, reference = (
        jnp.asarray(rng.normal(size=20), jnp.float32),
        jax.nn.log_softmax(jnp.asarray(rng.normal(size=20), jnp.float32)),
    )
    law = jax.nn.softmax(logits)
    slope = lambda value: np.asarray(jax.jit(jax.grad(value))(logits))
    pulled = slope(lambda x: jnp.sum(law * k3(jax.nn.log_softmax(x), reference)))
    forward = slope(lambda x: -jnp.sum(jnp.exp(reference) * jax.nn.log_softmax(x)))
    reverse = slope(lambda x: jnp.sum(jax.nn.softmax(x) * (jax.nn.log_softmax(x) - reference)))
    np.testing.assert_allclose(pulled, forward, atol=1e-6)
    assert np.abs(pulled - reverse).max() > 0.01


@pytest.mark.parametrize("ratio", ["none", "token", "completion", "geometric"])
def test_before_the_first_step_every_surrogate_has_the_policy_gradient(drawn, ratio):
    """A ratio is 1 there, and its gradient that of log pi; of the geometric one for each token of the completion."""
    old, mask = jnp.asarray(drawn["old"], jnp.float32), jnp.asarray(drawn["mask"])
    advantage = jnp.broadcast_to(jnp.asarray(drawn["reward"], jnp.float32)[:, None], mask.shape)
    climbed = lambda new: jnp.sum(
        jnp.where(mask, surrogate(new, old, mask, advantage, ratio, 0.2 if ratio == "token" else None), 0.0)
    )
    weight = 1 / mask.sum(1, keepdims=True) if ratio == "geometric" else 1.0
    np.testing.assert_allclose(jax.jit(jax.grad(climbed))(old), jnp.where(mask, advantage * weight, 0.0), atol=1e-5)


def test_what_stands_outside_the_mask_has_no_gradient_however_unlikely():
    mask, zeros = jnp.array([[True, False]]), jnp.zeros((1, 2))
    rollout = Rollout(zeros, zeros, mask, zeros, zeros, jnp.zeros(1), jnp.ones((1, 2)), zeros)
    slope = jax.jit(jax.grad(lambda log_prob: DR_GRPO.token_loss(log_prob, zeros, rollout)))(jnp.array([[0.0, -1e3]]))
    np.testing.assert_array_equal(slope, [[-1.0, 0.0]])


def test_a_clip_without_a_ratio_is_refused():
    with pytest.raises(ValueError, match="there is no ratio to clip"):
        PolicyGradient(clip=0.2)


def test_the_value_loss_is_pessimistic():
    value, old, target = jnp.array([1.0, 1.0, 0.1]), jnp.zeros(3), jnp.array([1.0, -1.0, 0.0])
    np.testing.assert_allclose(
        clipped_value_loss(value, old, target, 0.2), [0.5 * 0.64, 0.5 * 4.0, 0.5 * 0.01], rtol=1e-6
    )


KL_COEF = 0.3


@pytest.fixture(scope="module")
def climbed(shaken):
    """A task, a model, weights, a reference, and the exact gradient of E[r] - kl_coef KL by the weights, flat."""
    task = make_task("mod_sum")
    task = dataclasses.replace(task, prompts=task.prompts[[9, 77, 300]])
    model = GPT(task.size, 6, width=4, layers=1, heads=1)
    weights, reference = shaken(model, 0), shaken(model, 7)
    reward = jnp.asarray(exact.outcome_rewards(task), jnp.float32)

    def objective(weights):
        law, before = (exact.law_of(model, task, w) for w in (weights, reference))
        return jnp.mean(jnp.sum(jnp.exp(law) * (reward - KL_COEF * (law - before)), 1))

    truth = jax.flatten_util.ravel_pytree(jax.jit(jax.grad(objective))(weights))[0]
    return task, model, weights, reference, truth


@pytest.mark.parametrize(
    "method", [PolicyGradient(advantage="total"), PolicyGradient(), RLOO, PPO], ids=["total", "mean", "rloo", "ppo"]
)
def test_one_batch_points_along_the_gradient_of_the_objective(method, climbed):
    """The mean of 2,000 batches of the code that trains, along the exact gradient of E[r] - kl_coef KL that enumeration
    gives, within 5 standard errors. PPO with lambda = 1, whose advantages are unbiased whatever the value head says.
    The batch's mean as a baseline takes 1 / B off."""
    task, model, weights, reference, truth = climbed
    size = 32
    method = dataclasses.replace(method, prompts=size // 8, kl_coef=KL_COEF, lambda_=1.0, value_cost=0.0, clip=None)
    whole = {"model": weights, "value": 0.1 * jax.random.normal(jax.random.key(9), (4,))}

    def batch(key):
        drawn = method.collect(key, model, task, whole, reference, task.rewards)
        gradient = jax.grad(lambda w: method.loss(model, {**whole, "model": w}, drawn))(weights)
        return jax.flatten_util.ravel_pytree(gradient)[0] @ truth

    along = jax.jit(lambda keys: jax.lax.map(batch, keys))(jax.random.split(jax.random.key(0), 2000))
    along = -np.asarray(along, np.float64)
    expected = float(truth @ truth) * (1 - 1 / size if method.advantage == "mean" else 1)
    assert abs(along.mean() - expected) <= 5 * along.std() / np.sqrt(len(along))
    assert expected > 10 * along.std() / np.sqrt(len(along)), "too noisy to tell"


def test_a_whole_ratio_is_unbiased_only_of_an_advantage_that_tokens_share():
    """An answer whose first token alone earns something: the policy gradient weighs that token's score by 1 and the
    other's by 0. With the ratio of the whole answer both weigh the mean, so that no method of such advantages is said
    to have pi* as its optimum."""
    log_prob, mask = jnp.log(jnp.full((1, 2), 0.7)), jnp.ones((1, 2), bool)
    to_go = jnp.array([[1.0, 0.0]])
    ratios = lambda ratio: lambda lp: surrogate(lp, log_prob, mask, to_go, ratio, None).sum()
    slope = lambda ratio: jax.jit(jax.grad(ratios(ratio)))(log_prob)
    np.testing.assert_allclose(slope("token"), [[1.0, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(slope("completion"), [[0.5, 0.5]], rtol=1e-6)
    for advantage, known in {"mean": 0.05, "leave_one_out": 0.05, "batch": None, "value": None}.items():
        assert PolicyGradient(advantage=advantage, ratio="completion").optimal_beta(None) == known
        assert PolicyGradient(advantage=advantage, ratio="token").optimal_beta(None) == 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": "tokens"}, "ratio is 'tokens'"),
        ({"advantage": "group", "group": 1}, "no other answer"),
        ({"clip_high": 0.3}, "nothing is clipped"),
        ({"minibatches": 7}, "minibatches is 7: 128 completions do not divide into equal parts"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PolicyGradient(**settings)
