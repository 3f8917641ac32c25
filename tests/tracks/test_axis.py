"""Runs on devices: they use as many as help, and need no communication."""

import numpy as np
from processes import ended, start

from seqrl_jax.tracks.axis import RunAxis

CODE = """
import re
import jax
import numpy as np
from seqrl_jax.agents import make_agent
from seqrl_jax.exact.solve import cache_directory, solve
from seqrl_jax.tracks.axis import RunAxis, over_runs
from seqrl_jax.tracks.base import Budget
from seqrl_jax.tracks.pomdp import problem
from seqrl_jax.tracks.training import chunk_of, stacked, train_row

problems = [problem("tiger"), problem("aliased_line")]
agent, seeds = make_agent("reward_to_go"), (0, 1, 2)
tasks = stacked([problem.task for problem in problems])
row = train_row(agent, tasks, Budget(4096, 2, seeds))
print(jax.device_count(), *np.array(row.scores, float).ravel())
assert len(RunAxis(1, 16, range(5)).placed().task.sharding.device_set) == jax.device_count()
env, params = tasks.env, tasks.params
axis = RunAxis(1, 2, seeds)
settings = jax.tree.map(lambda leaf: np.float32([leaf]), agent)
begin = over_runs(lambda agent, params, key: agent.init(key, env, params))
states = jax.jit(begin, out_shardings=axis.sharding)(settings, params, axis.placed(), axis.keys())
assert len(jax.tree.leaves(states)[0].sharding.device_set) == min(6, jax.device_count())
program = jax.jit(chunk_of(env), out_shardings=axis.sharding)
text = program.lower(settings, params, axis.placed(), states, 2).compile().as_text()
print(*re.findall("(?:all-reduce|all-gather|collective-permute|all-to-all)[(]", text))
"""


def test_runs_are_spread_over_all_devices_without_communication():
    """Six runs on one and on eight virtual devices, in processes of their own: the same scores, no collective."""
    scores = []
    for devices in (1, 8):
        ((returned, printed, said),) = ended(start(["-c", CODE], devices))
        assert returned == 0, said[-2000:]
        first, collectives = printed.splitlines()
        assert first.split()[0] == str(devices) and collectives == ""
        scores.append([float(score) for score in first.split()[1:]])
    np.testing.assert_allclose(*scores, rtol=1e-3)


def test_a_run_knows_its_place():
    axis = RunAxis(2, 3, (5, 9))
    numbers = np.arange(len(axis.seed))
    assert axis.split(numbers).shape == (2, 3, 2)
    for setting, task, seed in np.ndindex(2, 3, 2):
        run = axis.split(numbers)[setting, task, seed]
        assert (axis.settings[run], axis.task[run], axis.seed[run]) == (setting, task, (5, 9)[seed])
