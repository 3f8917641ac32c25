"""What holds for every agent in the registry."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.agents import AGENTS, PolicyGradient, QLearning, configuration, make_agent, train
from seqrl_jax.agents.rollout import first_inputs
from seqrl_jax.naming import SpecError, settable
from seqrl_jax.networks import Table, Transformer
from seqrl_jax.parts import choices
from seqrl_jax.tasks import make, stack, tabular_env, tabular_params
from seqrl_jax.tracks.evaluation import exact_scores, simulate


def named(kind):
    return [name for name, entry in AGENTS.items() if isinstance(entry.agent, kind)]


SMALL = "width=8,num_envs=4"
SLOW = "learning_rate=0.001"
"""Hundreds of gradient steps in 50 updates, over which rounding grows to what can be seen at an agent's own rate."""
COVERED = {
    "a2c_obs": "gae, whose lambda is another number",
    "q_obs": "dqn and drqn",
    "q_window": "drqn; its memory is tested alone",
    "q_transformer": "drqn; its memory is tested alone",
    "r2d2": "r2d2_paper",
    "latent_q": "latent_q of numbers, and latent_ppo of classes",
}
"""Whose every part another agent of the list has."""
SPECS = [
    *(
        name
        for name, entry in AGENTS.items()
        if isinstance(getattr(entry.agent, "memory", None), Table) and name not in COVERED
    ),
    *(
        f"{name}:{SMALL}"
        for name, entry in AGENTS.items()
        if isinstance(entry.agent, PolicyGradient) and not entry.agent.memoryless
    ),
    *(
        f"{name}:{SMALL},batch_sequences=4,learning_steps=4,capacity=1024,{SLOW}"
        for name, entry in AGENTS.items()
        if isinstance(entry.agent, QLearning) and name not in COVERED
    ),
    f"pqn:{SMALL},minibatches=2",
    "pqn:memory=table,num_envs=4,minibatches=2",
    f"ppo:memory=mamba2,{SMALL},minibatches=2,{SLOW}",
    f"impala:{SMALL},minibatches=2,{SLOW}",
    "reward_to_go:memory=none,width=8",
    f"belief_q:{SMALL},batch_sequences=4,capacity=512",
    f"belief_ppo:{SMALL},minibatches=2,{SLOW}",
    f"latent_q:kind=gaussian,use=sample,{SMALL},batch_sequences=4,capacity=512,{SLOW}",
    f"latent_ppo:{SMALL},minibatches=2,{SLOW}",
    f"latent_plan:{SMALL},batch_sequences=4,classes=8",
    "window_model:num_envs=4",
]
"""Every rule once, under some memory: that no memory minds padding, or is begun by LAPACK, is tested of it alone, see
`tests/networks`."""
TASKS = ("peek_maze", "tiger")
UPDATES = 50


@pytest.fixture(scope="module", params=SPECS)
def trained(request):
    """(agent, its steps, environment, compiled vmap of a whole run over the peek maze and twice the tiger, its inputs
    and results)."""
    tasks = [make(spec) for spec in TASKS]
    env, params = stack(tasks)
    agent = make_agent(request.param).for_run(env.longest, 1)
    steps = UPDATES * agent.steps_per_update
    params = jax.tree.map(lambda leaf: leaf[jnp.array([0, 1, 1])], params)
    keys = jax.random.split(jax.random.key(0), 3)
    run = lambda params, key: train(agent, env, params, key, steps)
    stacked = jax.jit(jax.vmap(run)).lower(params, keys).compile()
    return agent, steps, env, stacked, params, keys, stacked(params, keys)


def test_what_is_expected_at_the_start_is_what_is_claimed(trained):
    """On the tiger, whose first observation is one: no mean is left to take."""
    agent, _, env, _, params, _, (states, _) = trained
    params, state = jax.tree.map(lambda leaf: leaf[1], (params, states))

    @jax.jit
    def values(key):
        policy = agent.policy(env, params, state)
        inputs = first_inputs(env, env.reset(key, params)[0])
        expected = None if policy.value is None else policy.value(key, policy.initial_carry(), inputs)
        return agent.claim(env, params, state, key), expected

    claim, expected = values(jax.random.key(0))
    assert expected is None or (expected.shape == () and np.isfinite(expected))
    # A memory that draws its state expects something else with each draw.
    if claim is not None and not (isinstance(agent, QLearning) and agent.memory.draws):
        np.testing.assert_allclose(expected, claim, rtol=1e-4, atol=1e-4)


def test_no_lapack_call_runs_under_vmap(trained):
    """Batched LAPACK calls deadlock XLA's CPU client on few cores."""
    stacked = trained[3]
    calls = set(re.findall(r'custom_call_target="([^"]+)"', stacked.as_text()))
    assert not {call for call in calls if "lapack" in call.lower() or "geqrf" in call or "Qr" in call}, calls


def test_the_search_for_lapack_calls_finds_an_orthogonal_initialiser():
    draw = jax.vmap(lambda key: jax.nn.initializers.orthogonal()(key, (8, 8)))
    text = jax.jit(draw).lower(jax.random.split(jax.random.key(0), 2)).compile().as_text()
    assert "lapack" in text


def test_a_task_is_learned_alike_alone_and_beside_larger_ones(trained):
    """The tiger beside the peek maze, which has more states, actions and observations and another horizon.

    Products of other shapes round otherwise, and 50 updates let that grow: alike to 1e-4 at first, to 3% at the end.
    """
    agent, steps, _, _, _, keys, (_, together) = trained
    task = make("tiger")
    alone = jax.jit(lambda params, key: train(agent, tabular_env(task), params, key, steps)[1])
    metrics = alone(tabular_params(task), keys[2])
    for name, mine in metrics.items():
        beside = together[name][2]
        assert mine.shape == (UPDATES,) and np.isfinite(mine).all()
        np.testing.assert_allclose(mine[:5], beside[:5], rtol=1e-4, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(mine, beside, rtol=0.03, atol=1e-3, err_msg=name)


def test_seeds_differ(trained):
    *_, (state, _) = trained
    weights = [leaf for leaf in jax.tree.leaves(state._replace(key=None)) if leaf.dtype == np.float32 and leaf.ndim > 2]
    assert any((np.abs(leaf[1] - leaf[2]) > 1e-6).any() for leaf in map(np.asarray, weights))


def test_masked_actions_have_no_probability(trained):
    """The peek maze has 4 actions and the tiger 3: the fourth does not exist for the tiger."""
    agent, _, env, _, params, _, (state, _) = trained
    tiger, run = jax.tree.map(lambda leaf: leaf[1], (params, state))

    @jax.jit
    def acted(params, state, keys):
        policy = agent.policy(env, params, state)
        act = lambda key: policy.act(key, policy.initial_carry(), first_inputs(env, jnp.int32(0)))[1]
        return jax.vmap(act)(keys), agent.probabilities(env, params, state) if agent.memoryless else None

    actions, table = acted(tiger, run, jax.random.split(jax.random.key(0), 500))
    assert (np.asarray(actions) < 3).all()
    if agent.memoryless:
        table = np.asarray(table)
        assert (table[:, 3] == 0).all()
        np.testing.assert_allclose(table.sum(-1), 1, rtol=1e-5)


def test_a_second_call_compiles_nothing():
    """Another learning rate is another number, not another program."""
    task = make("tiger")
    env, params, agent = tabular_env(task), tabular_params(task), make_agent("ppo_obs")
    once = chex.assert_max_traces(lambda agent, params, state: agent.update(env, params, state), n=1)
    update, state = jax.jit(once), agent.init(jax.random.key(0), env, params)
    for other in (agent, make_agent("ppo_obs:learning_rate=0.5")):
        state, _ = update(other, params, state)


def test_the_policy_that_acts_is_the_table_that_is_evaluated():
    """Mean return of 20,000 sampled episodes within 4 standard errors of the exact value: false alarms 6e-5."""
    task = make("peek_maze")
    env, params, agent = tabular_env(task), tabular_params(task), make_agent("reward_to_go")
    state, _ = jax.jit(lambda key: train(agent, env, params, key, 5000))(jax.random.key(0))
    (exact,) = exact_scores(task, np.asarray(agent.probabilities(env, params, state))[None])
    play = jax.jit(lambda key: simulate(key, env, params, agent.policy(env, params, state), 20_000, task.horizon))
    returns = np.asarray(play(jax.random.key(1)), np.float64)
    assert abs(returns.mean() - exact) < 4 * returns.std() / len(returns) ** 0.5


def test_a_memory_is_set_beside_the_agent():
    agent = make_agent("ppo:memory=transformer,heads=2,learning_rate=0.5")
    assert (agent.memory, agent.learning_rate) == (Transformer(make_agent("ppo").memory.width, heads=2), 0.5)
    assert configuration(agent)["memory"] == "transformer" and configuration(agent)["heads"] == 2


@pytest.mark.parametrize("name", AGENTS)
def test_no_key_of_a_part_is_one_of_the_agent_or_of_another_part(name):
    learner = make_agent(name).learner
    parts = {field: choice.kinds.values() for field, choice in choices(type(learner)).items()}
    keys = [{key for kind in kinds for key in settable(kind)} for kinds in parts.values()]
    every = [*settable(type(learner)), *parts, *(key for of_part in keys for key in of_part)]
    assert len(every) == len(set(every))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("drqn:temperature=0.1", "unknown key 'temperature'"),
        ("drqn:burn_in=true", "unknown key 'burn_in'"),
        ("drqn:priority_exponent=0.5", "unknown key 'priority_exponent'"),
        ("drqn:start=stored,burn_in=true,capacity=512", "two of them are 1024 steps"),
        ("q_obs:previous_action=true", "reads observations alone"),
        ("ppo:memory=none,previous_reward=true", "reads observations alone"),
        ("latent_plan:memory=gru", "unknown memory 'gru'"),
        ("latent_plan:buffer=prioritised", "unknown buffer 'prioritised'"),
        ("latent_plan:use=sample", "nothing is learned on top"),
        ("ppo:run_steps=1000", "unknown key 'run_steps'"),
        ("pg_history_baseline:memory=latent", "does not train a model of the world"),
    ],
)
def test_a_setting_that_cannot_matter_cannot_be_given(spec, said):
    with pytest.raises(SpecError, match=re.escape(said)):
        make_agent(spec)


def test_a_part_brings_its_own_settings():
    agent = make_agent("drqn:target=soft,temperature=0.1,start=stored,burn_in=true,exploration=epsilon,epsilon_end=0.1")
    config = configuration(agent)
    assert (config["target"], config["temperature"]) == ("soft", 0.1)
    assert (config["start"], config["burn_in"]) == ("stored", True)
    assert (config["exploration"], config["epsilon_end"]) == ("epsilon", 0.1)


def test_floats_of_an_agent_and_of_its_parts_are_traced_and_nothing_else_is():
    agent = make_agent("soft_q")
    leaves = jax.tree.leaves(agent)
    assert agent.target.temperature in leaves and agent.exploration.epsilon_end in leaves
    assert all(isinstance(leaf, float) for leaf in leaves)


def test_whoever_reads_a_history_without_its_own_actions_is_marked_wrong():
    for name in ("ppo", "drqn", "pqn", "a2c_history", "latent_q", "latent_plan"):
        assert not make_agent(name).marked_wrong
        assert make_agent(f"{name}:previous_action=false").marked_wrong
        assert not make_agent(f"{name}:previous_reward=true").marked_wrong
    # A baseline of anything but the next observation leaves the mean as it is, whatever the policy reads.
    assert not make_agent("pg_history_baseline:previous_action=false").marked_wrong


def test_the_configuration_names_every_hyperparameter_once():
    config = configuration(make_agent("a2c_obs"))
    assert config["weight"] == "generalised_advantage" and config["lambda_"] == 0.0


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("pppo", "did you mean ppo"),
        ("ppo:clipp=.1", "did you mean clip"),
        ("ppo:clip=high", "expected a number"),
        ("ppo:num_envs=2.5", "expected a whole number"),
        ("reinforce:weight=x", "unknown weight 'x'"),
        ("reinforce:critic=state", "unknown key 'critic'"),
        ("ppo:memory=gru2", "did you mean gru"),
        ("ppo:memory=lru,heads=2", "unknown key 'heads'"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(spec, said):
    with pytest.raises(SpecError, match=re.escape(said)):
        make_agent(spec)
