"""Key to door: its rules, and what straight walks are worth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.exact.bounds import history_interval
from seqrl_jax.exact.state import evaluate_memoryless
from seqrl_jax.tasks.build import build, ends, goes, uniform
from seqrl_jax.tasks.environments import environment
from seqrl_jax.tasks.key_door import APPLES, DOOR, KEY

NONE = "none"


def table(cells, delay, apple, door):
    """The same task cell by cell: states are (time, agent, thing, whether it has the key)."""
    across = cells - 1
    steps = 2 * across + delay
    room = lambda time: "key" if time < across else "apples" if time < across + delay else "door"
    pairs = [(a, b) for a in range(cells) for b in range(cells) if a != b]

    def step(state, action):
        time, agent, thing, key = state
        agent = min(max(agent + {"left": -1, "stay": 0, "right": 1}[action], 0), cells - 1)
        taken, here = agent == thing, room(time)
        key = key or (taken and here == "key")
        if here == "door" and taken:
            return ends(door if key else 0.0)
        if time + 1 == steps:
            return ends(0.0)
        pays = {0.0: 0.5, 2 * apple: 0.5} if taken and here == "apples" else {0.0: 1.0}
        if room(time + 1) != here:
            places = uniform(pairs)
        elif not taken:
            places = {(agent, thing): 1.0}
        elif here == "apples":
            places = uniform((agent, other) for other in range(cells) if other != agent)
        else:
            places = {(agent, NONE): 1.0}
        return {goes((time + 1, *place, key), r): p * q for place, p in places.items() for r, q in pays.items()}

    show = lambda state: f"{room(state[0])}_{state[1]}_{state[2]}"
    begin = [(0, *pair, False) for pair in pairs]
    states, new = list(begin), list(begin)
    while new:
        laws = [step(state, action) for state in new for action in ("left", "stay", "right")]
        after = {o.state: None for law in laws if isinstance(law, dict) for o in law}
        new = [state for state in after if state not in states]
        states += new
    return build(
        name="twin",
        states=states,
        actions=["left", "stay", "right"],
        observations=list(dict.fromkeys(map(show, states))),
        start=uniform(begin),
        step=step,
        observe=show,
        discount=1.0,
        horizon=steps,
    )


@pytest.mark.parametrize(("cells", "delay"), [(2, 2), (3, 3), (3, 0)])
def test_the_exact_solver_finds_the_certified_values(cells, delay):
    """And a map of the observation has all of it: straight to whatever is there."""
    task = table(cells, delay, apple=0.75, door=5.0)
    certified = environment(f"key_to_door:cells={cells},delay={delay},apple=.75,door=5").certified
    history, _ = history_interval(task)
    assert history.upper == pytest.approx(certified["history"].upper, abs=1e-9)
    straight = np.zeros((task.num_observations, 3))
    for number, name in enumerate(task.observations):
        *_, agent, thing = ("", "0", "0") if name == "end" else name.split("_")
        straight[number, 1 if thing == NONE else 1 + np.sign(int(thing) - int(agent))] = 1
    found = float(evaluate_memoryless(task, straight))
    assert found == pytest.approx(certified["memoryless_stochastic"].lower, abs=1e-9)


def played(ready, episodes, takes_key):
    """Returns [E] of who goes straight to whatever is there, and stays where it is in the first room unless it takes
    the key; with the rooms [E, T], what was paid [E, T] and who had the key [E, T]."""
    env = ready.env

    def one(key):
        obs, state = env.reset(key, ready.params)

        def step(carry, key):
            obs, state, on = carry
            seen = obs // (env.cells + 1)
            room, agent, thing = seen // env.cells, seen % env.cells, obs % (env.cells + 1)
            toward = 1 + jnp.sign(thing - agent)
            waits = (thing == env.cells) | ((room == KEY) & jnp.logical_not(takes_key))
            after = env.step(key, state, jnp.where(waits, 1, toward), ready.params)
            reward = jnp.where(on, after.reward, 0.0)
            return (after.obs, after.state, on & ~after.terminated), (room, reward, state.key, on)

        return jax.lax.scan(step, (obs, state, jnp.bool_(True)), jax.random.split(key, env.longest))[1]

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3000), episodes)))


@pytest.mark.parametrize("spec", ["cells=2,delay=3", "cells=5,delay=20,apple=.5", "cells=7,delay=0,door=3"])
def test_straight_walks_earn_what_is_certified_and_without_the_key_the_door_pays_nothing(spec):
    """Means of 3,000 episodes, within 5 standard errors. The apples are the same to who has the key."""
    ready = environment(f"key_to_door:{spec}")
    room, reward, key, on = played(ready, 3000, takes_key=True)
    returns, door = reward.sum(1, dtype=np.float64), float(ready.params.door)
    assert returns.mean() == pytest.approx(ready.certified["history"].lower, abs=5 * returns.std() / 3000**0.5 + 1e-5)
    np.testing.assert_allclose((reward * (room == DOOR)).sum(1), door)
    assert not reward[room == KEY].any() and key[room > KEY].all()
    apples = reward[(room == APPLES) & on]
    assert set(np.unique(apples)) <= {0.0, 2 * float(ready.params.apple)}

    room, without, key, _ = played(ready, 3000, takes_key=False)
    assert not without[room == DOOR].any() and not key.any()
    lost = returns.mean() - without.sum(1).mean()
    assert lost == pytest.approx(door, abs=5 * (2 * returns.var() / 3000) ** 0.5 + 1e-5)


def test_things_begin_in_any_other_cell_than_the_agent():
    """All ordered pairs are as likely (chi-squared with 19 degrees of freedom, false alarm 1e-6)."""
    env = environment("key_to_door").env
    states = jax.vmap(lambda key: env.reset(key, None)[1])(jax.random.split(jax.random.key(3001), 20_000))
    pairs, counts = np.unique(np.asarray(states.agent) * 5 + np.asarray(states.thing), return_counts=True)
    assert len(pairs) == 20 and not (pairs % 6 == 0).any()
    assert np.sum((counts - 1000.0) ** 2 / 1000.0) < 70


def test_the_key_is_not_seen_when_it_is_carried():
    env = environment("key_to_door:delay=4").env
    _, state = env.reset(jax.random.key(0), None)
    for time in range(env.across, env.longest):
        with_it, without = (env._shown(state._replace(key=jnp.bool_(key), time=jnp.int32(time))) for key in (0, 1))
        assert int(with_it) == int(without)
