import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl_jax.exact.budget import SearchBudget
from seqrl_jax.exact.solve import VALUES, solve, solve_anew, solve_infinite
from seqrl_jax.tasks import TASKS, TabularPOMDP, fingerprint, make, tabular_env, tabular_params, validated
from seqrl_jax.tasks.tabular import with_discount, with_horizon
from seqrl_jax.tracks.evaluation import controller_policy, simulate

EPISODES = 10_000
SLACK = 1e-9


@pytest.mark.parametrize("name", TASKS)
def test_the_environment_pays_what_the_solver_says(name, solved):
    """The kept optimal policy, played in the JAX environment: what catches a table that says one thing and an
    environment that does another.

    Within 4 standard errors of the value (false alarms 6e-5 a task), or to float32 where chance plays no part.
    """
    task, solution = solved(name)
    policy = controller_policy(solution.history)
    play = jax.jit(lambda key: simulate(key, tabular_env(task), tabular_params(task), policy, EPISODES, task.horizon))
    returns = np.asarray(play(jax.random.key(0)), np.float64)
    error = returns.std() / EPISODES**0.5
    assert abs(returns.mean() - solution.values["history"].lower) < 4 * error + 1e-5


@pytest.mark.parametrize("name", TASKS)
def test_the_five_values_stand_in_order(name, solved):
    assert_ordered(solved(name)[1].values)


def assert_ordered(values):
    assert set(values) == set(VALUES)
    for value in values.values():
        assert np.isfinite([value.lower, value.upper]).all() and value.lower <= value.upper and value.method
    deterministic, stochastic = values["memoryless_deterministic"], values["memoryless_stochastic"]
    history, state = values["history"], values["state"]
    # `random` may beat every deterministic policy: it does behind locked doors.
    assert values["random"].lower <= stochastic.lower + SLACK
    for below, above in ((deterministic, stochastic), (stochastic, history), (history, state)):
        assert below.lower <= above.lower + SLACK
        assert below.upper <= above.upper + SLACK + 1e-6


@settings(max_examples=12)
@given(seed=st.integers(0, 10_000))
def test_the_five_values_of_any_small_task_stand_in_order(random_task, seed):
    assert_ordered(solve_anew(random_task(seed, horizon=3)).values)


def test_a_solution_is_kept_under_the_fingerprint_and_read_back_whole(tmp_path):
    task = make("tmaze:length=1,horizon=5")
    first = solve(task, tmp_path)
    (kept,) = tmp_path.iterdir()
    assert fingerprint(task) in kept.name
    before = kept.stat().st_mtime_ns
    again = solve(task, tmp_path)
    assert kept.stat().st_mtime_ns == before, "the second call reads"
    assert again.values == first.values and again.fingerprint == first.fingerprint
    for name in ("deterministic", "stochastic", "state"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    for name in ("start", "action", "successor"):
        np.testing.assert_array_equal(getattr(again.history, name), getattr(first.history, name))


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip file", None])
def test_a_damaged_solution_is_solved_again(tmp_path, damage):
    task = make("aliased_line")
    solve(task, tmp_path)
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert solve(task, tmp_path).values["history"].lower == pytest.approx(0.95)
    assert len(list(tmp_path.iterdir())) == 1 and len(kept.read_bytes()) == len(whole)


def test_a_task_in_which_every_action_ends_is_solved():
    """A bandit with a context: no transition goes on. Its optimum is the best arm of each context."""
    contexts, rng = 199, np.random.default_rng(0)
    states = contexts + 1
    transition = np.zeros((2, states, states))
    transition[:, :, -1] = 1
    reward = np.zeros((2, states, states))
    reward[:, :-1, -1] = rng.random((2, contexts))
    seen = np.eye(states)
    task = validated(
        TabularPOMDP(
            initial=np.append(np.full(contexts, 1 / contexts), 0.0),
            initial_observation=seen,
            transition=transition,
            observation=np.stack([seen, seen]),
            reward=reward,
            terminal=np.arange(states) == contexts,
            discount=1.0,
            horizon=1,
            name="contexts",
            states=tuple(map(str, range(states))),
            actions=("left", "right"),
            observations=tuple(map(str, range(states))),
        )
    )
    values = solve_anew(task).values
    best = reward[:, :-1, -1].max(0).mean()
    for name in ("memoryless_deterministic", "memoryless_stochastic", "history", "state"):
        assert values[name].lower == pytest.approx(best, abs=1e-6) and values[name].is_exact


def test_a_larger_budget_improves_what_is_kept_and_a_smaller_one_reads_it(tmp_path):
    """Both ends close, and neither is ever given up."""
    task = with_discount(make("tiger"), 0.95)
    little, more = SearchBudget(3e7), SearchBudget(3e8)
    first = solve(task, tmp_path, budget=little, infinite=True)
    second = solve(task, tmp_path, budget=more, infinite=True)
    (kept,) = tmp_path.iterdir()
    before = kept.stat().st_mtime_ns
    again = solve(task, tmp_path, budget=little, infinite=True)
    assert kept.stat().st_mtime_ns == before and again.values == second.values
    first, second = first.values["history"], second.values["history"]
    assert first.lower <= second.lower <= second.upper <= first.upper and second.gap < first.gap
    other = solve(task, tmp_path, budget=SearchBudget(seconds=0.01), infinite=True)
    assert other.values["history"].lower >= second.lower and other.values["history"].upper <= second.upper
    assert other.budget == SearchBudget(more.work, 0.01)


def test_seconds_bound_memoryless_values_too_and_more_of_them_close_these(tmp_path):
    """Maps are few here; the best stochastic policy takes an ascent."""
    task = make("grey_line")
    hasty = solve(task, tmp_path, budget=SearchBudget(seconds=1e-3)).values
    patient = solve(task, tmp_path).values
    loose, tight = hasty["memoryless_stochastic"], patient["memoryless_stochastic"]
    assert "in 0.001 s of this machine" in loose.method and not loose.is_exact
    assert loose.lower <= tight.lower <= tight.upper <= loose.upper
    assert tight.is_exact and "of this machine" not in tight.method
    assert solve(task, tmp_path, budget=SearchBudget(seconds=1e-3)).values == patient


def test_an_infinite_horizon_is_kept_apart_whatever_the_horizon_was(tmp_path):
    task = with_discount(make("aliased_line"), 0.9)
    solve(task, tmp_path)
    solve(task, tmp_path, infinite=True)
    assert len(list(tmp_path.iterdir())) == 2
    solve(with_horizon(task, 3), tmp_path, infinite=True)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_memoryless_policy_is_a_policy_of_the_history():
    """Where trials had no time, the better of the two is kept."""
    solution = solve_infinite(with_discount(make("aliased_line"), 0.9), SearchBudget(1.0))
    history = solution.values["history"]
    assert history.lower >= solution.values["memoryless_deterministic"].lower
    assert history.lower >= solution.values["memoryless_stochastic"].lower


def test_an_answer_that_depends_on_the_machine_says_so():
    solution = solve_infinite(with_discount(make("tiger"), 0.95), SearchBudget(seconds=0.05))
    assert "in 0.05 s of this machine" in solution.values["history"].method
