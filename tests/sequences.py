"""What an agent sees in the first steps of an episode under fixed actions: its exact law, and samples of it."""

from collections import Counter
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import chi2

from seqrl_jax.tasks.tables import dense

RARE = 5
"""Expected counts below it are put together, as for any chi-squared test."""


def law(task, actions):
    """{(observations, rewards): probability} of a table, by enumeration; sequences are cut where the episode ends.

    Observations by name, one more than rewards; rewards to two digits.
    """
    done, alive = Counter(), Counter()
    transition, reward, observation = map(dense, (task.transition, task.reward, task.observation))
    begun = task.kernel.start.toarray()
    for s, o in np.argwhere(begun).tolist():
        alive[(task.observations[o],), (), s] += begun[s, o]
    for a in actions:
        after = Counter()
        for (seen, paid, s), likely in alive.items():
            for s2, o in product(np.flatnonzero(transition[a, s]), range(task.num_observations)):
                then = likely * transition[a, s, s2] * observation[a, s2, o]
                if then:
                    course = (*seen, task.observations[o]), (*paid, round(float(reward[a, s, s2]), 2))
                    if task.terminal[s2]:
                        done[course] += then
                    else:
                        after[(*course, s2)] += then
        alive = after
    for (seen, paid, _), likely in alive.items():
        done[seen, paid] += likely
    return done


def mapped(law, change):
    """The law of what `change` makes of the observations and rewards: {(observations, rewards): probability} of each
    course."""
    changed = Counter()
    for (seen, paid), likely in law.items():
        for course, then in change(seen, paid).items():
            changed[course] += likely * then
    return changed


def mixed(laws):
    """The mixture of (probability, law)."""
    mixture = Counter()
    for weight, each in laws:
        for course, likely in each.items():
            mixture[course] += weight * likely
    return mixture


def assert_equal(left, right):
    """Two laws are one."""
    keys = sorted({key for key in (*left, *right) if max(left[key], right[key]) > 1e-12})
    np.testing.assert_allclose([left[key] for key in keys], [right[key] for key in keys], atol=1e-12)
    np.testing.assert_allclose(sum(left.values()), 1, atol=1e-12)


def sampled(env, params, actions, draws, read, key):
    """Courses of many episodes, as often as they were drawn. read: [*O] -> the name of an observation."""

    def episode(key):
        def step(carry, action):
            key, state = carry
            key, step_key = jax.random.split(key)
            after = env.step(step_key, state, action, params)
            return (key, after.state), (after.obs, after.reward, after.terminated)

        key, reset_key = jax.random.split(key)
        obs, state = env.reset(reset_key, params)
        return obs, jax.lax.scan(step, (key, state), jnp.array(actions, jnp.int32))[1]

    first, (obs, reward, ended) = jax.jit(jax.vmap(episode))(jax.random.split(key, draws))
    every = np.concatenate([np.asarray(first)[:, None], np.asarray(obs)], 1)
    counts = Counter()
    for seen, paid, ends in zip(every, np.asarray(reward), np.asarray(ended), strict=True):
        steps = int(np.argmax(ends)) + 1 if ends.any() else len(actions)
        counts[tuple(map(read, seen[: steps + 1])), tuple(round(float(r), 2) for r in paid[:steps])] += 1
    return counts


def assert_drawn_from(law, counts, false_alarm=1e-4):
    """No course is impossible, and a chi-squared test at this level does not reject the law."""
    assert not (impossible := set(counts) - {course for course, likely in law.items() if likely > 0}), impossible
    draws = sum(counts.values())
    cells, rest = [], np.zeros(2)
    for course, likely in law.items():
        pair = np.array([counts[course], draws * likely])
        if pair[1] < RARE:
            rest += pair
        else:
            cells.append(pair)
    seen, expected = np.array([*cells, *([rest] if rest[1] >= RARE else [])]).T
    assert len(seen) > 1
    statistic = float(((seen - expected) ** 2 / expected).sum())
    assert chi2.sf(statistic, len(seen) - 1) > false_alarm, statistic
