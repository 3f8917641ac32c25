import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from seqrl_jax.tasks.environments import environment
from seqrl_jax.throughput.env import random_policy_rollout
from seqrl_jax.throughput.measure import Program, measure, on_each, share_of

ON_TWO_DEVICES = """
import json, jax
jax.config.update("jax_num_cpu_devices", 2)
from seqrl_jax.tasks.environments import environment
from seqrl_jax.throughput.env import random_policy_rollout
from seqrl_jax.throughput.measure import measure
ready = environment("tiger")
both = random_policy_rollout(ready.env, ready.params, batch=8, steps=16, devices=2)
key = jax.random.key(0)
result = both.run(key)
halves = [random_policy_rollout(ready.env, ready.params, batch=4, steps=16).run(k) for k in jax.random.split(key)]
row = measure({"tiger": both}, repeats=1)[0]
halves = [half.tolist() for half in halves]
print(json.dumps([result.tolist(), halves, len(result.sharding.device_set), row.batch, row.devices, both.steps]))
"""


def test_compilation_stands_apart_and_programs_take_turns():
    calls = []

    def told(name):
        def run(scale, key):
            jax.debug.callback(lambda: calls.append(name))
            return scale * jax.random.normal(key)

        return Program(jax.jit(run), batch=3, steps=12, arguments=(jnp.float32(2),))

    rows = measure({"one": told("one"), "other": told("other")}, repeats=2)
    jax.effects_barrier()
    assert calls == ["one", "other", "one", "other", "one", "other"]
    for row in rows:
        assert 0 < row.compile_seconds < row.cold_seconds and row.memory > 0 and row.devices == 1
        assert row.steps_per_second == pytest.approx(12 / (sum(row.seconds) / 2))


def test_a_batch_divides_over_devices_or_is_refused():
    assert share_of(8, 2) == 4
    with pytest.raises(ValueError, match="a batch of 7 does not divide over 2 devices"):
        share_of(7, 2)
    with pytest.raises(ValueError, match="1000 devices are asked for"):
        on_each(lambda key: key, 1000)


def test_two_devices_do_what_each_would_alone():
    """In a process of its own, which sees the CPU as two devices."""
    environ = dict(os.environ, JAX_PLATFORMS="cpu")
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES], capture_output=True, text=True, check=True, env=environ
    )
    result, halves, devices, batch, wide, steps = json.loads(done.stdout)
    assert result == halves and halves[0] != halves[1]
    assert (devices, batch, wide, steps) == (2, 8, 2, 128)


def test_every_environment_of_a_rollout_counts():
    ready = environment("tiger")
    program = random_policy_rollout(ready.env, ready.params, batch=4, steps=3)
    assert program.steps == 12 and jnp.isfinite(program.run(jax.random.key(1)))
