from pathlib import Path

import numpy as np
import pytest

from seqrl_jax.exact.chain import state_chain
from seqrl_jax.exact.fixed_points import (
    actor_critic,
    aggregated,
    evaluate_plan,
    expected_update,
    first_of_best,
    plan,
    predicted,
    q_fixed_point,
    retries,
    timed_q_fixed_point,
)
from seqrl_jax.exact.gradients import critic, expected_estimate, softmax
from seqrl_jax.exact.state import evaluate_memoryless, start_value, state_values, uniform_policy
from seqrl_jax.tasks import make, observed

FILES = Path(__file__).parents[3] / "shared" / "pomdp"


def continuing(name):
    """A discounted task of a file, its first state seen, with a horizon beyond which nothing is worth 1e-6."""
    path = FILES / f"{name}.95.POMDP"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    return make(f"{path}:horizon=400,seen_at_start=true")


@pytest.mark.parametrize(
    ("name", "ends", "digits"),
    [
        ("shuttle", {0.0: 0.04, 0.5: 14.4, 0.95: 18.92}, 0.05),
        ("cheese", {0.0: 0.384, 0.5: 1.499, 0.95: 2.075, 1.0: 2.079}, 1e-3),
    ],
)
def test_actor_critic_ends_where_an_independent_computation_says(name, ends, digits):
    """Figures computed elsewhere for the same two files, without time limit, to the digits given."""
    task = continuing(name)
    values, policies = actor_critic(task, np.array(list(ends)), occupancy_discount=task.discount)
    np.testing.assert_allclose(values, list(ends.values()), atol=digits)
    np.testing.assert_allclose(evaluate_memoryless(task, policies), values, atol=1e-9)


def test_q_learning_claims_what_an_independent_computation_says_and_earns_nothing():
    task = continuing("shuttle")
    q = q_fixed_point(task, uniform_policy(task), occupancy_discount=task.discount)
    claims = task.initial @ task.initial_observation @ q.max(1)
    greedy = np.eye(task.num_actions)[first_of_best(q.T)]
    assert claims == pytest.approx(17.85, abs=5e-3)
    assert evaluate_memoryless(task, greedy) == 0


def test_an_action_that_might_go_on_for_ever_has_a_value():
    """The tiger without a discount: to listen a hundred times is what a random behaviour never does. By hand: behind
    one sound a door is worth .85 * 10 - .15 * 100 = -6.5, and to listen one less."""
    task = make("tiger:discount=1,horizon=100")
    q = q_fixed_point(task, uniform_policy(task))
    listen, left, right = (task.actions.index(name) for name in ("listen", "open_left", "open_right"))
    heard = task.observations.index("hear_left")
    np.testing.assert_allclose(q[heard, [listen, left, right]], [-7.5, 0.15 * 10 - 0.85 * 100, -6.5], atol=1e-6)


def test_the_expected_update_is_that_of_the_estimate_with_its_critic(random_task):
    import jax
    import jax.numpy as jnp

    for seed in range(4):
        task = random_task(seed)
        chain = state_chain(task)
        logits = np.random.default_rng(seed).normal(size=(task.num_observations, task.num_actions))
        policy = softmax(logits)
        for lambda_ in (0.0, 0.6):
            value = critic(chain, policy, chain.label, lambda_)[chain.label]
            expected = expected_estimate(chain, policy, lambda_ * task.discount, value=value)
            with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
                found = expected_update(task, lambda_, 1.0, jnp.asarray(logits))
            np.testing.assert_allclose(found, expected, atol=1e-10)


def test_a_naive_model_thinks_that_every_retry_is_a_new_chance():
    """Two doors, one unlocked, 8 steps at .1: the model says .5 at each attempt, whichever door."""
    task = make("locked_doors:doors=2")
    model = aggregated(task, uniform_policy(task))
    np.testing.assert_allclose(1 - model.transition.sum(-1)[:, 0], 0.5)
    claims = sum(0.5**t * (0.5 - 0.1) for t in range(8))
    assert claims == pytest.approx(0.797, abs=5e-4)
    for share in (0.0, 0.3, 1.0):
        policy = np.tile([share, 1 - share], (task.num_observations, 1))
        assert predicted(task, model, policy) == pytest.approx(claims)
    claimed, actions = plan(model, task.discount, task.horizon)
    assert claimed == pytest.approx(claims)
    assert evaluate_plan(task, actions) == pytest.approx(0.5 * 0.9 - 0.5 * 0.8)


def test_observed_tasks_hold_no_surprise(random_task):
    for seed in range(4):
        task = observed(random_task(seed))
        best = start_value(task, state_values(task)[0])
        for claimed, actions in (
            plan(aggregated(task, uniform_policy(task)), task.discount, task.horizon),
            timed_q_fixed_point(task, uniform_policy(task)),
        ):
            assert claimed == pytest.approx(best)
            assert evaluate_plan(task, actions) == pytest.approx(best)


def test_q_learning_from_samples_ends_at_the_fixed_point():
    """Tabular Q-learning with falling steps, on 20,000 uniform episodes of a short aliased task.

    Entries that are met within .05, about 5 standard errors of the last averages (seen over seeds 0-19: at most .03).
    """
    task = make("two_doors")
    rng = np.random.default_rng(0)
    expected = q_fixed_point(task, uniform_policy(task))
    q, visits = np.zeros((task.num_observations, task.num_actions)), np.zeros((task.num_observations, task.num_actions))
    for _ in range(20_000):
        s = rng.choice(task.num_states, p=task.initial)
        o = rng.choice(task.num_observations, p=task.initial_observation[s])
        for t in range(task.horizon):
            a = rng.integers(task.num_actions)
            s2 = rng.choice(task.num_states, p=task.transition[a, s])
            o2 = rng.choice(task.num_observations, p=task.observation[a, s2])
            over = task.terminal[s2] or t + 1 == task.horizon
            target = task.reward[a, s, s2] + (0 if over else task.discount * q[o2].max())
            visits[o, a] += 1
            q[o, a] += (target - q[o, a]) * 10 / (10 + visits[o, a])
            s, o = s2, o2
            if over:
                break
    met = visits > 0
    np.testing.assert_allclose(q[met], expected[met], atol=0.05)


def test_what_a_retry_is_believed_to_be_and_what_it_is():
    """Two doors: the first try opens with .5; a second one of the same door never does."""
    for spec, first in (("locked_doors:doors=2", 0.5), ("two_doors", 0.5)):
        task = make(spec)
        believed, true = retries(task, aggregated(task, uniform_policy(task)), 0, 3)
        np.testing.assert_allclose(true, [first, 0, 0], atol=1e-12)
        np.testing.assert_allclose(believed, believed[0])
        assert 0.2 < believed[0] <= 0.5
