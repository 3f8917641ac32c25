"""The long T-maze: its rules, and what memory is worth in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.tasks.build import build, ends, goes, uniform
from seqrl_jax.tasks.environments import environment
from seqrl_jax.tasks.tmaze import EAST, NORTH, SOUTH, WEST

MOVES = {"east": (1, 0), "north": (0, 1), "west": (-1, 0), "south": (0, -1)}
SEEN = ["corridor", "cue_north", "cue_south", "junction", "north_arm", "south_arm"]


def table(length, detour):
    """The same maze written as a table, cell by cell: states are (goal, x, y, whether the cue is fresh, time)."""
    last, steps = length + detour, length + 2 * detour + 1
    cells = [*((x, 0) for x in range(last + 1)), (last, 1), (last, -1)]

    def step(state, action):
        goal, x, y, fresh, time = state
        there = (x + MOVES[action][0], y + MOVES[action][1])
        x, y = there if there in cells else (x, y)
        time += 1
        if time == steps:
            return ends(float(y == goal))
        # The oracle is spent once it has been left or looked at for a step.
        fresh = "shows" if x == 0 and fresh == "hidden" else fresh if fresh == "hidden" else "spent"
        return goes((goal, x, y, fresh, time), -1 / length if x < time - detour else 0.0)

    def observe(state):
        goal, x, y, fresh, _ = state
        if fresh == "shows":
            return "cue_north" if goal == 1 else "cue_south"
        return {0: "junction", 1: "north_arm", -1: "south_arm"}[y] if x == last else "corridor"

    begin = [(goal, detour, 0, "hidden" if detour else "shows", 0) for goal in (1, -1)]
    states, new = list(begin), list(begin)
    while new:
        after = [step(state, action) for state in new for action in MOVES]
        new = list(dict.fromkeys(s.state for s in after if s.state != "end" and s.state not in states))
        states += new
    return build(
        name="twin",
        states=states,
        actions=list(MOVES),
        observations=SEEN,
        start=uniform(begin),
        step=step,
        observe=observe,
        discount=1.0,
        horizon=steps,
    )


@pytest.mark.parametrize(("length", "active"), [(2, False), (1, True)])
def test_the_exact_solver_finds_the_certified_values(best_values, length, active):
    memoryless, history = best_values(table(length, int(active)))
    certified = environment(f"long_tmaze:length={length},active={str(active).lower()}").certified
    assert certified["history"].lower == certified["history"].upper == pytest.approx(history.lower, abs=1e-9)
    assert certified["memoryless_stochastic"].upper == pytest.approx(memoryless, abs=1e-6)


@pytest.mark.parametrize(("length", "active"), [(1, False), (4, False), (1, True), (4, True)])
def test_every_step_is_that_of_the_table(length, active):
    ready = environment(f"long_tmaze:length={length},active={str(active).lower()}")
    task, env = table(length, int(active)), ready.env
    step = jax.jit(lambda state, action: env.step(jax.random.key(0), state, action, ready.params))
    rng, goals = np.random.default_rng(3000), set()
    for episode in range(24):
        obs, state = env.reset(jax.random.key(episode), ready.params)
        goals.add(int(state.goal))
        number = int(np.flatnonzero(task.initial)[0 if int(state.goal) == 1 else 1])
        assert task.initial_observation[number, int(obs)] == 1
        for t in range(env.longest):
            action = int(rng.choice(4, p=[0.55, 0.15, 0.15, 0.15]))
            after = step(state, jnp.int32(action))
            entered = int(task.transition[action, number].argmax())
            assert float(after.reward) == pytest.approx(task.reward[action, number, entered], abs=1e-6)
            assert bool(after.terminated) == (t == env.longest - 1) == bool(task.terminal[entered])
            if not after.terminated:
                assert task.observation[action, entered, int(after.obs)] == 1
            state, number = after.state, entered
    assert goals == {1, -1}


@pytest.mark.parametrize("spec", ["length=1", "length=500", "length=1,active=true", "length=500,active=true"])
def test_who_reads_the_cue_earns_one_and_who_guesses_a_half(spec):
    """The first exactly, in every episode; the second in the mean of 2,000 within 5 standard errors."""
    ready = environment(f"long_tmaze:{spec}")
    env = ready.env
    recall = [WEST] * env.detour + [EAST] * env.junction
    guess = [EAST] * env.length + [NORTH] * (1 + 2 * env.detour)

    def episode(key):
        obs, state = env.reset(key, ready.params)

        def walk(carry, action):
            state, cue = carry
            after = env.step(key, state, action, ready.params)
            cue = jnp.where((after.obs == 1) | (after.obs == 2), after.obs, cue)
            return (after.state, cue), after.reward

        (before, cue), reward = jax.lax.scan(walk, (state, obs), jnp.array(recall))
        last = env.step(key, before, jnp.where(cue == 1, NORTH, SOUTH), ready.params)
        guessed = jax.lax.scan(walk, (state, obs), jnp.array(guess))[1]
        return reward.sum() + last.reward, guessed.sum()

    recalled, guessed = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(3000), 2000))
    assert (np.asarray(recalled) == 1.0).all()
    assert float(guessed.mean()) == pytest.approx(
        ready.certified["memoryless_stochastic"].lower, abs=5 * 0.5 / 2000**0.5
    )


def test_who_stands_still_pays_one_in_all():
    ready = environment("long_tmaze:length=1000")
    _, state = ready.env.reset(jax.random.key(0), ready.params)
    step = lambda state, _: (lambda after: (after.state, after.reward))(
        ready.env.step(jax.random.key(0), state, jnp.int32(WEST), ready.params)
    )
    assert float(jax.lax.scan(step, state, length=1001)[1].sum()) == pytest.approx(-1.0, abs=1e-4)


def test_the_state_is_as_small_in_the_longest_maze_as_in_the_shortest():
    sizes = []
    for spec in ("long_tmaze:length=1", "long_tmaze:length=1000000"):
        ready = environment(spec)
        state = jax.eval_shape(lambda ready=ready: ready.env.reset(jax.random.key(0), ready.params)[1])
        sizes.append([(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)])
    assert sizes[0] == sizes[1] and all(shape == () for shape, _ in sizes[0])
    with pytest.raises(ValueError, match=r"length is 1000001, expected a whole number >= 1 and <= 1000000"):
        environment("long_tmaze:length=1000001")
