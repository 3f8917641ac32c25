import numpy as np
import pytest

from seqrl_jax.exact.chain import state_chain
from seqrl_jax.exact.gradients import softmax
from seqrl_jax.exact.importance import clipped_value, clipping_bias, effective_share
from seqrl_jax.exact.state import evaluate_memoryless


@pytest.fixture(params=range(4))
def problem(request, random_task):
    task = random_task(request.param, horizon=3)
    rng = np.random.default_rng(request.param)
    return task, *(softmax(rng.normal(size=(task.num_observations, task.num_actions))) for _ in range(2))


def test_weights_are_those_of_all_episodes(episodes, problem):
    task, target, behaviour = problem
    clip, mean, second, clipped = 1.2, 0.0, 0.0, 0.0
    for probability, steps in episodes(task, behaviour):
        ratios = np.array([target[o, a] / behaviour[o, a] for _, o, a, _ in steps])
        pays = task.discount ** np.arange(len(steps)) * np.array([r for *_, r in steps])
        mean += probability * (ratios.cumprod() * pays).sum()
        second += probability * ratios.prod() ** 2
        clipped += probability * (np.minimum(ratios, clip).cumprod() * pays).sum()
    assert mean == pytest.approx(float(evaluate_memoryless(task, target)))
    assert effective_share(state_chain(task), target, behaviour) == pytest.approx(1 / second)
    assert clipped_value(task, target, behaviour, clip) == pytest.approx(clipped)
    assert clipping_bias(task, target, behaviour, clip) == pytest.approx(clipped - mean)


def test_fresh_data_count_whole_and_unclipped(problem):
    task, target, _ = problem
    assert effective_share(state_chain(task), target, target) == pytest.approx(1)
    assert clipping_bias(task, target, target, 1.2) == pytest.approx(0, abs=1e-12)
