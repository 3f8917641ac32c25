import numpy as np
import pytest

from seqrl_jax.exact.belief import belief_graph
from seqrl_jax.exact.branch_and_bound import Boxes, action_differences, assess, search, split_ranges
from seqrl_jax.exact.graph import state_graph
from seqrl_jax.exact.memoryless import memoryless_deterministic
from seqrl_jax.exact.state import evaluate_memoryless
from seqrl_jax.tasks import make
from seqrl_jax.tasks.tabular import TabularPOMDP, validated


def task_of_ties(seed):
    """Deterministic moves, a reward of 1 here and there: for one who sees the state, many choices are equally good."""
    rng = np.random.default_rng(seed)
    num_s, num_a, num_o = int(rng.integers(3, 7)), int(rng.integers(2, 4)), int(rng.integers(2, 5))
    seen = np.eye(num_o)[rng.integers(0, num_o, num_s)]
    initial = np.zeros(num_s)
    initial[rng.choice(num_s, 2, replace=False)] = 0.5
    paid = (rng.random((num_a, num_s, 1)) < 0.2).astype(float)
    return validated(
        TabularPOMDP(
            initial=initial,
            initial_observation=seen,
            transition=np.eye(num_s)[rng.integers(0, num_s, (num_a, num_s))],
            observation=np.broadcast_to(seen, (num_a, num_s, num_o)).copy(),
            reward=paid * np.ones((num_a, num_s, num_s)),
            terminal=np.zeros(num_s, bool),
            discount=1.0,
            horizon=6,
            name=f"ties_{seed}",
            states=tuple(f"s{i}" for i in range(num_s)),
            actions=tuple(f"a{i}" for i in range(num_a)),
            observations=tuple(f"o{i}" for i in range(num_o)),
        )
    )


@pytest.mark.parametrize("first_seed", range(0, 300, 50))
def test_ties_do_not_stop_the_search(first_seed):
    """With ties the relaxed choices may agree on a policy that goes elsewhere and is worth less than the bound."""
    for seed in range(first_seed, first_seed + 50):
        task = task_of_ties(seed)
        for graph in (state_graph(task), belief_graph(task).graph):
            listed, _ = memoryless_deterministic(task, graph)
            searched, _ = memoryless_deterministic(task, graph, limit=0)
            assert searched.is_exact and searched.lower == pytest.approx(listed.lower, abs=1e-6)


def test_where_actions_move_nothing_the_second_bound_is_exact():
    """In repeat_previous an answer never changes what comes, so J is linear in the policy; here it is 0 throughout."""
    task = make("repeat_previous")
    graph = belief_graph(task).graph
    shape = (task.num_observations, task.num_actions)
    boxes = Boxes(np.zeros((*shape, 1)), np.ones((*shape, 1)))
    assert assess(graph, boxes, None).bound[0] == pytest.approx(14)
    assert assess(graph, boxes, action_differences(graph)).bound[0] == pytest.approx(0, abs=1e-9)
    upper, _, finished = search(
        graph, lambda p: evaluate_memoryless(task, p), split_ranges, np.full(shape, 0.5), second_order=True
    )
    assert finished and upper == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_no_corner_of_a_box_exceeds_its_bound(random_task, seed):
    """Corners are where box bounds are tempted to cheat; some labels have no room at all, as deep in a search."""
    rng = np.random.default_rng(seed)
    task = random_task(seed, horizon=6)
    for graph in (state_graph(task), belief_graph(task).graph):
        for width in (0.6, 0.1, 0.01):
            centre = rng.dirichlet(np.full(task.num_actions, 0.4), task.num_observations)
            low, high = np.clip(centre - width, 0, 1), np.clip(centre + width, 0, 1)
            low[0] = high[0] = centre[0]
            found = assess(graph, Boxes(low[..., None], high[..., None]), action_differences(graph))
            if len(np.unique(graph.label)) > 1:
                assert found.label[0] != 0
            assert evaluate_memoryless(task, corners(rng, low, high)).max() <= found.bound[0] + 1e-10


def corners(rng, low, high, count=1000):
    """[count, L, A]: actions filled to the brim in random order, and mixtures of such policies."""
    order = rng.random((count, *low.shape)).argsort(-1)
    room = np.take_along_axis(np.broadcast_to(high - low, order.shape), order, -1)
    given = np.clip((1 - low.sum(1))[:, None] - (room.cumsum(-1) - room), 0, room)
    filled = np.zeros(order.shape)
    np.put_along_axis(filled, order, given, -1)
    share = rng.random((count, 1, 1))
    return np.concatenate([low + filled, low + share * filled + (1 - share) * filled[::-1]])
