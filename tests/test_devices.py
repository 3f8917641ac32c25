"""Runs laid over devices, and the cores that there are."""

import math
import os
import subprocess
import sys

import jax
import pytest

from seqrl_jax.devices import quota, usable_cores

CODE = """
from seqrl_jax.devices import over_devices

for size in (1, 4, 5, 9):
    spread = over_devices(size)
    print(size, len(spread.sharding.device_set), len(spread.index), *spread.index)
"""


def test_runs_take_no_more_devices_than_shorten_the_longest_queue():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env={**os.environ, **flags})
    assert done.stdout.splitlines() == [
        "1 1 1 0",
        "4 4 4 0 1 2 3",
        "5 3 6 0 1 2 3 4 0",
        "9 3 9 0 1 2 3 4 5 6 7 8",
    ], done.stderr[-2000:]


@pytest.mark.parametrize(
    ("variables", "devices"),
    [
        ({}, 3),
        ({"JAX_NUM_CPU_DEVICES": "2"}, 2),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, 5),
        ({"XLA_FLAGS": "--xla_backend_optimization_level=0"}, 3),
    ],
)
def test_cores_are_devices_unless_the_user_says_how_many_there_are(variables, devices):
    code = "import jax; from seqrl_jax.runs.programs import use_cores; use_cores(3); print(jax.device_count())"
    inherited = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    environment = {**inherited, "JAX_PLATFORMS": "cpu", **variables}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == f"{devices}\n", done.stderr[-2000:]


@pytest.mark.parametrize("variables", [{"JAX_PLATFORMS": "cuda"}, {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "0"}])
def test_a_machine_without_a_device_is_told_in_one_line(variables):
    if jax.default_backend() != "cpu":
        pytest.skip("there is a device")
    command = [sys.executable, "-m", "seqrl_jax", "throughput", "tiger", "--batch", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables})
    name, value = list(variables.items())[-1]
    assert done.returncode == 2 and done.stdout == ""
    assert f"{name}={value}, and jax finds no device to compute on: " in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_a_process_that_is_bound_to_a_core_sees_one():
    bound = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    code = f"import os; from seqrl_jax.devices import quota, usable_cores; {bound}; print(usable_cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert usable_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({}, math.inf),
    ],
)
def test_a_container_counts_the_cores_that_it_was_granted(tmp_path, files, cores):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert quota(tmp_path) == cores
