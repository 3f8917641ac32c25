"""The history value against Storm's belief unfolding, an independent model checker."""

import numpy as np
import pytest

from seqrl_jax.exact.belief import belief_graph, history_policy
from seqrl_jax.tasks import make

stormpy = pytest.importorskip("stormpy", reason="Storm has no wheel for this Python")
from stormpy import datastructures, environments, logic, models, pomdp  # noqa: E402


def as_storm(task):
    """The task as a POMDP whose states are (step, state, observation), and what was added to its total reward.

    Storm wants non-negative rewards and deterministic observations. A shift is paid in each of exactly `horizon`
    steps: an episode that ends early is paid the rest at once, so every policy gains the same.
    """
    num_a, _, num_o = task.observation.shape
    reward = task.kernel.reward
    shift = max(0.0, -reward.min()) + 1.0
    alive = task.transition * ~task.terminal
    ends = 1 - alive.sum(-1)
    pairs = [(s, o) for s in np.flatnonzero(~task.terminal) for o in range(num_o)]
    place = {(t, s, o): 1 + t * len(pairs) + i for t in range(task.horizon) for i, (s, o) in enumerate(pairs)}
    done = 1 + len(place)

    builder = datastructures.SparseMatrixBuilder[float](has_custom_row_grouping=True)
    rewards, classes = [], []

    def row(law):
        for column, p in sorted(law.items()):
            if p > 0:
                builder.add_next_value(len(rewards), column, p)

    builder.new_row_group(0)
    row({place[0, s, o]: task.initial[s] * task.initial_observation[s, o] for s, o in pairs})
    rewards.append(0.0)
    classes.append(0)
    for (t, s, o), number in place.items():
        assert number == len(classes)
        builder.new_row_group(len(rewards))
        classes.append(1 + t * num_o + o)
        for a in range(num_a):
            law = {done: ends[a, s]} if t + 1 < task.horizon else {done: 1.0}
            if t + 1 < task.horizon:
                for s2 in np.flatnonzero(alive[a, s]):
                    for o2 in np.flatnonzero(task.observation[a, s2]):
                        law[place[t + 1, s2, o2]] = alive[a, s, s2] * task.observation[a, s2, o2]
            row(law)
            rest = ends[a, s] * shift * (task.horizon - t - 1)
            rewards.append(task.discount**t * reward[a, s] + shift + rest)
    builder.new_row_group(len(rewards))
    row({done: 1.0})
    rewards.append(0.0)
    classes.append(1 + task.horizon * num_o)

    labeling = models.StateLabeling(done + 1)
    for label, state in (("init", 0), ("done", done)):
        labeling.add_label(label)
        labeling.add_label_to_state(label, state)
    components = models.SparseModelComponents[float](transition_matrix=builder.build(), state_labeling=labeling)
    components.reward_models = {"total": models.SparseRewardModel[float](optional_state_action_reward_vector=rewards)}
    components.observability_classes = classes
    # Canonic: the actions stand in the same order in every state that shows the same observation.
    return models.SparsePomdp[float](components, True), shift * task.horizon


@pytest.mark.parametrize(
    "spec",
    [
        "locked_doors",
        "two_doors",
        "peek_maze:accuracy=.8,horizon=7",
        "aliased_line",
        "grey_line:horizon=10",
        "switched_corridor",
        "tiger:horizon=8",
        "tiger_repeated:horizon=8",
        "tmaze",
        "heaven_hell:length=1,horizon=8",
        "rock_sample:horizon=5",
        "repeat_previous:horizon=8",
        "blind_spot:horizon=10",
        "mini_hallway:horizon=6",
        "hidden_market:horizon=4",
    ],
)
def test_storm_finds_the_same_optimum(spec):
    task = make(spec)
    model, added = as_storm(task)
    formula = logic.parse_property('R{"total"}max=? [F "done"]')
    environment = environments.sound()
    environment.solver().min_max().precision = environments.Rational("1/1000000000000")
    result = pomdp.verify_with_belief_unfolding(model, formula, build_choice_labeling=False, environment=environment)
    assert result.completed_exploration
    ours = history_policy(belief_graph(task).graph)[0]
    assert ours == pytest.approx(result.value - added, abs=1e-9)
