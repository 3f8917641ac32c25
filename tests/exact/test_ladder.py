from pathlib import Path

import numpy as np
import pytest

from seqrl_jax.exact.ladder import ladder
from seqrl_jax.exact.state import evaluate_memoryless
from seqrl_jax.tasks import make

FILES = Path(__file__).parents[3] / "shared" / "pomdp"


def test_rungs_rise_from_memoryless_towards_history(solved):
    task, solution = solved("locked_doors")
    values = [rung.value for rung in ladder(task, solution.stochastic, largest=3)]
    assert values[0] == pytest.approx(float(evaluate_memoryless(task, solution.stochastic)), abs=1e-9)
    assert values == sorted(values)
    assert values[-1] == pytest.approx(solution.values["history"].upper, abs=1e-6)


def test_a_rung_is_worth_what_its_policy_earns_when_played(solved):
    """20,000 episodes with numpy alone, within 5 standard errors: false alarms 6e-7."""
    task, solution = solved("aliased_line")
    rung = ladder(task, solution.stochastic, largest=2)[-1]
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
    assert abs(np.mean(returns) - rung.value) <= 5 * np.std(returns) / len(returns) ** 0.5 + 1e-9


def test_two_memory_states_on_the_cheese_maze():
    """An independent computation, without time limit: 3.578."""
    path = FILES / "cheese.95.POMDP"
    if not path.exists():
        pytest.skip("cheese.95.POMDP is not here")
    task = make(f"{path}:horizon=200,seen_at_start=true")
    uniform = np.full((task.num_observations, task.num_actions), 1 / task.num_actions)
    assert ladder(task, uniform, largest=2)[-1].value == pytest.approx(3.578, abs=5e-3)


def test_no_memory_at_all_is_refused(solved):
    task, solution = solved("aliased_line")
    with pytest.raises(ValueError, match="at least one memory state"):
        ladder(task, solution.stochastic, largest=0)
