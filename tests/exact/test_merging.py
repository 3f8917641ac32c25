import numpy as np
import pytest

from seqrl_jax.exact.belief import belief_graph, history_policy
from seqrl_jax.exact.graph import policy_values, state_graph, with_memory
from seqrl_jax.exact.merging import merged
from seqrl_jax.tasks import make


def best_merged(task, memories):
    """Of 32 ways to merge the best policy of the history, and the value of that policy."""
    graph = belief_graph(task, limit=100).graph
    history, actions = history_policy(graph)
    rng = np.random.default_rng(0)
    nodes = with_memory(state_graph(task), memories)
    policies = [merged(graph, actions, memories, rng) for _ in range(32)]
    np.testing.assert_allclose(np.sum(policies, axis=-1), 1)
    return policy_values(nodes, np.array(policies)).max(), history


@pytest.mark.parametrize(
    ("name", "enough"),
    [
        ("heaven_hell", 3),  # not yet told, told left, told right
        ("locked_doors", 3),  # a door each
        ("tmaze", 2),
        ("peek_maze", 3),
    ],
)
def test_the_policy_of_the_history_needs_few_memory_states(name, enough):
    task = make(name)
    value, history = best_merged(task, enough)
    assert value == pytest.approx(history, abs=1e-9)
    assert best_merged(task, enough - 1)[0] < history - 0.01


def test_pairs_of_memory_and_node_are_worth_what_nodes_are_where_memory_is_not_used(random_task):
    task, rng = random_task(4), np.random.default_rng(0)
    graph = state_graph(task)
    policy = rng.dirichlet(np.ones(task.num_actions), task.num_observations)
    wider = np.zeros((2, task.num_observations, 2, task.num_actions))
    wider[0, :, 1], wider[1, :, 0] = policy, policy
    pairs = with_memory(graph, 2)
    value = policy_values(pairs, wider.reshape(2 * task.num_observations, 2 * task.num_actions))
    assert value == pytest.approx(policy_values(graph, policy), abs=1e-12)
