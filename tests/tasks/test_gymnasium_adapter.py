"""Our environments behind gymnasium's interfaces: what its own checker, wrappers and refusals say."""

import importlib
import pickle
import sys
import warnings

import gymnax
import jax
import numpy as np
import pytest

from seqrl_jax.tasks import make, tabular_env, tabular_params
from seqrl_jax.tasks.gymnax_adapter import from_gymnax

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env  # noqa: E402

from seqrl_jax.tasks.gymnasium_adapter import ToGymnasium, to_gymnasium, to_gymnasium_vector  # noqa: E402


@pytest.fixture(autouse=True)
def standard_promotion():
    """gymnax's own environments mix dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def cartpole():
    env, params = gymnax.make("CartPole-v1")
    return env, params.replace(max_steps_in_episode=12)


def test_continuous_actions_are_halves_of_their_range():
    env, params = from_gymnax(*gymnax.make("Pendulum-v1"), discount=0.99)
    wide = to_gymnasium_vector(env, params, 3)
    assert wide.single_action_space == gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    wide.reset(seed=0)
    _, reward, *_ = wide.step(wide.action_space.sample())
    assert reward.shape == (3,) and (reward < 0).all()


def test_our_task_behaves_as_a_gymnasium_vector_environment():
    task = make("peek_maze:horizon=3")
    envs = to_gymnasium_vector(tabular_env(task), tabular_params(task), num_envs=5)
    assert isinstance(envs, gymnasium.vector.VectorEnv)
    assert envs.metadata["autoreset_mode"] == gymnasium.vector.AutoresetMode.NEXT_STEP
    with pytest.raises(gymnasium.error.ResetNeeded):
        envs.step(np.zeros(5, int))
    obs, info = envs.reset(seed=3)
    assert envs.np_random_seed == 3 and info == {} and obs in envs.observation_space
    north = np.full(5, task.actions.index("north"))
    for t in range(3):
        obs, reward, terminated, truncated, info = envs.step(north)
        assert obs in envs.observation_space and reward.dtype == np.float64
        assert not terminated.any() and truncated.all() == (t == 2) and info == {}
    assert {task.observations[o] for o in obs} <= {"goal_left", "goal_right"}, "the last observation of the old episode"
    obs, reward, terminated, truncated, _ = envs.step(north)
    assert {task.observations[o] for o in obs} == {"centre"}, "the next episode began, whatever the action"
    assert not (reward.any() or terminated.any() or truncated.any())
    for t in range(3):
        assert envs.step(north)[3].all() == (t == 2), "the step that began the episode is not one of its own"
    envs.reset()
    assert {task.observations[o] for o in envs.step(north)[0]} != {"centre"}, "reset() left no reset for step to do"


def test_a_seed_fixes_the_course():
    task = make("tiger")
    envs = to_gymnasium_vector(tabular_env(task), tabular_params(task), num_envs=64)
    course = []
    for seed in (1, 1, 2):
        envs.reset(seed=seed)
        course.append(envs.step(np.zeros(64, int))[0])
    np.testing.assert_array_equal(course[0], course[1])
    assert (course[0] != course[2]).any()


def test_gymnasiums_own_statistics_read_our_vector_environment():
    """gymnasium has no checker for vector environments; this wrapper relies on the contract of the automatic reset."""
    task = make("tiger:horizon=7")
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(
        to_gymnasium_vector(tabular_env(task), tabular_params(task), num_envs=8)
    )
    envs.reset(seed=0)
    rng, lengths, returns = np.random.default_rng(0), np.zeros(8, int), np.zeros(8)
    beginning, recorded = np.zeros(8, bool), 0
    for _ in range(60):
        # Mostly listening, so that some episodes reach the horizon.
        _, reward, terminated, truncated, info = envs.step(rng.choice(3, 8, p=[0.8, 0.1, 0.1]))
        assert not reward[beginning].any()
        lengths, returns = np.where(beginning, 0, lengths + 1), np.where(beginning, 0, returns + reward)
        beginning = terminated | truncated
        if beginning.any():
            np.testing.assert_array_equal(info["episode"]["l"][beginning], lengths[beginning])
            np.testing.assert_allclose(info["episode"]["r"][beginning], returns[beginning])
        recorded += truncated.sum()
        np.testing.assert_array_equal(lengths[truncated], 7)
    assert recorded > 8


def test_boxes_reach_gymnasium_too(cartpole):
    """An adapted CartPole, through a wrapper of gymnasium's that refuses other modes of the automatic reset."""
    envs = to_gymnasium_vector(*from_gymnax(*cartpole, discount=1.0), num_envs=3)
    assert envs.single_observation_space == gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    normalised = gymnasium.wrappers.vector.NormalizeObservation(envs)
    obs, _ = normalised.reset(seed=1)
    for _ in range(12):
        obs, reward, terminated, truncated, _ = normalised.step(np.zeros(3, int))
        assert obs in envs.observation_space and not (terminated & truncated).any()
        if terminated.any():
            break
    assert terminated.any() and (reward == 1).all()


def vector(spec, number):
    task = make(spec)
    return to_gymnasium_vector(tabular_env(task), tabular_params(task), number)


def same(one, other):
    for here, there in zip(one, other, strict=True):
        np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("tmaze", {"length": 3}), ("count_recall_cards", {"kinds": "suits"}), ("memory_chain", {"length": 4})],
)
def test_gymnasiums_own_checker_finds_nothing_wrong(name, settings):
    made = gymnasium.make(f"seqrl/{name}-v0", **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A box without ends is said to be probably too large.
        warnings.filterwarnings("ignore", "(?s).*A Box observation space m")
        check_env(made.unwrapped, skip_render_check=True)
    assert made.spec.id == f"seqrl/{name}-v0"


def test_environment_i_of_a_vector_is_the_single_one_of_the_next_seeds():
    envs = gymnasium.make_vec("seqrl/tiger-v0", num_envs=3, horizon=5)
    singles = [gymnasium.make("seqrl/tiger-v0", horizon=5).unwrapped for _ in range(3)]
    obs, _ = envs.reset(seed=2**70)
    assert [single.reset(seed=2**70 + i)[0] for i, single in enumerate(singles)] == list(obs)
    rng = np.random.default_rng(0)
    ended = np.zeros(3, bool)
    for _ in range(40):
        actions = rng.choice(3, 3, p=[0.8, 0.1, 0.1])
        obs, reward, terminated, truncated, _ = envs.step(actions)
        for i, single in enumerate(singles):
            out = (single.reset()[0], 0.0, False, False) if ended[i] else single.step(int(actions[i]))[:4]
            assert out == (obs[i], reward[i], terminated[i], truncated[i])
        ended = terminated | truncated


@pytest.mark.parametrize("action", [True, np.True_, np.array(1.0), 3, -1])
def test_what_is_no_action_is_refused(action):
    env = gymnasium.make("seqrl/tiger-v0").unwrapped
    env.reset(seed=0)
    with pytest.raises(gymnasium.error.InvalidAction):
        env.step(action)


def test_seeds_are_one_for_each_or_counted_up_and_others_are_refused():
    envs, count = vector("tiger", 3), lambda envs: [envs.step(np.zeros(3, int))[0].tolist() for _ in range(6)]
    envs.reset(seed=4)
    counted = count(envs)
    envs.reset(seed=[4, 5, 6])
    assert count(envs) == counted
    envs.reset(seed=[4, 9, 6])
    assert count(envs) != counted
    with pytest.raises(ValueError, match="2 seeds for 3"):
        envs.reset(seed=[1, 2])
    with pytest.raises(gymnasium.error.Error, match="greater or equal to zero"):
        envs.reset(seed=-1)
    large = [vector("tiger", 3) for _ in range(2)]
    for env, seed in zip(large, (3, 3 + 2**64)):
        env.reset(seed=seed)
    assert count(large[0]) != count(large[1]), "no part of a seed is left out"


def test_whole_numbers_of_any_kind_are_seeds_and_truth_values_are_none(cartpole):
    ready = from_gymnax(*cartpole, discount=0.99)
    single, many = to_gymnasium(*ready), to_gymnasium_vector(*ready, num_envs=2)
    for kind in (np.int64, np.uint8, np.array):
        np.testing.assert_array_equal(single.reset(seed=kind(3))[0], single.reset(seed=3)[0])
        np.testing.assert_array_equal(many.reset(seed=kind(3))[0], many.reset(seed=3)[0])
    np.testing.assert_array_equal(many.reset(seed=np.array([3, 4]))[0], many.reset(seed=3)[0])
    for env, seeds in ((single, (True, 3.0, "3", np.bool_(True))), (many, (True, 3.0, "3", [0, True]))):
        for seed in seeds:
            with pytest.raises(gymnasium.error.Error, match=r"[Ss]eed"):
                env.reset(seed=seed)


def test_a_setting_cannot_make_another_environment():
    for maker in (gymnasium.make, gymnasium.make_vec):
        with pytest.raises(ValueError, match="unknown key 'name'"):
            maker("seqrl/tiger-v0", name="tmaze")
    assert gymnasium.make("seqrl/tmaze-v0", length=np.int64(3), observed=np.bool_(True)).observation_space.n > 5
    assert "tiger" in gymnasium.spec("seqrl/tiger-v0").to_json()


def test_without_a_seed_nobody_repeats_another():
    courses = []
    for _ in range(2):
        envs = vector("tiger", 20)
        envs.reset()
        courses.append([envs.step(np.zeros(20, int))[0].tolist() for _ in range(4)])
    assert courses[0] != courses[1]


def test_a_mask_resets_those_that_it_names():
    envs = vector("peek_maze:horizon=4", 4)
    envs.reset(seed=0)
    north = np.full(4, make("peek_maze").actions.index("north"))
    envs.step(north)
    mask = np.array([True, False, False, True])
    before = envs.step(north)[0]
    obs, _ = envs.reset(options={"reset_mask": mask})
    assert (obs[~mask] == before[~mask]).all() and (obs[mask] == obs[0]).all()
    ends = [envs.step(north)[3].tolist() for _ in range(4)]
    assert ends[1] == [False, True, True, False] and ends[3][0] and ends[3][3]
    for wrong in (mask.astype(int), mask[:2], np.zeros(4, bool), mask.tolist()):
        with pytest.raises(ValueError, match="reset_mask is no array of 4 bools"):
            envs.reset(options={"reset_mask": wrong})


def test_a_pickle_goes_on_where_it_was():
    task = make("tiger")
    single, envs = to_gymnasium(tabular_env(task), tabular_params(task)), vector("tiger", 5)
    for env, action in ((single, 0), (envs, np.zeros(5, int))):
        env.reset(seed=1)
        env.step(action)
        again = pickle.loads(pickle.dumps(env))
        for _ in range(5):
            same(env.step(action)[:4], again.step(action)[:4])


def test_what_gymnasium_refuses_is_refused():
    task = make("tiger:horizon=1")
    single, envs = to_gymnasium(tabular_env(task), tabular_params(task)), vector("tiger", 2)
    for env, right, wrong in (
        (single, 0, (3, -1, 0.5, None)),
        (envs, np.zeros(2, int), ([0, 3], [0], [[0, 0]], [0.5, 0])),
    ):
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(right)
        env.reset(seed=0)
        for action in wrong:
            with pytest.raises(gymnasium.error.InvalidAction):
                env.step(action)
        env.step(right)
    with pytest.raises(gymnasium.error.ResetNeeded):
        single.step(0)
    with pytest.raises(ValueError, match="unknown key 'hight'"):
        gymnasium.make("seqrl/tmaze-v0", hight=2)


def test_what_is_no_environment_or_no_number_of_them_is_refused(cartpole):
    for other in (None, cartpole[0], ToGymnasium):
        for adapt in (to_gymnasium, lambda env, params: to_gymnasium_vector(env, params, 2)):
            with pytest.raises(TypeError, match=r"has no longest|has no action_space|is a class"):
                adapt(other, None)
    task = make("tiger")
    for number in (0, 2.5, True, None):
        with pytest.raises(ValueError, match=f"^{number!r} environments, expected a whole number of 1 or more"):
            to_gymnasium_vector(tabular_env(task), tabular_params(task), number)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    monkeypatch.delitem(sys.modules, "seqrl_jax.tasks.gymnasium_adapter")
    with pytest.raises(ImportError, match=r"seqrl_jax\[gymnasium\]"):
        importlib.import_module("seqrl_jax.tasks.gymnasium_adapter")
