from pathlib import Path

import numpy as np
import pytest

from seqrl_jax.exact.graph import policy_values, state_graph, with_memory
from seqrl_jax.exact.interval import Interval
from seqrl_jax.exact.ladder import Rung, ladder
from seqrl_jax.exact.state import evaluate_memoryless
from seqrl_jax.tasks import make

FILES = Path(__file__).parents[3] / "shared" / "pomdp"


def memoryless(solution):
    return Rung(1, solution.values["memoryless_stochastic"], solution.stochastic)


def test_rungs_rise_from_memoryless_towards_history(solved):
    task, solution = solved("locked_doors")
    values = [rung.value.lower for rung in ladder(task, memoryless(solution), largest=3)]
    assert values[0] == pytest.approx(float(evaluate_memoryless(task, solution.stochastic)), abs=1e-9)
    assert values == sorted(values)
    assert values[-1] == pytest.approx(solution.values["history"].upper, abs=1e-6)


def test_a_rung_is_worth_what_its_policy_earns_when_played(solved):
    """20,000 episodes with numpy alone, within 5 standard errors: false alarms 6e-7."""
    task, solution = solved("aliased_line")
    rung = ladder(task, memoryless(solution), largest=2)[-1]
    policy = rung.policy.reshape(2, task.num_observations, -1)
    rng, returns = np.random.default_rng(0), []
    for _ in range(20_000):
        s, m, total = rng.choice(task.num_states, p=task.initial), 0, 0.0
        o = rng.choice(task.num_observations, p=task.initial_observation[s])
        for t in range(task.horizon):
            law = np.maximum(policy[m, o], 0)
            m, a = divmod(rng.choice(law.size, p=law / law.sum()), task.num_actions)
            s2 = rng.choice(task.num_states, p=task.transition[a, s])
            total += task.discount**t * task.reward[a, s, s2]
            if task.terminal[s2]:
                break
            s, o = s2, rng.choice(task.num_observations, p=task.observation[a, s2])
        returns.append(total)
    assert abs(np.mean(returns) - rung.value.lower) <= 5 * np.std(returns) / len(returns) ** 0.5 + 1e-9


def test_two_memory_states_on_the_cheese_maze():
    """An independent computation, without time limit: 3.578."""
    path = FILES / "cheese.95.POMDP"
    if not path.exists():
        pytest.skip("cheese.95.POMDP is not here")
    task = make(f"{path}:horizon=200,seen_at_start=true")
    uniform = np.full((task.num_observations, task.num_actions), 1 / task.num_actions)
    value = float(evaluate_memoryless(task, uniform))
    first = Rung(1, Interval(value, np.inf, "an example"), uniform)
    assert ladder(task, first, largest=2)[-1].value.lower == pytest.approx(3.578, abs=5e-3)


def test_no_memory_at_all_is_refused(solved):
    task, solution = solved("aliased_line")
    with pytest.raises(ValueError, match="at least one memory state"):
        ladder(task, memoryless(solution), largest=0)


@pytest.mark.parametrize("seed", [0, 2])
def test_no_controller_exceeds_its_upper_end(random_task, seed):
    task, rng = random_task(seed), np.random.default_rng(seed)
    uniform = np.full((task.num_observations, task.num_actions), 1 / task.num_actions)
    value = float(evaluate_memoryless(task, uniform))
    rung = ladder(task, Rung(1, Interval(value, np.inf, "an example"), uniform), largest=2)[-1]
    nodes = with_memory(state_graph(task), 2)
    policies = rng.dirichlet(np.full(2 * task.num_actions, 0.1), (5000, 2 * task.num_observations))
    assert policy_values(nodes, policies).max() <= rung.value.upper + 1e-12
    assert float(policy_values(nodes, rung.policy)) == rung.value.lower
