"""Four baselines, one true gradient: by the numbers of a game that is solved by hand, and by groups that were drawn."""

import numpy as np
import pytest

from seqrl_jax.dialogue.exact import Known, evaluated
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.exact.chain import belief_chain
from seqrl_jax.exact.group_baselines import BASELINES, expected_gradient
from seqrl_jax.tasks.build import build, ends, goes

LIMIT = 10_000


def talking():
    """A turn pays 1; then the dialogue goes on or stops, four turns at most."""
    return build(
        name="talking",
        states=["here"],
        actions=["go_on", "stop"],
        observations=["well"],
        start={"here": 1.0},
        step=lambda _, said: goes("here", 1.0) if said == "go_on" else ends(1.0),
        observe=lambda _: "well",
        discount=1.0,
        horizon=4,
    )


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [("none", 0.7872), ("leave_one_out", 0.7872), ("mean_of_all", 0.5248), ("mean_of_talking", 0.0)],
)
def test_only_who_has_ended_and_is_left_out_gives_the_gradient(baseline, expected):
    """Going on with probability .6, groups of 3: J = 1 + p + p^2 + p^3, dJ/dlogit = (1 + 2p + 3p^2) p (1 - p)."""
    chain, beliefs = belief_chain(talking(), LIMIT)
    policy = np.tile([0.6, 0.4], (len(beliefs), 1))
    found = expected_gradient(chain, policy, baseline, 3)
    assert found[:, 0].sum() == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(found.sum(1), 0, atol=1e-12)


SMALL = ("small_talk:turns=3", "negotiation:turns=3", "twenty_questions:objects=4,turns=3", "text_maze:turns=4")


@pytest.fixture(scope="module", params=SMALL)
def case(request):
    known = Known(make_game(request.param))
    chain, beliefs = belief_chain(known.game.task, LIMIT)
    rng = np.random.default_rng(0)
    return known, chain, rng.dirichlet(np.ones(chain.num_actions), len(beliefs))


def test_without_a_baseline_it_is_the_gradient_of_the_value(case):
    """By central differences in logits of a few beliefs."""
    known, chain, policy = case
    graph = known.beliefs.graph
    found = expected_gradient(chain, policy, "none", 2)
    np.testing.assert_allclose(expected_gradient(chain, policy, "leave_one_out", 5), found)

    def value(logits):
        law = np.exp(logits - logits.max(1, keepdims=True))
        law /= law.sum(1, keepdims=True)
        return known.value(evaluated(graph, np.broadcast_to(law, (known.horizon, *law.shape))))

    logits = np.log(policy)
    for belief in np.argsort(-np.abs(found).sum(1))[:3]:
        for action in range(2):
            step = np.zeros_like(logits)
            step[belief, action] = 1e-5
            numeric = (value(logits + step) - value(logits - step)) / 2e-5
            assert found[belief, action] == pytest.approx(numeric, abs=1e-6)


@pytest.mark.parametrize("baseline", BASELINES)
def test_groups_that_are_drawn_agree(case, baseline):
    """800 groups of 3: the estimate along a fixed direction within 5 standard errors (false alarm 6e-7)."""
    _, chain, policy = case
    members, groups = 3, 800
    rng = np.random.default_rng(1)
    direction = rng.normal(size=policy.shape)
    expected = (expected_gradient(chain, policy, baseline, members) * direction).sum()
    centred = direction - (policy * direction).sum(1, keepdims=True)
    laws = [np.asarray(row.todense()).ravel() for row in chain.transition]
    estimates = []
    for _ in range(groups):
        first = rng.choice(chain.num_nodes, p=chain.start)
        scores, rewards = np.zeros((2, members, chain.horizon))
        talks = np.zeros((members, chain.horizon), bool)
        for i in range(members):
            node = first
            for t in range(chain.horizon):
                known_now = chain.history[node]
                a = rng.choice(chain.num_actions, p=policy[known_now])
                talks[i, t], scores[i, t] = True, centred[known_now, a]
                # The mean reward of a node and an action stands for its draws: it is what enters an expectation.
                rewards[i, t] = chain.reward[node, a]
                law = laws[node * chain.num_actions + a]
                after = rng.choice(chain.num_nodes + 1, p=np.append(law, max(0.0, 1 - law.sum())))
                if after == chain.num_nodes:
                    break
                node = after
        total = rewards.sum(0)
        against = {
            "none": np.zeros_like(rewards),
            "leave_one_out": (total - rewards) / (members - 1),
            "mean_of_all": np.broadcast_to(total / members, rewards.shape),
            "mean_of_talking": np.where(talks, total / np.maximum(talks.sum(0), 1), 0.0),
        }[baseline]
        compared = rewards - against
        to_go = np.cumsum(compared[:, ::-1], 1)[:, ::-1]
        estimates.append((scores * to_go).sum() / members)
    assert np.mean(estimates) == pytest.approx(expected, abs=5 * np.std(estimates) / groups**0.5 + 1e-9)
