import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.lm.labels import Labeller, Rankings
from seqrl_jax.lm.preference import Preference, dpo, ipo, kto, log_ratio
from seqrl_jax.lm.registry import make_method
from seqrl_jax.lm.sampling import drawn_mask
from seqrl_jax.lm.tasks import make_task
from seqrl_jax.networks.gpt import GPT

M = 12


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def ratios():
    rng = np.random.default_rng(0)
    return 3 * rng.normal(size=M), 3 * rng.normal(size=M)


LOSSES = {
    "dpo": lambda w, r, beta: np.mean(np.log1p(np.exp(-beta * (w - r)))),
    "ipo": lambda w, r, beta: np.mean((w - r - 1 / (2 * beta)) ** 2),
    "kto": lambda w, r, beta: 0.5 * np.mean(1 - sigmoid(beta * (w - 0.7)) + 1 - sigmoid(beta * (0.7 - r))),
}
GRADIENTS = {
    "dpo": lambda w, r, beta: -beta * sigmoid(beta * (r - w)) / M,
    "ipo": lambda w, r, beta: 2 * (w - r - 1 / (2 * beta)) / M,
    "kto": lambda w, r, beta: -0.5 * beta * sigmoid(beta * (w - 0.7)) * sigmoid(beta * (0.7 - w)) / M,
}
OURS = {"dpo": dpo, "ipo": ipo, "kto": lambda w, r, beta: kto(w, r, beta, jnp.float32(0.7))}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_losses_and_gradients_are_those_of_numpy(ratios, name, beta):
    w, r = ratios
    ours = lambda w, r: OURS[name](w, r, beta)
    value, (to_w, _) = jax.value_and_grad(ours, argnums=(0, 1))(jnp.float32(w), jnp.float32(r))
    assert float(value) == pytest.approx(LOSSES[name](w, r, beta), rel=1e-5)
    np.testing.assert_allclose(to_w, GRADIENTS[name](w, r, beta), atol=1e-5)


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
    h = log_ratio(model, task, weights, reference, pairs.prompt, pairs.chosen)
    from seqrl_jax.lm.base import token_log_probs

    by_token = token_log_probs(model, weights, pairs.prompt, pairs.chosen) - token_log_probs(
        model, reference, pairs.prompt, pairs.chosen
    )
    for row, (tokens, ratios) in enumerate(zip(np.asarray(pairs.chosen), np.asarray(by_token), strict=True)):
        ends = np.flatnonzero(tokens == task.end)
        spoken = ends[0] + 1 if len(ends) else task.length
        assert float(h[row]) == pytest.approx(ratios[:spoken].sum(), abs=1e-5)


def test_dpo_s_gradient_is_the_weighted_difference_of_likelihoods(batch):
    """-beta sum_i P(the model ranks pair i wrong) (grad log pi(y_w) - grad log pi(y_l)) / M."""
    task, model, weights, reference, pairs = batch
    method = Preference(beta=0.3)
    gradient = jax.grad(lambda w: method.pair_loss(model, task, w, reference, pairs))(weights)
    of = lambda w, tokens: log_ratio(model, task, w, reference, pairs.prompt, tokens)
    wrong = jax.nn.sigmoid(0.3 * (of(weights, pairs.rejected) - of(weights, pairs.chosen)))
    assert 0.01 < float(wrong.min()) < 0.5 < float(wrong.max()) < 0.99
    weighted = lambda w: -0.3 * jnp.mean(wrong * (of(w, pairs.chosen) - of(w, pairs.rejected)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), gradient, jax.grad(weighted)(weights))


@pytest.mark.parametrize("name", LOSSES)
def test_pairs_are_judged_by_the_h_of_their_texts(batch, name):
    """Read together or text by text; KTO's reference point is the mean h of answers to the prompt before."""
    task, model, weights, reference, pairs = batch
    h = lambda tokens: np.asarray(log_ratio(model, task, weights, reference, pairs.prompt, tokens), np.float64)
    chosen, rejected = h(pairs.chosen), h(pairs.rejected)
    others = np.concatenate([h(jnp.roll(answers, 1, 0)) for answers in (pairs.chosen, pairs.rejected)])
    z = max(others.mean(), 0)
    kto = 0.5 * np.mean(1 - sigmoid(0.3 * (chosen - z)) + 1 - sigmoid(0.3 * (z - rejected)))
    expected = kto if name == "kto" else LOSSES[name](chosen, rejected, 0.3)
    loss = Preference(loss=name, beta=0.3).pair_loss(model, task, weights, reference, pairs)
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="loss is 'ppo', expected one of dpo, ipo, kto"):
        Preference(loss="ppo")


def test_only_faithful_labels_lead_dpo_to_the_optimum_of_the_gold_reward():
    keyword, hacked = make_task("keyword"), make_task("length_hack")
    assert make_method("dpo").optimal_beta(keyword) == 0.1 and make_method("dpo").optimal_beta(hacked) is None
    assert make_method("ipo").optimal_beta(keyword) is None and make_method("grpo").optimal_beta(keyword) is None
    assert make_method("rloo:kl_coef=0.2").optimal_beta(hacked) == 0.2
    assert Labeller(length_bias=0.0).is_faithful(hacked) and not Labeller(noise=0.1).is_faithful(keyword)
