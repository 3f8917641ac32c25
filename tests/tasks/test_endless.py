"""Tasks without an end: the next passage begins as the first one did, and values have closed forms."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.exact.bounds import history_interval
from seqrl_jax.exact.graph import state_graph
from seqrl_jax.exact.memoryless import memoryless_deterministic, memoryless_stochastic
from seqrl_jax.exact.state import evaluate_memoryless
from seqrl_jax.naming import SpecError
from seqrl_jax.tasks import TaskError, fingerprint, make, tabular_env, tabular_params
from seqrl_jax.tasks.endless import NEGLIGIBLE, endless
from seqrl_jax.tasks.tabular import validated, with_discount, with_horizon

EPISODES = 2000


def beyond(task):
    """The most that is earned after the horizon."""
    return NEGLIGIBLE * np.abs(task.reward).max() / (1 - task.discount)


def tmaze(way, good, bad, d):
    """The closed forms: of the history, of who always walks, of who walks only if the cue is good."""
    passage = d**way / (1 - d ** (way + 1))
    return passage * good, passage * (good + bad) / 2, d**way * good / (2 - d ** (way + 1))


def repeat_previous(symbols, delay, d):
    """The closed forms: of the history, of a guess at every step."""
    guess = 2 / symbols - 1
    return (d**delay + (1 - d**delay) * guess) / (1 - d), guess / (1 - d)


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ("tmaze:length=1,discount=.5", tmaze(2, 4, -0.1, 0.5)[0]),
        ("tmaze:length=4,good=1,discount=.8", tmaze(5, 1, -0.1, 0.8)[0]),
        ("tmaze:length=4,carried=true", tmaze(5, 4, -0.1, 0.9)[0]),
        ("tmaze", tmaze(6, 4, -0.1, 0.9)[0]),
        ("repeat_previous:discount=.9", repeat_previous(2, 2, 0.9)[0]),
        ("repeat_previous:symbols=3,delay=1,discount=.8", repeat_previous(3, 1, 0.8)[0]),
        ("repeat_previous:delay=0,discount=.5", 2.0),
        # As published of `tiger_repeated`, Cassandra, Kaelbling & Littman (1994): a new tiger behind the next doors.
        ("tiger", 19.3714),
        # Who sees the side takes the prize at every step.
        ("peek_maze:discount=.5,observed=true,arm=1", 0.95 / (1 - 0.5)),
    ],
)
def test_the_history_is_worth_its_closed_form(spec, value):
    task = make(f"{spec}{',' if ':' in spec else ':'}endless=true")
    interval, _ = history_interval(task)
    published = 1e-4 if spec == "tiger" else 0
    assert interval.lower - published - 1e-9 <= value <= interval.upper + beyond(task) + published


WITHOUT_MEMORY = {
    "tmaze:length=1,discount=.5,endless=true": tmaze(2, 4, -0.1, 0.5)[1],
    "tmaze:length=1,bad=-2,discount=.5,endless=true": tmaze(2, 4, -2, 0.5)[2],
    "repeat_previous:symbols=3,delay=1,discount=.5,endless=true": repeat_previous(3, 1, 0.5)[1],
    "repeat_previous:delay=0,discount=.5,endless=true": 2.0,
}


@pytest.mark.parametrize("spec", WITHOUT_MEMORY)
def test_the_best_map_is_worth_its_closed_form(spec):
    task = make(spec)
    interval, _ = memoryless_deterministic(task, state_graph(task))
    assert interval.is_exact and abs(WITHOUT_MEMORY[spec] - interval.lower) <= beyond(task)


def test_gradient_ascent_finds_no_distribution_of_actions_that_is_better(best_values):
    spec = "tmaze:length=1,discount=.5,endless=true"
    task = make(spec)
    assert abs(WITHOUT_MEMORY[spec] - best_values(task)[0]) <= beyond(task)


def test_it_is_proved_that_no_distribution_of_actions_is_better():
    spec = "tmaze:length=1,bad=-2,discount=.5,endless=true"
    task = make(spec)
    graph = state_graph(task)
    _, walks_if_good = memoryless_deterministic(task, graph)
    interval, _ = memoryless_stochastic(task, graph, walks_if_good, history_interval(task)[0].upper)
    assert interval.is_exact and interval.lower - beyond(task) <= WITHOUT_MEMORY[spec] <= interval.upper + beyond(task)


def ending(task):
    """The same task, paying 1 for its end and for nothing else."""
    pays = np.broadcast_to(task.terminal & ~task.terminal[:, None], task.reward.shape)
    return validated(replace(task, reward=pays.astype(float)))


def assert_renewed(task, seed):
    """J = E[sum_{t<T} d^t r_t] + E[d^T] J for any memoryless policy, T being the steps of a passage."""
    onward = endless(task)
    passage = with_horizon(task, onward.horizon)
    policies = np.random.default_rng(seed).dirichlet(np.ones(task.num_actions), (50, task.num_observations))
    seen = [task.observations.index(name) for name in onward.observations]
    ends = task.discount * evaluate_memoryless(ending(passage), policies)
    expected = evaluate_memoryless(passage, policies) / (1 - ends)
    found = evaluate_memoryless(onward, policies[:, seen])
    assert ends.max() > 0.01, "passages end"
    np.testing.assert_allclose(found, expected, atol=4 * beyond(onward) / (1 - task.discount))


@pytest.mark.parametrize("name", ["tmaze", "tiger", "aliased_line", "mini_hallway", "locked_doors", "rock_sample"])
def test_what_a_passage_pays_is_paid_again_and_again(name):
    assert_renewed(with_discount(make(name), 0.8), 3000)


@pytest.mark.parametrize("seed", range(3000, 3010))
def test_what_any_small_passage_pays_is_paid_again_and_again(random_task, seed):
    task = with_discount(random_task(seed), 0.8)
    if task.terminal.any():
        assert_renewed(task, seed)
    else:
        assert fingerprint(with_horizon(endless(task), 4)) == fingerprint(task)


def test_a_new_cue_is_shown_when_an_arm_was_entered():
    task = make("tmaze:length=2,endless=true")
    assert not task.terminal.any() and "end" not in (*task.states, *task.observations)
    first = [task.states.index(name) for name in ("north_0", "south_0")]
    junction, north, south = (task.states.index("south_3"), *map(task.actions.index, ("north", "south")))
    for action, paid in ((south, 4.0), (north, -0.1)):
        np.testing.assert_array_equal(task.transition[action, junction, first], 0.5)
        np.testing.assert_array_equal(task.reward[action, junction, first], paid)
    cues = [task.observations.index(name) for name in ("cue_north", "cue_south")]
    np.testing.assert_array_equal(task.observation[north][np.ix_(first, cues)], np.eye(2))


def test_what_is_shown_only_at_a_beginning_is_shown_at_each():
    """Before anything was done the tiger's room shows nothing; later it does, unless a door has just been opened."""
    task, once = make("tiger:endless=true"), make("tiger")
    assert task.states == ("left", "right", "begun|left", "begun|right")
    listen, opened = task.actions.index("listen"), task.actions.index("open_left")
    np.testing.assert_array_equal(task.transition[opened], [[0, 0, 0.5, 0.5]] * 4)
    np.testing.assert_array_equal(task.transition[listen], np.tile(np.eye(4)[:2], (2, 1)))
    assert (task.observation[opened, 2:, task.observations.index("none")] == 1).all()
    np.testing.assert_array_equal(task.observation[listen, :2], once.observation[listen, :2, :3])


def test_the_horizon_is_the_first_beyond_which_nothing_counts():
    for discount in (0.001, 0.5, 0.9, 0.999):
        horizon = make(f"tmaze:endless=true,discount={discount}").horizon
        assert discount**horizon <= NEGLIGIBLE * (1 + 1e-9) and discount ** (horizon - 1) > NEGLIGIBLE


def test_nothing_changes_unless_asked_and_nothing_more_if_asked_again():
    assert fingerprint(make("tmaze:endless=false")) == fingerprint(make("tmaze"))
    for name in ("tmaze", "tiger"):
        task = make(f"{name}:endless=true")
        assert fingerprint(endless(task)) == fingerprint(task)


def played(task, memory, remember, act):
    """Discounted returns [N] of episodes in the environment.

    Args: memory: before anything was seen. remember: (memory, obs) -> memory. act: (key, memory, obs) -> action.
    """
    env, params = tabular_env(task), tabular_params(task)

    def episode(key):
        obs, state = env.reset(key, params)

        def step(carry, key):
            state, obs, memory = carry
            memory = remember(memory, obs)
            act_key, env_key = jax.random.split(key)
            after = env.step(env_key, state, act(act_key, memory, obs), params)
            return (after.state, after.obs, memory), (after.reward, after.terminated, after.truncated)

        keys = jax.random.split(jax.random.fold_in(key, 1), task.horizon)
        return jax.lax.scan(step, (state, obs, memory), keys)[1]

    keys = jax.random.split(jax.random.key(3000), EPISODES)
    reward, terminated, truncated = map(np.asarray, jax.jit(jax.vmap(episode))(keys))
    assert not terminated.any() and truncated[:, -1].all() and not truncated[:, :-1].any()
    return reward @ task.discount ** np.arange(task.horizon)


def assert_mean(returns, value, task):
    """Within 5 standard errors."""
    assert abs(returns.mean() - value) <= 5 * returns.std() / EPISODES**0.5 + beyond(task) + 1e-5


CUE_NORTH, CUE_SOUTH, _, JUNCTION = range(4)
NORTH, SOUTH, EAST, _ = range(4)


def in_tmaze(task, remember):
    enter = lambda key, cue, obs: jnp.where(obs == JUNCTION, jnp.where(cue == CUE_NORTH, NORTH, SOUTH), EAST)
    return played(task, jnp.int32(-1), remember, enter)


def test_who_recalls_the_last_cue_is_always_right_and_who_recalls_the_first_one_only_once():
    task = make("tmaze:length=1,discount=.7,endless=true")
    assert task.observations[CUE_NORTH] == "cue_north" and task.actions[NORTH] == "north"
    best, guessing, _ = tmaze(2, 4, -0.1, 0.7)
    last = in_tmaze(task, lambda cue, obs: jnp.where(obs <= CUE_SOUTH, obs, cue))
    np.testing.assert_allclose(last, best, atol=beyond(task) + 1e-5)
    first = in_tmaze(task, lambda cue, obs: jnp.where(cue < 0, obs, cue))
    assert_mean(first, 0.7**2 * 4 + 0.7**3 * guessing, task)


def test_who_recalls_what_was_asked_is_right_as_soon_as_it_was_shown():
    task = make("repeat_previous:symbols=3,delay=2,discount=.7,endless=true")
    shift = lambda shown, obs: jnp.append(shown[1:], obs)
    returns = played(task, jnp.zeros(3, jnp.int32), shift, lambda key, shown, obs: shown[0])
    assert_mean(returns, repeat_previous(3, 2, 0.7)[0], task)
    late = played(task, jnp.zeros(3, jnp.int32), shift, lambda key, shown, obs: shown[1])
    assert_mean(late, repeat_previous(3, 2, 0.7)[1], task)


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        ("tmaze:endless=true,horizon=9", SpecError, "what is endless has no horizon"),
        ("tiger:horizon=9,endless=true", SpecError, "what is endless has no horizon"),
        ("repeat_previous:endless=true", TaskError, "its discount is 1, what is endless needs one of at most 0.999"),
        ("tmaze:endless=true,discount=.9995", TaskError, "its discount is 0.9995, what is endless needs one"),
        ("tmaze:endless=yes", SpecError, "expected true or false"),
    ],
)
def test_what_cannot_be_endless_is_refused_in_one_line(spec, error, said):
    with pytest.raises(error, match=re.escape(said)) as refused:
        make(spec)
    assert "\n" not in str(refused.value)
