"""A trained agent in loops of others: it acts as it is judged, keeps episodes apart, and comes back from a file."""

import copy
import pickle
from dataclasses import replace

import jax
import numpy as np
import pytest

from seqrl_jax.agents import make_agent
from seqrl_jax.agents.fitted import Fitted, fit
from seqrl_jax.checkpoint import save_tree
from seqrl_jax.tasks.environments import environment
from seqrl_jax.tracks.evaluation import simulate

TASK, STEPS, EPISODES = "peek_maze:horizon=8", 40_000, 200


@pytest.fixture(scope="module")
def fitted():
    return fit("ppo:width=16", TASK, STEPS, seed=1)


def episode(fitted, env, seed):
    """The return of an episode in gymnasium's loop, and its actions."""
    obs, _ = env.reset(seed=seed)
    state, total, ended, actions = fitted.begin(seed=seed), 0.0, False, []
    while not ended:
        action, state = fitted.predict([obs], state)
        actions.append(int(action[0]))
        obs, reward, terminated, truncated, _ = env.step(actions[-1])
        total, ended = total + reward, terminated or truncated
    return total, actions


def test_it_earns_outside_what_it_earns_inside(fitted):
    """Means over episodes within 5 standard errors, of an agent that uses its memory."""
    pytest.importorskip("gymnasium")
    from seqrl_jax.tasks.gymnasium_adapter import to_gymnasium

    ready = environment(TASK)
    agent = make_agent(fitted.agent).for_run(ready.env.longest, STEPS)
    policy = agent.policy(ready.env, ready.params, fitted.state)
    inside = np.asarray(simulate(jax.random.key(5), ready.env, ready.params, policy, 1000, ready.env.longest))
    env = to_gymnasium(ready.env, ready.params)
    outside = np.array([episode(fitted, env, seed)[0] for seed in range(EPISODES)])
    error = inside.std() / len(inside) ** 0.5 + outside.std() / EPISODES**0.5
    assert inside.mean() > 0.5, "no policy of the observation alone earns as much"
    assert outside.mean() == pytest.approx(float(inside.mean()), abs=5 * float(error) + 1e-3)


def test_episodes_of_a_batch_are_their_own_and_a_first_step_forgets(fitted):
    rng = np.random.default_rng(0)
    obs = rng.integers(environment(TASK).env.observation_space.size, size=(6, 3))
    state = fitted.begin(3, seed=7)
    together = []
    for row in obs:
        action, state = fitted.predict(row, state)
        together.append(action)
    swapped = fitted.begin(3, seed=7)
    for row, expected in zip(obs, together, strict=True):
        other = np.array([row[0], (row[1] + 1) % 3, row[2]])
        action, swapped = fitted.predict(other, swapped)
        assert action[0] == expected[0] and action[2] == expected[2], "what another episode sees does not matter"
    _, forgot = fitted.predict(obs[0], state, first=[True, True, True])
    _, fresh = fitted.predict(obs[0], fitted.begin(3, seed=7), first=[True, True, True])
    jax.tree.map(np.testing.assert_array_equal, forgot.carry, fresh.carry)
    _, went_on = fitted.predict(obs[0], state)
    assert any((one != other).any() for one, other in zip(jax.tree.leaves(went_on.carry), jax.tree.leaves(fresh.carry)))


def test_what_has_yet_to_begin_begins(fitted):
    """Its own last action is none, as where it was trained, and not the first of all actions."""
    _, plain = fitted.predict([0], fitted.begin(seed=7))
    _, said = fitted.predict([0], fitted.begin(seed=7), first=[True])
    jax.tree.map(np.testing.assert_array_equal, plain.carry, said.carry)
    _, after = fitted.predict([0], plain)
    _, again = fitted.predict([0], plain, first=[False])
    jax.tree.map(np.testing.assert_array_equal, after.carry, again.carry)
    assert not plain.begins.any()


def test_an_agent_of_continuous_actions_plays_in_gymnasium():
    pytest.importorskip("gymnasium")
    from seqrl_jax.tasks.gymnasium_adapter import to_gymnasium, to_gymnasium_vector

    spec = "gymnax:Pendulum-v1:max_steps_in_episode=40"
    pendulum, ready = fit("ppo:width=8", spec, 200), environment(spec)
    env = to_gymnasium(ready.env, ready.params)
    obs, _ = env.reset(seed=0)
    state, beyond, ended = pendulum.begin(), 0, False
    while not ended:
        action, state = pendulum.predict(obs[None], state)
        beyond += abs(action[0]) > 1
        obs, *_, terminated, truncated, _ = env.step(action[0])
        ended = terminated or truncated
    assert beyond, "a Gaussian knows no ends"
    one, many = to_gymnasium(ready.env, ready.params), to_gymnasium_vector(ready.env, ready.params, 1)
    starts = one.reset(seed=3)[0], many.reset(seed=3)[0][0]
    np.testing.assert_allclose(*starts, atol=1e-6)
    for action in (np.array([0.5]), np.array([7.0]), np.array([1.0], np.float32)):
        (obs, reward, *_), (others, rewards, *_) = one.step(action), many.step(action[None])
        np.testing.assert_allclose(obs, others[0], atol=1e-5)
        assert reward == pytest.approx(rewards[0], abs=1e-5)
    for wrong in (np.array([np.nan]), np.array([0.5, 0.5]), 0.5, None):
        with pytest.raises(gymnasium_error()):
            one.step(wrong)


def gymnasium_error():
    import gymnasium

    return gymnasium.error.InvalidAction


def test_it_comes_back_from_a_file(fitted, tmp_path):
    path = tmp_path / "agent.safetensors"
    fitted.save(path)
    again = Fitted.load(path)
    assert (again.agent, again.environment, again.steps) == (fitted.agent, TASK, STEPS)
    state, other = fitted.begin(4, seed=3), again.begin(4, seed=3)
    for t in range(5):
        obs = np.full(4, t % 3)
        one, state = fitted.predict(obs, state)
        two, other = again.predict(obs, other)
        np.testing.assert_array_equal(one, two)


def test_it_is_copied_with_what_it_remembers_in_the_midst_of_an_episode(fitted):
    """To another process, say, behind whose back nothing was compiled."""
    _, state = fitted.predict([0, 1], fitted.begin(2, seed=3))
    expected, _ = fitted.predict([2, 2], state)
    for copied in (lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy):
        again, remembered = copied((fitted, state))
        np.testing.assert_array_equal(again.predict([2, 2], remembered)[0], expected)


def test_an_agent_that_was_trained_for_long_comes_back_as_well(fitted, tmp_path):
    path, steps = tmp_path / "agent.safetensors", 20_000_000
    replace(fitted, steps=steps).save(path)
    assert Fitted.load(path).steps == steps


def test_a_program_in_double_precision_changes_nothing(fitted):
    expected, after = fitted.predict([0, 1], fitted.begin(2, seed=3))
    made = fit("ppo:width=8,num_envs=4,rollout_length=16", TASK, np.int64(200))
    with jax.enable_x64(True):
        action, state = fitted.predict(np.array([0, 1]), fitted.begin(2, seed=3), reward=np.zeros(2))
        again = fit("ppo:width=8,num_envs=4,rollout_length=16", TASK, 200)
    np.testing.assert_array_equal(action, expected)
    jax.tree.map(np.testing.assert_array_equal, state.carry, after.carry)
    weights = lambda one: [leaf for leaf in jax.tree.leaves(one.state) if leaf.dtype == np.float32]
    jax.tree.map(np.testing.assert_array_equal, weights(again), weights(made))


def test_wrong_files_names_and_observations_are_refused(fitted, tmp_path):
    save_tree(tmp_path / "other.safetensors", {"x": np.zeros(2)}, {})
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name in ("other", "text"):
        with pytest.raises(ValueError, match=f"{name}.safetensors: n"):
            Fitted.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(ValueError, match=r"observations of shape \(2,\), expected \(1,\)"):
        fitted.predict([0, 1], fitted.begin())
    with pytest.raises(ValueError, match="did you mean tmaze"):
        fit("ppo", "tmaz", 1000)
    with pytest.raises(ValueError, match="state is of another agent than ppo"):
        fitted.predict([0], fit("ppo:width=8,num_envs=4,rollout_length=16", TASK, 200).begin())
    with pytest.raises(ValueError, match="state is NoneType"):
        fitted.predict([0], None)
    for number in (99, -1, 0.5, 2**40):
        with pytest.raises(ValueError, match="whole numbers from 0 to"):
            fitted.predict([number], fitted.begin())
    with pytest.raises(ValueError, match=r"first of shape \(3,\)"):
        fitted.predict([0, 0], fitted.begin(2), first=[True] * 3)
    with pytest.raises(ValueError, match=r"rewards of shape \(3,\)"):
        fitted.predict([0, 0], fitted.begin(2), reward=[1.0] * 3)
    with pytest.raises(ValueError, match="rewards hold a number that is not finite"):
        fitted.predict([0, 0], fitted.begin(2), reward=np.nan)
    for batch in (0, 2.5, "3", True):
        with pytest.raises(ValueError, match="episodes, expected a whole number of 1 or more"):
            fitted.begin(batch)
    for seed in (-1, 1.5, None):
        with pytest.raises(ValueError, match="seed is"):
            fitted.begin(seed=seed)
    for steps in (0, -5, 10.5, True):
        with pytest.raises(ValueError, match="steps is"):
            fit("ppo", TASK, steps)


def test_a_file_that_was_changed_is_refused_and_runs_nobodys_code(fitted, tmp_path):
    path = tmp_path / "agent.safetensors"
    about = {"kind": "fitted agent", "agent": fitted.agent, "environment": TASK, "steps": STEPS}
    for change in ({"steps": "200"}, {"steps": 0}, {"steps": True}, {"agent": 3}, {"environment": None}, {"more": 1}):
        save_tree(path, fitted.state, about | change)
        with pytest.raises(ValueError, match="no fitted agent"):
            Fitted.load(path)
    for lacking in about:
        save_tree(path, fitted.state, {name: value for name, value in about.items() if name != lacking})
        with pytest.raises(ValueError, match="no fitted agent"):
            Fitted.load(path)
    for change, said in ({"agent": "nope"}, "unknown agent"), ({"environment": "tmaz"}, "did you mean tmaze"):
        save_tree(path, fitted.state, about | change)
        with pytest.raises(ValueError, match=f"agent.safetensors: .*{said}"):
            Fitted.load(path)
    save_tree(path, fitted.state, about | {"environment": "antigravity:fly"})
    with pytest.raises(ValueError, match="imports=True would run"):
        Fitted.load(path)
    spoiled = jax.tree.map(lambda leaf: leaf * np.nan if leaf.dtype == np.float32 else leaf, fitted.state)
    save_tree(path, spoiled, about)
    with pytest.raises(ValueError, match="not finite"):
        Fitted.load(path)


def test_a_memoryless_agent_and_one_that_acts_in_numbers_are_agents_as_well():
    with jax.numpy_dtype_promotion("standard"):
        for agent, name, obs in (
            ("reinforce", "tiger", [0]),
            ("ppo:width=8,num_envs=4,rollout_length=16", "gymnax:Pendulum-v1", np.zeros((1, 3))),
        ):
            made = fit(agent, name, 200)
            action, _ = made.predict(obs, made.begin())
            if name != "tiger":
                for wrong in (np.full_like(obs, np.nan), np.full_like(obs, 1e300), [[1, 2]], [[None] * 3]):
                    with pytest.raises(ValueError, match="observations"):
                        made.predict(wrong, made.begin())
            assert action.shape == (1, *getattr(made._ready.env.action_space, "shape", ()))
