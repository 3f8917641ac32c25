import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.lm.base import token_log_probs
from seqrl_jax.lm.kto import KTO, one_of_each, weighted_divergence
from seqrl_jax.lm.labels import Labeller, Rankings
from seqrl_jax.lm.preference import (
    ORPO,
    FromLabels,
    NoisyPreference,
    Preference,
    SimPO,
    conservative_dpo,
    dpo,
    ipo,
    kto,
    orpo,
    robust_dpo,
    scored,
    simpo,
)
from seqrl_jax.lm.registry import METHODS as METHODS_BY_NAME
from seqrl_jax.lm.registry import make_method
from seqrl_jax.lm.rlhf import RLHF
from seqrl_jax.lm.sampling import drawn_mask
from seqrl_jax.lm.tasks import make_task
from seqrl_jax.networks.gpt import GPT

M = 12


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_odds(p):
    return p - np.log(1 - np.exp(p))


@pytest.fixture(scope="module")
def ratios():
    rng = np.random.default_rng(0)
    return 3 * rng.normal(size=M), 3 * rng.normal(size=M)


LOSSES = {
    "dpo": lambda w, r, beta: np.mean(np.log1p(np.exp(-beta * (w - r)))),
    "ipo": lambda w, r, beta: np.mean((w - r - 1 / (2 * beta)) ** 2),
    "kto": lambda w, r, beta: 0.5 * np.mean(1 - sigmoid(beta * (w - 0.7)) + 1 - sigmoid(beta * (0.7 - r))),
    "cdpo": lambda w, r, beta: np.mean(-0.8 * np.log(sigmoid(beta * (w - r))) - 0.2 * np.log(sigmoid(beta * (r - w)))),
    "rdpo": lambda w, r, beta: (
        np.mean(-0.8 * np.log(sigmoid(beta * (w - r))) + 0.2 * np.log(sigmoid(beta * (r - w)))) / 0.6
    ),
    "simpo": lambda w, r, beta: -np.mean(np.log(sigmoid(beta * (w - r) - 0.4))),
    # On log-probabilities, which are negative; beta is the weight of the odds.
    "orpo": lambda w, r, beta: np.mean(-w - beta * np.log(sigmoid(log_odds(w) - log_odds(r)))),
}
GRADIENTS = {
    "dpo": lambda w, r, beta: -beta * sigmoid(beta * (r - w)) / M,
    "ipo": lambda w, r, beta: 2 * (w - r - 1 / (2 * beta)) / M,
    "kto": lambda w, r, beta: -0.5 * beta * sigmoid(beta * (w - 0.7)) * sigmoid(beta * (0.7 - w)) / M,
    "cdpo": lambda w, r, beta: -beta * (0.8 - sigmoid(beta * (w - r))) / M,
    "rdpo": lambda w, r, beta: -beta * (0.8 * sigmoid(beta * (r - w)) + 0.2 * sigmoid(beta * (w - r))) / 0.6 / M,
    "simpo": lambda w, r, beta: -beta * sigmoid(0.4 - beta * (w - r)) / M,
}
OURS = {
    "dpo": dpo,
    "ipo": ipo,
    "kto": lambda w, r, beta: kto(w, r, beta, jnp.float32(0.7)),
    "cdpo": lambda w, r, beta: conservative_dpo(w, r, beta, 0.2),
    "rdpo": lambda w, r, beta: robust_dpo(w, r, beta, 0.2),
    "simpo": lambda w, r, beta: simpo(w, r, beta, 0.4),
}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_losses_and_gradients_are_those_of_numpy(ratios, name, beta):
    w, r = ratios
    ours = lambda w, r: OURS[name](w, r, beta)
    value, (to_w, _) = jax.value_and_grad(ours, argnums=(0, 1))(jnp.float32(w), jnp.float32(r))
    assert float(value) == pytest.approx(LOSSES[name](w, r, beta), rel=1e-5)
    np.testing.assert_allclose(to_w, GRADIENTS[name](w, r, beta), atol=1e-5)


@pytest.mark.parametrize("weight", [0.1, 1.0])
def test_orpo_is_that_of_numpy(weight):
    """With odds P / (1 - P) written out; gradients by differences."""
    rng = np.random.default_rng(2)
    w, r = -rng.exponential(size=M), -rng.exponential(size=M)
    expected = lambda w: LOSSES["orpo"](w, r, weight)
    value, gradient = jax.value_and_grad(lambda w: orpo(w, jnp.float32(r), weight))(jnp.float32(w))
    assert float(value) == pytest.approx(expected(w), rel=1e-4)
    steps = 1e-6 * np.eye(M)
    np.testing.assert_allclose(gradient, [(expected(w + s) - expected(w - s)) / 2e-6 for s in steps], atol=1e-4)
    assert np.isfinite(float(orpo(jnp.zeros(M), jnp.zeros(M), weight))), "what is certain has no infinite odds"


def test_over_flipped_labels_robust_dpo_has_dpo_s_mean_and_conservative_dpo_has_not(ratios):
    """Chowdhury et al. (2024), lemma 3.1: over labels turned around with the chance that they expect."""
    w, r = (jnp.float32(x) for x in ratios)
    over_flips = lambda loss: 0.7 * loss(w, r, 0.3, 0.3) + 0.3 * loss(r, w, 0.3, 0.3)
    assert float(over_flips(robust_dpo)) == pytest.approx(float(dpo(w, r, 0.3)), rel=1e-5)
    assert float(over_flips(conservative_dpo)) > float(dpo(w, r, 0.3)) + 0.01
    # A sure label asks cDPO for a finite margin.
    margin = jnp.float32(np.log(0.7 / 0.3) / 0.3)[None]
    slope = jax.grad(lambda w: conservative_dpo(w, jnp.zeros(1), 0.3, 0.3))(margin)
    assert float(slope[0]) == pytest.approx(0, abs=1e-6)


def test_at_the_reference_dpo_is_log_2_and_weighs_every_pair_by_half():
    zero = jnp.zeros(M)
    value, gradient = jax.value_and_grad(lambda w: dpo(w, zero, 0.1))(zero)
    assert float(value) == pytest.approx(np.log(2))
    np.testing.assert_allclose(gradient, -0.1 * 0.5 / M, rtol=1e-6)


def test_kto_s_reference_point_is_never_negative_and_has_no_gradient(ratios):
    w, r = (jnp.float32(x) for x in ratios)
    assert float(kto(w, r, 0.1, jnp.float32(-5.0))) == float(kto(w, r, 0.1, jnp.float32(0.0)))
    assert float(jax.grad(lambda z: kto(w, r, 0.1, z))(jnp.float32(0.5))) == 0


@pytest.fixture(scope="module")
def batch(shaken):
    """A model, a reference, and pairs of completions that end at different places."""
    task = make_task("length_hack")
    model = GPT(task.size, 1 + task.length, width=8, layers=1, heads=2)
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, 7, size=(M, 2, task.length))
    lengths = rng.integers(0, task.length + 1, size=(M, 2, 1))
    tokens = np.where(np.arange(task.length) < lengths, tokens, task.end)
    pairs = Rankings(jnp.asarray(rng.integers(0, 4, size=(M, 1)), jnp.int32), jnp.asarray(tokens, jnp.int32))
    assert 0 < np.asarray(drawn_mask(pairs.tokens, task.end)).mean() < 1
    return task, model, shaken(model, 0), shaken(model, 5), pairs


def test_what_stands_behind_the_end_counts_for_nothing(batch):
    task, model, weights, reference, pairs = batch
    h = np.asarray(jax.jit(lambda w: scored(model, task, w, reference, pairs.prompt, pairs.chosen).h)(weights))
    log_probs = jax.jit(lambda w: token_log_probs(model, w, pairs.prompt, pairs.chosen))
    by_token = np.asarray(log_probs(weights)) - np.asarray(log_probs(reference))
    for row, (tokens, ratios) in enumerate(zip(np.asarray(pairs.chosen), np.asarray(by_token), strict=True)):
        ends = np.flatnonzero(tokens == task.end)
        spoken = ends[0] + 1 if len(ends) else task.length
        assert float(h[row]) == pytest.approx(ratios[:spoken].sum(), abs=1e-5)


def test_dpo_s_gradient_is_the_weighted_difference_of_likelihoods(batch):
    """-beta sum_i P(the model ranks pair i wrong) (grad log pi(y_w) - grad log pi(y_l)) / M."""
    task, model, weights, reference, pairs = batch
    method = Preference(beta=0.3)
    gradient = jax.jit(jax.grad(lambda w: method.loss_of(model, task, w, reference, pairs)))(weights)
    of = jax.jit(lambda w, tokens: scored(model, task, w, reference, pairs.prompt, tokens).h)
    wrong = jax.nn.sigmoid(0.3 * (of(weights, pairs.rejected) - of(weights, pairs.chosen)))
    assert 0.01 < float(wrong.min()) < 0.5 < float(wrong.max()) < 0.99
    weighted = lambda w: -0.3 * jnp.mean(wrong * (of(w, pairs.chosen) - of(w, pairs.rejected)))
    expected = jax.jit(jax.grad(weighted))(weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), gradient, expected)


METHODS = {
    "dpo": Preference(beta=0.3),
    "ipo": Preference(loss="ipo", beta=0.3),
    "cdpo": NoisyPreference(beta=0.3, flip=0.2),
    "rdpo": NoisyPreference(loss="rdpo", beta=0.3, flip=0.2),
    "simpo": SimPO(beta=0.3, margin=0.4),
    "orpo": ORPO(weight=0.3),
}


@pytest.fixture(scope="module")
def read(batch):
    """Of answers to the batch's prompts, one by one: h, and log pi for each token."""
    task, model, weights, reference, pairs = batch
    of = jax.jit(lambda tokens: scored(model, task, weights, reference, pairs.prompt, tokens))
    return lambda tokens: tuple(np.asarray(x, np.float64) for x in (of(tokens).h, of(tokens).per_token))


@pytest.mark.parametrize("name", METHODS)
def test_pairs_are_judged_by_their_texts(batch, read, name):
    """Read together or text by text: by h, or where there is no pi_0 by the mean log-probability of their tokens."""
    task, model, weights, reference, pairs = batch
    which = name in ("simpo", "orpo")
    expected = LOSSES[name](read(pairs.chosen)[which], read(pairs.rejected)[which], 0.3)
    loss = jax.jit(lambda weights: METHODS[name].loss_of(model, task, weights, reference, pairs))(weights)
    assert float(loss) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("judged", ["one", "both"])
@pytest.mark.parametrize("reference_point", ["other_prompts", "weighted"])
def test_kto_judges_answers_one_by_one(batch, read, judged, reference_point):
    """Its reference point is the mean h of answers to the prompt before, or of the answers themselves, weighted."""
    task, model, weights, reference, pairs = batch
    method = KTO(beta=0.3, judged=judged, reference_point=reference_point)
    labels = one_of_each(jax.random.key(0), pairs) if judged == "one" else pairs
    chosen, rejected = read(pairs.chosen)[0], read(pairs.rejected)[0]
    good = np.asarray(labels.good) if judged == "one" else np.repeat([1, -1], M)
    h = np.where(good == 1, chosen, rejected) if judged == "one" else np.concatenate([chosen, rejected])
    if reference_point == "weighted":
        z = np.sum(np.exp(h) * h) / np.exp(h).sum()
    elif judged == "one":
        z = read(jnp.roll(labels.tokens, 1, 0))[0].mean()
    else:
        # The first of the rejected ones stands behind the last of the chosen.
        everything = jnp.roll(jnp.concatenate([pairs.chosen, pairs.rejected]), 1, 0)
        z = np.mean([read(half)[0].mean() for half in jnp.split(everything, 2)])
    expected = np.mean(1 - sigmoid(0.3 * good * (h - max(z, 0))))
    loss = jax.jit(lambda weights: method.loss_of(model, task, weights, reference, labels))(weights)
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_one_answer_of_each_pair_is_shown_with_its_half_of_the_label(batch):
    pairs = jax.tree.map(lambda leaf: jnp.tile(leaf, (100, *[1] * (leaf.ndim - 1))), batch[-1])
    shown = one_of_each(jax.random.key(3), pairs)
    good = np.asarray(shown.good) == 1
    assert (np.asarray(shown.tokens) == np.where(good[:, None], pairs.chosen, pairs.rejected)).all()
    assert abs(good.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(good))


def test_the_weighted_reference_point_is_the_divergence():
    """Over every answer as often as pi_0 says it, `sum e^h h / sum e^h` is KL(pi || pi_0)."""
    count, weight = np.array([1, 2, 3, 4]), np.array([4.0, 1.0, 2.0, 3.0])
    before, law = count / 10, weight / weight.sum()
    h = np.repeat(np.log(law / before), count)
    assert float(weighted_divergence(jnp.float32(h))) == pytest.approx(np.sum(law * np.log(law / before)), rel=1e-5)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="loss is 'ppo', expected one of dpo, ipo"):
        Preference(loss="ppo")


def test_only_faithful_labels_lead_dpo_to_the_optimum_of_the_gold_reward():
    keyword, hacked = make_task("keyword"), make_task("length_hack")
    assert make_method("dpo").optimal_beta(keyword) == 0.1 and make_method("dpo").optimal_beta(hacked) is None
    assert make_method("ipo").optimal_beta(keyword) is None and make_method("grpo").optimal_beta(keyword) is None
    assert make_method("rloo:kl_coef=0.2").optimal_beta(hacked) == 0.2
    assert make_method("lm_importance:ratio=geometric").optimal_beta(keyword) is None, "a long answer counts less"
    assert make_method("rloo:epochs=2").optimal_beta(keyword) is None, "old answers count as new ones"
    assert (
        make_method("rdpo").optimal_beta(keyword) == 0.1 and make_method("rdpo:flip=0.2").optimal_beta(keyword) is None
    )
    assert make_method("cdpo").optimal_beta(keyword) is None and make_method("dpo_noisy").optimal_beta(keyword) is None
    assert make_method("rlhf").optimal_beta(keyword) == 0.05 and make_method("rlhf").optimal_beta(hacked) is None
    assert make_method("rlhf_worst_case").optimal_beta(keyword) is None
    assert Labeller(length_bias=0.0).is_faithful(hacked) and not Labeller(noise=0.1).is_faithful(keyword)


def test_all_methods_that_learn_from_labels_get_as_many():
    """Of pairs, where answers are not drawn afresh; RLHF's rounds share them."""
    methods = [entry.method for entry in METHODS_BY_NAME.values()]
    pairs = [method.pairs for method in methods if isinstance(method, FromLabels) and not method.online]
    loops = [method for method in methods if isinstance(method, RLHF)]
    assert len(pairs) >= 8 and len(loops) >= 4
    assert {*pairs, *(loop.prompts for loop in loops)} == {65536} and {loop.answers for loop in loops} == {2}
