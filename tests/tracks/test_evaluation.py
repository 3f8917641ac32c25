import jax
import numpy as np
import pytest

from seqrl_jax.agents import make_agent
from seqrl_jax.keys import HALF, LARGEST_SEED
from seqrl_jax.tasks import make, tabular_env
from seqrl_jax.tracks.base import Budget
from seqrl_jax.tracks.evaluation import BATCH, LEAST_BATCHES, STREAM, Evaluation, exact_scores


@pytest.mark.parametrize("steps", [20_000, 200_000, 600_000])
@pytest.mark.parametrize("horizon", [20, 35, 100, 200, 400])
def test_no_more_than_a_quarter_of_the_steps_are_spent_on_judging(steps, horizon):
    env = tabular_env(make(f"tiger:horizon={horizon}"))
    agent = make_agent("drqn").for_run(env.longest, steps)
    rules = Evaluation.of(agent, env, Budget(steps, 20, (0,)), exact=True)
    points = [rules.point(chunk) for chunk in range(rules.chunks + 1)]
    batches = sum(map(len, points)) + len(rules.final)
    assert len({*rules.final}.union(*points)) == batches, "every batch is of episodes of its own"
    spent = batches * BATCH * agent.rollout_length
    least = (2 + LEAST_BATCHES) * BATCH * agent.rollout_length
    assert 1 <= rules.chunks <= 20 and spent <= max(0.25 * steps, least)


def test_padding_and_broken_tables_are_told_from_policies():
    task = make("tiger")
    tables = np.full((3, task.num_observations + 2, task.num_actions + 1), 1 / task.num_actions)
    tables[2, 0, 0] = np.nan
    values = exact_scores(task, tables)
    assert values[0] == values[1] and np.isnan(values[2])


def test_evaluation_does_not_play_the_episodes_of_training():
    """Key i of a split is what `fold_in` by i gives, as is the key of a seed with i for its upper half: evaluation's
    number lies behind all of them."""
    key = jax.random.key(3)
    split, folded = jax.random.split(key, 4)[2], jax.random.fold_in(key, 2)
    assert (jax.random.key_data(split) == jax.random.key_data(folded)).all()
    assert STREAM > LARGEST_SEED // HALF
