import gymnax
import jax
import numpy as np
import pytest

from seqrl_jax.agents import make_agent, train
from seqrl_jax.agents.model_based import NaiveModel
from seqrl_jax.exact.fixed_points import aggregated, evaluate_plan, plan
from seqrl_jax.exact.state import uniform_policy
from seqrl_jax.tasks import make, tabular_env, tabular_params
from seqrl_jax.tasks.gymnax_adapter import from_gymnax
from seqrl_jax.tracks.evaluation import simulate


@pytest.fixture(scope="module", params=["locked_doors:doors=2", "two_doors"])
def learned(request):
    task = make(request.param)
    env, params = tabular_env(task), tabular_params(task)
    agent = NaiveModel().for_run(task.horizon, 0)
    state = jax.jit(lambda key: train(agent, env, params, key, 400 * agent.steps_per_update)[0])(jax.random.key(0))
    return task, env, params, agent, state


def test_it_believes_claims_and_earns_what_is_computed_exactly(learned):
    """200,000 steps; probabilities within 5 standard errors of the aggregated model's, claims within .02."""
    task, env, params, agent, state = learned
    model = aggregated(task, uniform_policy(task))
    claimed, actions = plan(model, task.discount, task.horizon)
    tried = np.asarray(state.counts.tried)[1:]
    law = np.asarray(state.counts.followed)[1:] / np.maximum(tried, 1)[..., None]
    expected = model.transition.swapaxes(0, 1)
    error = np.sqrt(expected * (1 - expected) / np.maximum(tried, 1)[..., None])
    assert (np.abs(law - expected)[tried > 0] <= 5 * error[tried > 0] + 1e-6).all()
    assert float(agent.claim(env, params, state, jax.random.key(1))) == pytest.approx(claimed, abs=0.02)
    returns = simulate(jax.random.key(2), env, params, agent.policy(env, params, state), 4000, task.horizon)
    assert abs(returns.mean() - evaluate_plan(task, actions)) <= 5 * returns.std() / 4000**0.5 + 1e-6
    assert claimed > evaluate_plan(task, actions) + 0.5


def test_counts_do_not_cross_episodes_and_a_window_knows_where_it_began():
    """A task that shows the time: o' is always one later than o, and the first window holds the symbol for nothing."""
    task = make("two_doors:time=true")
    env, params = tabular_env(task), tabular_params(task)
    agent = NaiveModel(window=2).for_run(task.horizon, 0)
    state = jax.jit(lambda key: train(agent, env, params, key, 20 * agent.steps_per_update)[0])(jax.random.key(0))
    base = task.num_observations + 1
    time = {o: int(name.rsplit("=")[-1]) if "=" in name else None for o, name in enumerate(task.observations)}
    for context, _, o in np.argwhere(np.asarray(state.counts.followed) > 0):
        earlier, last = divmod(context, base)
        if None not in (time[last - 1], time[o]):
            assert time[o] == time[last - 1] + 1
            assert (earlier == 0) == (time[last - 1] == 0)


def test_a_window_sees_through_one_failed_try():
    """`two_doors`: with one observation the plan retries the door that failed; with two it is closer to the truth."""
    earned = {}
    for window in (1, 2):
        task = make("two_doors")
        env, params = tabular_env(task), tabular_params(task)
        agent = NaiveModel(window=window).for_run(task.horizon, 0)
        state = jax.jit(lambda key, a=agent, e=env, p=params: train(a, e, p, key, 200 * a.steps_per_update)[0])(
            jax.random.key(0)
        )
        claim = float(agent.claim(env, params, state, jax.random.key(1)))
        value = float(simulate(jax.random.key(2), env, params, agent.policy(env, params, state), 4000, 6).mean())
        earned[window] = (claim - value, value)
    assert earned[2][0] < earned[1][0] and earned[2][1] >= earned[1][1] - 0.02


def test_continuous_observations_are_refused():
    cartpole, cartpole_params = gymnax.make("CartPole-v1")
    env, params = from_gymnax(cartpole, cartpole_params, discount=0.99)
    with pytest.raises(ValueError, match="needs discrete observations"):
        make_agent("naive_model").init(jax.random.key(0), env, params)
