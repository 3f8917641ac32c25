"""Targets by hand, sequences against the steps that made them, and problems whose values are known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.agents import make_agent, replay, train
from seqrl_jax.agents.exploration import explore, no_repeat
from seqrl_jax.agents.replay import Draw
from seqrl_jax.agents.rollout import Magnitude, StepInput
from seqrl_jax.tasks import TabularPOMDP, make, tabular_env, tabular_params, validated
from seqrl_jax.tasks.build import build, ends, goes, uniform
from seqrl_jax.tracks.evaluation import exact_scores

SMALL = "width=8,num_envs=4,rollout_length=8,batch_sequences=4,replay_blocks=4"


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
    weights = jax.tree.map(lambda _: jnp.asarray(table, jnp.float32), state.weights)
    return state._replace(weights=weights, target=weights)


@pytest.mark.parametrize(("bootstrap", "last"), [(False, 1.0), (True, 1.0 + 0.9 * 40.0)])
def test_the_target_at_the_horizon_uses_the_real_last_observation_or_nothing(bootstrap, last):
    """Q(o_i) = 10 (i + 1). After o_2 comes o_3, worth 40; the next episode begins with o_0, which is worth 10 and would
    make the target 10. By the task's own horizon nothing follows, and the target is the reward."""
    task = clock()
    env, params = tabular_env(task), tabular_params(task)
    spec = f"drqn:memory=table,num_envs=2,rollout_length=8,batch_sequences=2,n_steps=1,bootstrap_truncated={bootstrap}"
    agent = make_agent(spec.lower())
    q = 10.0 * np.arange(1, task.num_observations + 1)[:, None]
    state = with_table(agent.init(jax.random.key(0), env, params), q)
    _, block = agent._collect(env, params, state.weights, state.position, jnp.int32(0), jax.random.key(1))
    memories = replay.add(state.replay, block)
    drawn = Draw(jnp.zeros(2, jnp.int32), jnp.arange(2), jnp.ones(2))
    one, zero, key = Magnitude(jnp.float32(1.0), jnp.float32(1.0)), jnp.float32(0.0), jax.random.key(2)
    _, (error, _) = agent._loss(env, params, state.weights, state.target, memories, drawn, one, zero, key)
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
    sizes = "width=16,num_envs=16,rollout_length=8,learning_rate=0.01,run_steps=20000,exploration_share=0.5"
    agent = make_agent(f"{spec},{sizes}")
    state, _ = jax.jit(lambda key: train(agent, env, params, key, 160 * agent.steps_per_update))(jax.random.key(0))
    function = agent.function(env)
    for cue in (0, 1):
        seen = StepInput(jnp.array([[cue], [2]]), jnp.array([[True], [False]]), jnp.zeros((2, 1), jnp.int32))
        q = function.unroll(state.weights, function.initialise(state.weights, 1), seen)
        np.testing.assert_allclose(q[0, 0], [0.5, 0.5], atol=0.05)
        np.testing.assert_allclose(q[1, 0], [cue == 0, cue == 1], atol=0.05)
    claim = agent.claim(env, params, state, jax.random.key(1))
    np.testing.assert_allclose(claim, 0.5, atol=0.05)


def test_q_of_the_observation_claims_what_it_does_not_earn():
    """In the switched corridor every cell looks alike: Q bootstraps from an average cell, and its greedy policy, which
    never leaves, earns -20. What Q claims is at least 1 more (8 other seeds: 4.6 to 5)."""
    task = make("switched_corridor")
    env, params = tabular_env(task), tabular_params(task)
    agent = make_agent("q_obs:memory=table,learning_rate=0.003,run_steps=100000,exploration_share=0.5")
    state, _ = jax.jit(lambda key: train(agent, env, params, key, 200 * agent.steps_per_update))(jax.random.key(0))
    (earned,) = exact_scores(task, np.asarray(agent.probabilities(env, params, state))[None])
    assert agent.claim(env, params, state, jax.random.key(1)) > earned + 1


def acted_and_replayed(spec, task_spec="peek_maze:horizon=8", updates=3):
    """(state, block, Q of the block read as the agent would): the block is the newest, made by the same weights."""
    task = make(task_spec)
    env, params = tabular_env(task), tabular_params(task)
    agent = make_agent(spec)
    state = agent.init(jax.random.key(0), env, params)
    weights = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(2), leaf.shape), state.weights)
    position, memories = state.position, state.replay
    for number in range(updates):
        start = position
        position, block = agent._collect(env, params, weights, position, jnp.int32(0), jax.random.key(number))
        memories = replay.add(memories, block)
    drawn = Draw(jnp.full(4, updates - 1), jnp.arange(4), jnp.ones(4))
    function = agent.function(env)
    read = replay.read(memories, drawn.slot, drawn.env)
    carry, _ = agent._starts(function, weights, weights, read, memories, drawn)
    seen = jax.tree.map(jnp.transpose, read.rollout.seen)
    replayed = function.unroll(weights, carry, seen)
    began = function.initialise(weights, 4) if agent.replayed == "whole" else start.memory.carry
    stepped = []
    for t in range(len(seen.first)):
        began, q = function.step(weights, began, jax.tree.map(lambda leaf, t=t: leaf[t], seen))
        stepped.append(q)
    return np.asarray(seen.first), np.asarray(jnp.stack(stepped)), np.asarray(replayed)


@pytest.mark.parametrize("how", ["replayed=whole", "replayed=stored", "replayed=stored,burn_in=true"])
def test_a_replayed_sequence_is_what_the_acting_network_saw(how):
    first, stepped, replayed = acted_and_replayed(f"drqn:{SMALL},{how}")
    assert first[1:].any(), "an episode ends inside"
    np.testing.assert_allclose(stepped, replayed, atol=1e-5)


def test_from_an_empty_state_a_sequence_is_another_until_an_episode_begins():
    first, stepped, replayed = acted_and_replayed(f"drqn:{SMALL},replayed=zero")
    known = np.cumsum(first, 0) > 0
    assert not known.all()
    np.testing.assert_allclose(stepped[known], replayed[known], atol=1e-5)
    assert (np.abs(stepped - replayed).max(-1)[~known] > 1e-3).all()


def test_burn_in_passes_no_gradient():
    """With a stored state of the block before as an input, its gradient through the burn-in is zero."""
    task = make("peek_maze")
    env, params = tabular_env(task), tabular_params(task)
    agent = make_agent(f"drqn:{SMALL},replayed=stored,burn_in=true")
    state = agent.init(jax.random.key(0), env, params)
    weights = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(2), leaf.shape), state.weights)
    position, memories = state.position, state.replay
    for number in range(2):
        position, block = agent._collect(env, params, weights, position, jnp.int32(0), jax.random.key(number))
        memories = replay.add(memories, block)
    drawn = Draw(jnp.ones(4, jnp.int32), jnp.arange(4), jnp.ones(4))
    function = agent.function(env)

    def total(weights):
        read = replay.read(memories, drawn.slot, drawn.env)
        return jax.tree.leaves(agent._starts(function, weights, weights, read, memories, drawn)[0])[0].sum()

    assert total(weights) != 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(jax.grad(total)(weights)))


def test_soft_values_are_those_of_the_soft_policy():
    """V = temperature logsumexp(Q / temperature) = E[Q] + temperature H(pi), over the task's own actions."""
    agent = make_agent("soft_q:temperature=0.5")
    q, mask = jnp.array([1.0, 0.2, 9.0]), jnp.array([True, True, False])
    pi = np.exp([2.0, 0.4]) / np.exp([2.0, 0.4]).sum()
    expected = (pi * np.array([1.0, 0.2])).sum() - 0.5 * (pi * np.log(pi)).sum()
    np.testing.assert_allclose(agent._value(q, q, mask), expected, rtol=1e-6)
    keys = jax.random.split(jax.random.key(0), 10_000)
    drawn = np.asarray(jax.vmap(lambda key: agent._choose(key, q, mask))(keys))
    # Five standard errors: false alarms 6e-7.
    np.testing.assert_allclose((drawn == 0).mean(), pi[0], atol=5 * 0.5 / 100)
    assert (drawn < 2).all()


def test_double_q_values_the_action_that_the_other_network_chose():
    agent = dataclasses.replace(make_agent("drqn"), double=True)
    chooser, valued, mask = jnp.array([1.0, 2.0, 5.0]), jnp.array([7.0, 3.0, 9.0]), jnp.array([True, True, False])
    assert agent._value(chooser, valued, mask) == 3.0


def test_a_whim_holds_for_its_length_and_ends_with_the_episode():
    """P(n >= k) = 1 / k, counted over 20,000 whims: within 5 standard errors, false alarms 3e-6 in all."""
    count = 20_000
    mask, own = jnp.array([True, True, False]), jnp.full(count, 2, jnp.int32)
    first = jnp.zeros(count, bool)
    repeat, action = explore(jax.random.key(0), no_repeat(count), first, own, mask, 1.0)
    assert set(np.asarray(action).tolist()) == {0, 1}, "a random action is one that the task has"
    length = np.asarray(repeat.left) + 1
    for k in (2, 3, 5, 10):
        assert abs((length >= k).mean() - 1 / k) < 5 * (1 / k * (1 - 1 / k) / count) ** 0.5
    held, again = explore(jax.random.key(1), repeat, first, own, mask, 0.0)
    np.testing.assert_array_equal(np.asarray(again), np.where(length > 1, np.asarray(action), 2))
    np.testing.assert_array_equal(held.left, np.maximum(length - 2, 0))
    _, fresh = explore(jax.random.key(1), repeat, ~first, own, mask, 0.0)
    assert (fresh == 2).all()
