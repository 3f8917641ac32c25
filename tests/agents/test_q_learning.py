"""Targets by hand, sequences against the steps that made them, and problems whose values are known."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from noise import shaken

from seqrl_jax.agents import make_agent, replay, train
from seqrl_jax.agents.exploration import EpsilonGreedy, EpsilonZ
from seqrl_jax.agents.network import step, unroll
from seqrl_jax.agents.replay import Draw
from seqrl_jax.agents.rollout import Magnitude
from seqrl_jax.agents.targets import Double, Max, Soft
from seqrl_jax.networks import StepInput
from seqrl_jax.tasks import TabularPOMDP, make, tabular_env, tabular_params, validated
from seqrl_jax.tasks.build import build, ends, goes, uniform
from seqrl_jax.tracks.evaluation import exact_scores

# Compiled as wholes: operation by operation, each of a few hundred would be a program of its own.
BEGUN = jax.jit(lambda agent, env, params: agent.init(jax.random.key(0), env, params), static_argnums=(0, 1))
UPDATED = jax.jit(lambda agent, env, params, state: agent.update(env, params, state)[0], static_argnums=(0, 1))
STEP, UNROLL = (jax.jit(function, static_argnums=0) for function in (step, unroll))
SMALL = "width=8,num_envs=4,rollout_length=8,batch_sequences=4,capacity=128"


def two_cues(horizon=4):
    """A cue is seen once, then a blank; at the second step the action that the cue named pays 1 and ends."""

    def step(state, action):
        cue, time = state
        if time == 0:
            return goes((cue, 1))
        return ends(1.0 if action == cue else 0.0)

    return build(
        name="two_cues",
        states=[(cue, time) for cue in ("a", "b") for time in (0, 1)],
        actions=["a", "b"],
        observations=["cue_a", "cue_b", "blank"],
        start=uniform([("a", 0), ("b", 0)]),
        step=step,
        observe=lambda state: f"cue_{state[0]}" if state[1] == 0 else "blank",
        discount=0.5,
        horizon=horizon,
    )


def clock(horizon=3) -> TabularPOMDP:
    """Observations count the steps of an episode that only the horizon ends; each step pays 1."""
    size = horizon + 1
    transition = np.zeros((1, size, size))
    transition[0, np.arange(size), np.minimum(np.arange(size) + 1, horizon)] = 1
    return validated(
        TabularPOMDP(
            initial=np.eye(size)[0],
            initial_observation=np.eye(size),
            transition=transition,
            observation=np.eye(size)[None],
            reward=np.ones((1, size, size)),
            terminal=np.zeros(size, bool),
            discount=0.9,
            horizon=horizon,
            name="clock",
            states=tuple(f"s{i}" for i in range(size)),
            actions=("wait",),
            observations=tuple(f"o{i}" for i in range(size)),
        )
    )


def with_table(state, table):
    """The state of an agent with a `Table` memory whose Q is this [O, A]."""
    weights = jax.tree.map(lambda _: jnp.asarray(table, jnp.float32), state.train.weights)
    return state._replace(train=state.train._replace(weights=weights), target=weights)


@partial(jax.jit, static_argnums=(0, 1))
def td_errors(agent, env, params, state):
    """A rollout of the agent [B, T, ...], and the TD errors [T, B] on it, in units of return."""
    _, block = agent._collect(env, params, state.target, state.position, state.updates, jax.random.key(1))
    buffer = replay.add(state.replay, block)
    drawn = Draw(jnp.zeros(agent.num_envs, jnp.int32), jnp.arange(agent.num_envs), jnp.ones(agent.num_envs))
    one, zero = Magnitude(jnp.float32(1.0), jnp.float32(1.0)), jnp.float32(0.0)
    _, (error, _) = agent._loss(env, params, state.target, state.target, buffer, drawn, one, zero, jax.random.key(2))
    return block, error


def staircase(horizon=6):
    """The observation is the time; the second action pays 1, the first .3, until the horizon."""
    return build(
        name="staircase",
        states=range(horizon + 1),
        actions=["low", "high"],
        observations=[f"at_{time}" for time in range(horizon + 1)],
        start=uniform([0]),
        step=lambda time, action: goes(min(time + 1, horizon), 1.0 if action == "high" else 0.3),
        observe=lambda time: f"at_{time}",
        discount=0.9,
        horizon=horizon,
    )


@pytest.mark.parametrize("num_envs", [1, 4])
def test_values_are_in_units_of_the_largest_return_of_an_episode(num_envs):
    """However many environments there are: a return is summed along an episode, not across environments."""
    task = clock()
    env, params = tabular_env(task), tabular_params(task)
    agent = make_agent(f"drqn:{SMALL}").for_run(task.horizon, 1000)
    agent = dataclasses.replace(agent, num_envs=num_envs)
    state = UPDATED(agent, env, params, BEGUN(agent, env, params))
    assert state.magnitude.value == pytest.approx(1 + 0.9 + 0.9**2)


@pytest.mark.parametrize("n_steps", [1, 2, 5])
@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_soft_optimal_values_have_no_td_error_whatever_is_done(n_steps, epsilon):
    """The return of n steps counts the entropy of the steps between, also of exploratory ones: without it the error is
    up to a temperature times log 2 for each of them."""
    task, temperature = staircase(), 0.5
    env, params = tabular_env(task), tabular_params(task)
    agent = make_agent(
        f"soft_q:memory=table,temperature={temperature},n_steps={n_steps},num_envs=8,rollout_length=16,"
        f"exploration=epsilon,epsilon_end={epsilon},exploration_share=1e-8"
    ).for_run(task.horizon, 1000)
    q, value = np.zeros((task.num_observations, 2)), 0.0
    for time in reversed(range(task.horizon)):
        q[time] = np.array([0.3, 1.0]) + task.discount * value
        value = temperature * np.logaddexp(*(q[time] / temperature))
    state = with_table(BEGUN(agent, env, params), q)._replace(updates=jnp.int32(10))
    block, error = td_errors(agent, env, params, state)
    assert set(np.asarray(block.rollout.action).ravel()) == {0, 1}
    # What follows the rollout's last steps inside an episode is not cut: they bootstrap from the value there.
    np.testing.assert_allclose(error, 0.0, atol=1e-5)


@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_soft_targets_bring_wrong_values_closer_whatever_is_done(n_steps):
    """From values that are wrong by up to 5, under random actions: no target is further off than the discount allows
    (a hundredth more, as the weights are those of the wrong values). Returns that go on in full fail here."""
    task, temperature = staircase(), 0.5
    env, params = tabular_env(task), tabular_params(task)
    agent = make_agent(
        f"soft_q:memory=table,temperature={temperature},n_steps={n_steps},num_envs=32,rollout_length=16,"
        "exploration=epsilon,epsilon_end=1,exploration_share=1e-8"
    ).for_run(task.horizon, 1000)
    right, value = np.zeros((task.num_observations, 2)), 0.0
    for time in reversed(range(task.horizon)):
        right[time] = np.array([0.3, 1.0]) + task.discount * value
        value = temperature * np.logaddexp(*(right[time] / temperature))
    for seed in range(5):
        wrong = right + np.random.default_rng(seed).uniform(-5, 5, right.shape)
        state = with_table(BEGUN(agent, env, params), wrong)._replace(updates=jnp.int32(10))
        block, error = td_errors(agent, env, params, state)
        at = np.asarray(block.rollout.obs.T), np.asarray(block.rollout.action.T)
        off = np.abs(wrong[at] - np.asarray(error) - right[at])
        assert off.max() <= 1.01 * task.discount * np.abs(wrong - right).max()


@pytest.mark.parametrize(("bootstrap", "last"), [(False, 1.0), (True, 1.0 + 0.9 * 40.0)])
def test_the_target_at_the_horizon_uses_the_real_last_observation_or_nothing(bootstrap, last):
    """Q(o_i) = 10 (i + 1). After o_2 comes o_3, worth 40; the next episode begins with o_0, which is worth 10 and would
    make the target 10. By the task's own horizon nothing follows, and the target is the reward."""
    task = clock()
    env, params = tabular_env(task), tabular_params(task)
    spec = f"drqn:memory=table,num_envs=2,rollout_length=8,batch_sequences=2,n_steps=1,bootstrap_truncated={bootstrap}"
    agent = make_agent(spec.lower())
    q = 10.0 * np.arange(1, task.num_observations + 1)[:, None]
    state = with_table(BEGUN(agent, env, params), q)
    block, error = td_errors(agent, env, params, state)
    targets = np.asarray(q[np.asarray(block.rollout.obs.T), 0] - error)
    by_time = {0: 1 + 0.9 * 20, 1: 1 + 0.9 * 30, 2: last}
    expected = np.vectorize(by_time.get)(np.asarray(block.rollout.time.T))
    # The rollout's last step is inside an episode (8 = 3 + 3 + 2), so it is among the cases.
    assert block.rollout.time[0, -1] == 1
    np.testing.assert_allclose(targets, expected, rtol=1e-6)


@pytest.mark.parametrize("spec", ["drqn:n_steps=1", "pqn:lambda_=0"])
def test_targets_see_the_first_observation(spec):
    """gamma = .5: the first step is worth .5 and the second 1, if the cue is remembered. Q is exact to .05 at both."""
    task = two_cues()
    env, params = tabular_env(task), tabular_params(task)
    sizes = "width=16,num_envs=16,rollout_length=8,learning_rate=0.01,exploration_share=0.5"
    agent = make_agent(f"{spec},{sizes}")
    state, _ = jax.jit(lambda key: train(agent, env, params, key, 160 * agent.steps_per_update))(jax.random.key(0))
    network = agent.network_in(env)
    nothing = jnp.zeros((2, 1))
    for cue in (0, 1):
        first = jnp.array([[True], [False]])
        inputs = StepInput(jnp.array([[cue], [2]]), first, jnp.zeros((2, 1), jnp.int32), nothing)
        _, q = UNROLL(network, state.train.weights, agent.memory.initial_carry(1), inputs)
        np.testing.assert_allclose(q[0, 0], [0.5, 0.5], atol=0.05)
        np.testing.assert_allclose(q[1, 0], [cue == 0, cue == 1], atol=0.05)
    claim = agent.claim(env, params, state, jax.random.key(1))
    np.testing.assert_allclose(claim, 0.5, atol=0.05)
    policy = agent.policy(env, params, state)
    step = jax.jit(lambda *at: (policy.value(*at), policy.act(*at)[0]))
    for cue in (0, 1):
        carry = policy.initial_carry()
        for obs, is_first, worth in ((cue, True, 0.5), (2, False, 1.0)):
            inputs = StepInput(jnp.int32(obs), jnp.bool_(is_first), jnp.int32(0), jnp.float32(0))
            expected, carry = step(jax.random.key(0), carry, inputs)
            np.testing.assert_allclose(expected, worth, atol=0.05)


def test_q_of_the_observation_claims_what_it_does_not_earn():
    """In the switched corridor every cell looks alike: Q bootstraps from an average cell, and its greedy policy, which
    never leaves, earns -20. What Q claims is at least 1 more (8 other seeds: 4.6 to 5)."""
    task = make("switched_corridor")
    env, params = tabular_env(task), tabular_params(task)
    agent = make_agent("q_obs:memory=table,learning_rate=0.003,exploration_share=0.5")
    state, _ = jax.jit(lambda key: train(agent, env, params, key, 200 * agent.steps_per_update))(jax.random.key(0))
    (earned,) = exact_scores(task, np.asarray(agent.probabilities(env, params, state))[None])
    assert agent.claim(env, params, state, jax.random.key(1)) > earned + 1


@partial(jax.jit, static_argnums=(0, 1))
def starts(agent, network, weights, block, buffer, drawn):
    """The carry with which a replayed sequence begins."""
    return agent._starts(network, weights, weights, block, buffer, drawn)[0]


@partial(jax.jit, static_argnums=(0, 1))
def collected(agent, env, params, weights, position, buffer, key):
    """Where a rollout ends, and the buffer with it."""
    position, block = agent._collect(env, params, weights, position, jnp.int32(0), key)
    return position, replay.add(buffer, block)


def acted_and_replayed(spec, task_spec="peek_maze:horizon=8", updates=3):
    """(first, Q as acted, Q as replayed) of the newest block, made by the same weights."""
    agent, network, weights, begun, buffer, drawn = replayed(spec, task_spec, updates)
    block = replay.read(buffer, drawn.slot, drawn.env)
    carry = starts(agent, network, weights, block, buffer, drawn)
    inputs = jax.tree.map(jnp.transpose, block.rollout.inputs)
    _, read = UNROLL(network, weights, carry, inputs)
    carry, stepped = begun, []
    for t in range(len(inputs.first)):
        carry, q = STEP(network, weights, carry, jax.tree.map(lambda leaf, t=t: leaf[t], inputs))
        stepped.append(q)
    return np.asarray(inputs.first), np.asarray(jnp.stack(stepped)), np.asarray(read)


def replayed(spec, task_spec, updates):
    """(agent, its network, weights, the carry with which the newest block began, the buffer, a draw of that block)."""
    task = make(task_spec)
    env, params = tabular_env(task), tabular_params(task)
    agent = make_agent(spec)
    state = BEGUN(agent, env, params)
    weights = shaken(state.train.weights, 0.3)
    position, buffer = state.position, state.replay
    for number in range(updates):
        start = position
        position, buffer = collected(agent, env, params, weights, position, buffer, jax.random.key(number))
    begun = agent.memory.initial_carry(4) if agent.start.whole else start.carry[0]
    drawn = Draw(jnp.full(4, updates - 1), jnp.arange(4), jnp.ones(4))
    return agent, agent.network_in(env), weights, begun, buffer, drawn


@pytest.mark.parametrize("how", ["start=whole", "start=stored", "start=stored,burn_in=true"])
def test_a_replayed_sequence_is_what_the_acting_network_saw(how):
    first, stepped, replayed = acted_and_replayed(f"drqn:{SMALL},{how}")
    assert first[1:].any(), "an episode ends inside"
    np.testing.assert_allclose(stepped, replayed, atol=1e-5)


def test_from_an_empty_carry_a_sequence_is_another_until_an_episode_begins():
    first, stepped, replayed = acted_and_replayed(f"drqn:{SMALL},start=zero")
    begun = np.cumsum(first, 0) > 0
    assert not begun.all()
    np.testing.assert_allclose(stepped[begun], replayed[begun], atol=1e-5)
    assert (np.abs(stepped - replayed).max(-1)[~begun] > 1e-3).all()


def test_burn_in_passes_no_gradient():
    """With a stored carry of the block before as an input, its gradient through the burn-in is zero."""
    spec = f"drqn:{SMALL},start=stored,burn_in=true"
    agent, network, weights, _, buffer, drawn = replayed(spec, "peek_maze", updates=2)

    def total(weights):
        block = replay.read(buffer, drawn.slot, drawn.env)
        return jax.tree.leaves(starts(agent, network, weights, block, buffer, drawn))[0].sum()

    carried, gradient = jax.jit(jax.value_and_grad(total))(weights)
    assert carried != 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))


def test_values_in_another_unit_are_the_same_values():
    """A larger return than any before changes the unit in which values are learned, not what they say."""
    task = staircase()
    env, params = tabular_env(task), tabular_params(task)
    agent = make_agent("drqn:memory=table,num_envs=4,rollout_length=8").for_run(task.horizon, 1000)
    q = np.arange(2.0 * task.num_observations).reshape(-1, 2)
    weights = with_table(BEGUN(agent, env, params), q).target
    unit = lambda value: Magnitude(jnp.float32(1.0), jnp.float32(value))
    scaled = agent._rescaled(weights, unit(2.0), unit(8.0))
    np.testing.assert_allclose(8.0 * jax.tree.leaves(scaled)[0], 2.0 * q, rtol=1e-6)


def test_rescaled_values_are_learned_as_they_are():
    """h(Q) shrinks large returns: of returns divided by the largest there would be nothing to shrink."""
    agent = make_agent("r2d2")
    assert agent._unit(Magnitude(jnp.float32(3.0), jnp.float32(50.0))) == 1.0


Q, TARGET_Q, MASK = jnp.array([1.0, 2.0, 5.0]), jnp.array([7.0, 3.0, 9.0]), jnp.array([True, True, False])


def test_soft_values_are_those_of_the_soft_policy():
    """V = temperature logsumexp(Q / temperature) = E[Q] + temperature H(pi), over the task's own actions."""
    target, q = Soft(0.5), jnp.array([1.0, 0.2, 9.0])
    pi = np.exp([2.0, 0.4]) / np.exp([2.0, 0.4]).sum()
    expected = (pi * np.array([1.0, 0.2])).sum() - 0.5 * (pi * np.log(pi)).sum()
    np.testing.assert_allclose(target.value(q, q, MASK), expected, rtol=1e-6)
    np.testing.assert_allclose(target.bonus(q, jnp.int32(1), MASK), -0.5 * np.log(pi[1]), rtol=1e-5)
    drawn = np.asarray(target.policy(q, MASK).sample(seed=jax.random.key(0), sample_shape=10_000))
    # Five standard errors: false alarms 6e-7.
    np.testing.assert_allclose((drawn == 0).mean(), pi[0], atol=5 * 0.5 / 100)
    assert (drawn < 2).all()


def test_double_q_values_the_action_that_the_other_network_chose():
    assert Double().value(Q, TARGET_Q, MASK) == 3.0
    assert Max().value(Q, TARGET_Q, MASK) == 7.0
    assert Double().policy(Q, MASK).mode() == 1


def test_a_soft_value_makes_no_claim_about_returns():
    task = staircase()
    env, params = tabular_env(task), tabular_params(task)
    agent = make_agent("soft_q:memory=table").for_run(task.horizon, 1000)
    assert agent.claim(env, params, BEGUN(agent, env, params), jax.random.key(1)) is None


def test_a_repeated_action_holds_for_its_length_and_ends_with_the_episode():
    """P(n >= k) = 1 / k, counted over 20,000 of them: within 5 standard errors, false alarms 3e-6 in all."""
    count, always, never = 20_000, jnp.float32(0.0), jnp.float32(1.0)
    exploration = EpsilonZ(epsilon_end=0.0, exploration_share=1.0)
    own, first = jnp.full(count, 2, jnp.int32), jnp.zeros(count, bool)
    explore = lambda key, carry, first, progress: exploration.explore(
        jax.random.key(key), carry, first, own, MASK, progress
    )
    repeat, action = explore(0, exploration.initial_carry(count), first, always)
    assert set(np.asarray(action).tolist()) == {0, 1}, "a random action is one that the task has"
    length = np.asarray(repeat.left) + 1
    for k in (2, 3, 5, 10):
        assert abs((length >= k).mean() - 1 / k) < 5 * (1 / k * (1 - 1 / k) / count) ** 0.5
    left, again = explore(1, repeat, first, never)
    np.testing.assert_array_equal(np.asarray(again), np.where(length > 1, np.asarray(action), 2))
    np.testing.assert_array_equal(left.left, np.maximum(length - 2, 0))
    _, fresh = explore(1, repeat, ~first, never)
    assert (fresh == 2).all()


def test_epsilon_greedy_explores_as_often_as_its_schedule_says():
    """Half of the way from 1 to .2 it is .6; a random action is the policy's own in a half of the cases."""
    count = 20_000
    exploration = EpsilonGreedy(epsilon_end=0.2, exploration_share=0.5)
    own = jnp.zeros(count, jnp.int32)
    explore = lambda progress: exploration.explore(
        jax.random.key(0), (), jnp.zeros(count, bool), own, MASK, jnp.float32(progress)
    )[1]
    for progress, epsilon in ((0.25, 0.6), (0.75, 0.2)):
        share = float((explore(progress) != 0).mean())
        assert abs(share - epsilon / 2) < 5 * (epsilon / 2 * (1 - epsilon / 2) / count) ** 0.5
