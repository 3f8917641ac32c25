"""Returns are value, merit and luck, trajectory by trajectory."""

import dataclasses
import itertools

import numpy as np
import pytest

from seqrl_jax.dialogue.exact import Known, action_values
from seqrl_jax.dialogue.game import Game, anything
from seqrl_jax.dialogue.limits import limit_of
from seqrl_jax.dialogue.luck import luck_share, variances
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.tasks.build import build, ends, goes, uniform
from seqrl_jax.tasks.tabular import with_discount

BETA = 0.6


def trajectories(known, seed, episodes):
    """Dialogues as (beliefs, utterances, rewards with what they are expected to be), drawn step by step in numpy."""
    task, beliefs = known.game.task, known.beliefs
    rng = np.random.default_rng(seed)
    keys = {
        (row.tobytes(), label): i for i, (row, label) in enumerate(zip(beliefs.belief.round(8), beliefs.graph.label))
    }
    for _ in range(episodes):
        s = rng.choice(task.num_states, p=task.initial)
        o = rng.choice(task.num_observations, p=task.initial_observation[s])
        b = task.initial * task.initial_observation[:, o]
        steps = []
        for _ in range(task.horizon):
            b = b / b.sum()
            node = keys[(b.round(8) + 0.0).tobytes(), o]
            u = rng.choice(task.num_actions, p=known.behaviour[node])
            s2 = rng.choice(task.num_states, p=task.transition[u, s])
            steps.append((node, u, task.reward[u, s, s2]))
            if task.terminal[s2]:
                break
            o = rng.choice(task.num_observations, p=task.observation[u, s2])
            b = (b @ task.transition[u]) * ~task.terminal * task.observation[u][:, o]
            s = s2
        yield steps


@pytest.mark.parametrize(
    "spec",
    ["small_talk:turns=4", "wordle:words=6,guesses=3", "negotiation:turns=3", "twenty_questions:objects=4,turns=4"],
)
def test_every_return_is_value_and_merit_and_luck(spec):
    known = Known(make_game(spec))
    plan, graph = known.regularised(BETA), known.beliefs.graph
    returns, lucks = [], []
    for steps in trajectories(known, 0, 2000):
        total, merit, luck = 0.0, 0.0, 0.0
        for t, (node, u, reward) in enumerate(steps):
            q = action_values(graph, plan.values[t + 1])[node, u]
            merit += BETA * np.log(plan.policy[t, node, u] / known.behaviour[node, u])
            onward = plan.values[t + 1, steps[t + 1][0]] if t + 1 < len(steps) else 0.0
            luck += reward + onward - q
            total += reward
        start = steps[0][0]
        assert total == pytest.approx(plan.values[0, start] + merit + luck, abs=1e-8)
        returns.append(total - known.logged.values[0, start])
        lucks.append(luck)
    assert np.mean(lucks) == pytest.approx(0, abs=5 * np.std(lucks) / len(lucks) ** 0.5 + 1e-12)
    # The second moments agree with those of the recursion: 6 standard errors of a mean square.
    for sampled, exact in zip((returns, lucks), variances(known, known.behaviour, plan)):
        squares = np.square(sampled)
        assert squares.mean() == pytest.approx(exact, abs=6 * squares.std() / len(squares) ** 0.5 + 1e-12)


def test_only_a_random_user_leaves_anything_to_luck():
    shares = [luck_share(Known(make_game(f"small_talk:noise={noise}"))) for noise in (0.0, 0.25, 0.5, 1.0)]
    assert all(low < high for low, high in itertools.pairwise(shares))
    assert 0 <= shares[0] < 0.2 and 0.4 < shares[-1] < 1


@pytest.mark.parametrize("discount", [1.0, 0.8])
def test_merit_and_luck_share_the_variance(discount):
    """With the logs' own values: what luck leaves is the sum of the variances of Q - V over the turns, by sampling."""
    game = make_game("negotiation:turns=3")
    known = Known(dataclasses.replace(game, task=with_discount(game.task, discount)))
    graph, merits = known.beliefs.graph, []
    for steps in trajectories(known, 1, 4000):
        q = [action_values(graph, known.logged.values[t + 1])[node, u] for t, (node, u, _) in enumerate(steps)]
        merits.append(sum(discount**t * (q[t] - known.logged.values[t, node]) for t, (node, *_) in enumerate(steps)))
    returns, luck = variances(known, known.behaviour, known.logged)
    squares = np.square(merits)
    assert squares.mean() == pytest.approx(returns - luck, abs=6 * squares.std() / len(squares) ** 0.5)


def coin(told, turns=2, discount=1.0):
    """Betting wins or loses 1, by a coin that was thrown before the dialogue; a reply may tell of the coin."""
    sides, said = (1.0, -1.0), ["bet", "wait", "stop"]
    step = lambda side, utterance: ends(0.0) if utterance == "stop" else goes(side, side if utterance == "bet" else 0.0)
    reply = lambda utterance, side: "won" if told and utterance == "bet" and side > 0 else "hm"
    task = build("coin", sides, said, ["hm", "won"], uniform(sides), step, lambda _: "hm", discount, turns, reply)
    return Known(Game(task, (anything(1.0, sides, said),)))


@pytest.mark.parametrize("discount", [1.0, 0.5])
def test_rewards_of_which_no_reply_tells_are_one_coin(discount):
    """R = +-(b_0 + gamma b_1), b the bets: E[R^2] = 1/3 + gamma^2 2/9 + 2 gamma 1/9, all of it luck, as V is 0."""
    known = coin(told=False, discount=discount)
    expected = 1 / 3 + discount**2 * 2 / 9 + 2 * discount / 9
    assert variances(known, known.behaviour, known.logged) == pytest.approx((expected, expected))


def test_behind_a_bet_whose_end_is_told_nothing_is_luck():
    """One in three bets first, and knows then that the next turn is worth +-1/3: luck of 4/3 either way. One in three
    waits, and one in three of these bets then: luck of 1. The return's law is as if nothing was told."""
    known = coin(told=True)
    expected = 1 / 3 + 2 / 9 + 2 / 9, 1 / 3 * 16 / 9 + 1 / 9
    assert variances(known, known.behaviour, known.logged) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["filtered_bc", "decision_transformer", "multi_turn_dpo"])
def test_where_no_reply_tells_of_rewards_no_limit_is_known(name):
    """What was earned is no part of what is read there."""
    method = make_method(name)
    assert limit_of(method, coin(told=True)) is not None
    with pytest.raises(ValueError, match="computed where replies tell what was paid"):
        limit_of(method, coin(told=False))
