"""What an agent says that it reads is what its policy is a function of."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.agents import AGENTS, make_agent
from seqrl_jax.agents.base import Reads
from seqrl_jax.networks import StepInput
from seqrl_jax.tasks import TabularPOMDP, tabular_env, tabular_params, validated

LENGTH, EPISODES = 4, 200
SPECS = [
    *AGENTS,
    "ppo:previous_action=false",
    "pqn:memory=lru,previous_reward=true",
    "drqn:previous_action=false,previous_reward=true",
    "q_window:window=3",
    "belief_ppo:memory=gru",
]


@pytest.fixture(scope="module")
def task():
    """A task in which every history is possible, and states last so long that all of it tells something."""
    rng = np.random.default_rng(0)
    num_s, num_a, num_o = 3, 4, 5
    rows = lambda *shape: rng.dirichlet(np.ones(shape[-1]), shape[:-1])
    return validated(
        TabularPOMDP(
            initial=rows(num_s),
            initial_observation=rows(num_s, num_o),
            transition=0.95 * np.eye(num_s) + 0.05 * rows(num_a, num_s, num_s),
            observation=rows(num_a, num_s, num_o),
            reward=rng.normal(size=(num_a, num_s, num_s)),
            terminal=np.zeros(num_s, bool),
            discount=1.0,
            horizon=LENGTH,
            name="dense",
            states=tuple(f"s{i}" for i in range(num_s)),
            actions=tuple(f"a{i}" for i in range(num_a)),
            observations=tuple(f"o{i}" for i in range(num_o)),
        )
    )


def actions_along(agent, env, params):
    """A function of inputs [T, N]: the last action [N] of a policy about which nothing is special."""
    state = jax.jit(lambda key: agent.init(key, env, params))(jax.random.key(0))
    leaves, tree = jax.tree.flatten(state)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = lambda key, leaf: leaf + jax.random.normal(key, leaf.shape) if leaf.dtype == jnp.float32 else leaf
    state = jax.tree.unflatten(tree, map(noisy, keys, leaves))
    keys = jax.random.split(jax.random.key(2), EPISODES)

    @jax.jit
    def acted(state, inputs):
        policy = agent.policy(env, params, state)

        def last(key, inputs):
            act = lambda carry, inputs: policy.act(key, carry, inputs)
            return jax.lax.scan(act, policy.initial_carry(), inputs)[1][-1]

        return jax.vmap(last, in_axes=(0, 1))(keys, inputs)

    return partial(acted, state)


@pytest.mark.parametrize("spec", SPECS)
def test_a_policy_is_a_function_of_what_its_agent_reads_and_of_nothing_else(task, spec):
    """Each part of the inputs of 200 random histories is changed in turn: where it is not read not one action changes,
    and where it is read some do."""
    env, params = tabular_env(task), tabular_params(task)
    agent = make_agent(spec).for_run(env.longest, 1000)
    keys = jax.random.split(jax.random.key(3), 3)
    draw = lambda key, symbols: jax.random.randint(key, (LENGTH, EPISODES), 0, symbols)
    first = jnp.zeros((LENGTH, EPISODES), bool).at[0].set(True)
    inputs = StepInput(
        draw(keys[0], env.num_observations),
        first,
        draw(keys[1], env.num_actions),
        jax.random.normal(keys[2], first.shape),
    )
    act = actions_along(agent, env, params)
    other = lambda array, symbols: (array + 1) % symbols
    changed_obs = lambda step: inputs.obs.at[step].set(other(inputs.obs[step], env.num_observations))
    moved = lambda **changed: bool((act(inputs) != act(inputs._replace(**changed))).any())
    reads = agent.reads
    assert moved(obs=changed_obs(-1))
    assert moved(obs=changed_obs(-2)) == (reads.observations != 1)
    assert moved(obs=changed_obs(0)) == (reads.observations is None)
    assert moved(previous_action=other(inputs.previous_action, env.num_actions)) == (reads.actions or reads.belief)
    assert moved(previous_reward=inputs.previous_reward + 1) == reads.rewards
    alone = jax.tree.map(lambda leaf: leaf[-1:], inputs)._replace(first=jnp.ones((1, EPISODES), bool))
    assert bool((act(inputs) != act(alone)).any()) == (reads.time or reads.observations != 1)
    assert agent.memoryless == (reads == Reads())


def test_what_is_read_has_a_name():
    for spec, words in (
        ("q_obs", "o_t"),
        ("q_window", "the last 2 observations"),
        ("ppo", "o_0, a_0, o_1, ... o_t"),
        ("ppo:previous_reward=true", "o_0, a_0, r_0, o_1, ... o_t"),
        ("ppo:previous_action=false", "o_0, o_1, ... o_t"),
        ("naive_model", "o_t and the time"),
        ("belief_q", "the exact belief and the time"),
    ):
        assert str(make_agent(spec).reads) == words
