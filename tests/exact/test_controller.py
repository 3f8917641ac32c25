import numpy as np
import pytest

from seqrl_jax.exact.belief import belief_graph, history_policy
from seqrl_jax.exact.controller import controller_from_graph, controller_from_map, evaluate_controller
from seqrl_jax.exact.state import evaluate_memoryless
from seqrl_jax.tasks import TASKS, make


@pytest.mark.parametrize("name", [name for name in TASKS if name != "hidden_market"])
def test_the_kept_policy_earns_what_the_recursion_promised(name):
    """Backward induction over beliefs against forward recursion over (state, memory): two ways to one number."""
    task = make(name)
    graph = belief_graph(task).graph
    value, actions = history_policy(graph)
    assert evaluate_controller(task, controller_from_graph(graph, actions)) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_a_map_is_a_controller_that_remembers_the_last_observation(random_task, seed):
    task = random_task(seed)
    actions = np.random.default_rng(seed).integers(task.num_actions, size=task.num_observations)
    table = np.eye(task.num_actions)[actions]
    found = evaluate_controller(task, controller_from_map(actions))
    assert found == pytest.approx(float(evaluate_memoryless(task, table)), abs=1e-12)


def test_a_policy_whose_episodes_all_end_early_is_evaluated():
    task = make("tiger")
    open_left = task.actions.index("open_left")
    found = evaluate_controller(task, controller_from_map(np.full(task.num_observations, open_left)))
    assert found == pytest.approx(-45)
