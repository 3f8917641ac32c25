"""Where preferences lead: against all pairs one by one, the regularised optimum, and who speaks as the logs do."""

import numpy as np
import pytest

from seqrl_jax.dialogue.exact import Known, TooLarge
from seqrl_jax.dialogue.game import Game, anything
from seqrl_jax.dialogue.histories import histories_of, value_of
from seqrl_jax.dialogue.luck import luck_share
from seqrl_jax.dialogue.preferred import preferred
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.tasks.build import build, goes

GAMES = ("small_talk:turns=2", "twenty_questions:objects=4,turns=2,noise=0.1", "negotiation:turns=2")


def behaviour(known, histories):
    return [known.behaviour[level.node] for level in histories.levels]


@pytest.mark.parametrize("spec", GAMES)
def test_all_dialogues_are_listed_with_what_they_earn(spec):
    known = Known(make_game(spec))
    histories = histories_of(known)
    weight = np.concatenate([ends.weight for ends in histories.ends])
    mean = np.concatenate([ends.law @ histories.grid for ends in histories.ends])
    logged = known.value(known.logged)
    assert weight.sum() == pytest.approx(1)
    assert weight @ mean == pytest.approx(logged)
    assert value_of(known, histories, behaviour(known, histories)) == pytest.approx(logged)
    best = [known.best.policy[turn, level.node] for turn, level in enumerate(histories.levels)]
    assert value_of(known, histories, best) == pytest.approx(known.value(known.best))


def plain(chance):
    """Three turns in which the user goes where it is sent, or with some chance to the other side, which pays."""
    other = {"left": "right", "right": "left"}
    step = lambda state, said: {goes(said, 1.0 * (said == state)): 1 - chance, goes(other[said], 2.0): chance}
    states = ["left", "right"]
    task = build(
        name="plain",
        states=states,
        actions=states,
        observations=states,
        start={"left": 1.0},
        step=(lambda state, said: {goes(said, 1.0 + (said == state)): 1.0}) if chance == 0 else step,
        observe=lambda state: state,
        discount=1.0,
        horizon=3,
    )
    return Known(Game(task, (anything(1.0, states, states, ends=False),)))


def pairs(known, histories, policy, beta, weight):
    """The expected loss, pair by pair and return by return."""
    total = 0.0
    dialogues = []
    for ends in histories.ends:
        turns = len(ends.path)
        for e in range(len(ends.weight)):
            rho = 0.0
            for turn in range(turns):
                n, a = divmod(int(ends.path[turn, e]), known.behaviour.shape[1])
                node = histories.levels[turn].node[n]
                rho += weight(turn, turns) * np.log(policy[turn][n, a] / known.behaviour[node, a])
            dialogues.append((ends.opening[e], ends.weight[e], rho, ends.law[e]))
    openings = {each[0]: sum(w for o, w, _, _ in dialogues if o == each[0]) for each in dialogues}
    better = 1 / (1 + np.exp(-(histories.grid[:, None] - histories.grid[None])))
    for opening, w, rho, law in dialogues:
        for other, v, sigma, chances in dialogues:
            if other == opening:
                margin, label = beta * (rho - sigma), law @ better @ chances
                loss = label * np.logaddexp(0, -margin) + (1 - label) * np.logaddexp(0, margin)
                total += w * v / openings[opening] * loss
    return total


@pytest.mark.parametrize("weight", [lambda turn, turns: 1.0, lambda turn, turns: 0.5**turn], ids=["alike", "falling"])
def test_no_policy_near_it_is_preferred(weight):
    """Over all pairs of dialogues one by one, the loss rises in every of 20 random directions, and falls towards it
    from the logs."""
    known = plain(0.3)
    histories = histories_of(known)
    _, policy = preferred(known, 0.7, weight)
    loss = lambda policy: pairs(known, histories, policy, 0.7, weight)
    least, rng = loss(policy), np.random.default_rng(0)
    assert least < loss(behaviour(known, histories)) - 0.01
    for _ in range(20):
        moved = [each * np.exp(0.05 * rng.normal(size=each.shape)) for each in policy]
        assert loss([each / each.sum(1, keepdims=True) for each in moved]) > least


def test_where_nothing_is_luck_it_is_the_regularised_optimum_and_elsewhere_it_is_not():
    certain, lucky = plain(0.0), plain(0.3)
    for known, equal in ((certain, True), (lucky, False)):
        plan = known.regularised(0.7)
        value, policy = preferred(known, 0.7)
        levels = histories_of(known).levels
        gaps = [np.abs(each - plan.policy[t, level.node]).max() for t, (each, level) in enumerate(zip(policy, levels))]
        assert (luck_share(known) < 1e-9) == equal
        assert (max(gaps) < 1e-4) if equal else (max(gaps) > 0.02)
        assert value <= known.value(known.best) + 1e-9


def test_the_higher_the_temperature_the_nearer_to_the_logs():
    known = Known(make_game("small_talk:turns=2,noise=1"))
    logged, best = known.value(known.logged), known.value(known.best)
    cold, warm, hot = (preferred(known, beta)[0] for beta in (0.1, 0.5, 10.0))
    assert logged < hot < warm < cold < best
    assert hot == pytest.approx(logged, abs=0.05)


def test_too_many_dialogues_are_refused():
    with pytest.raises(TooLarge, match="too many dialogues"):
        histories_of(Known(make_game("small_talk:turns=4"), 1000))
