"""Programs that several processes run together, and the same program by itself."""

import json
import os
import socket
import subprocess
import sys

PATIENCE = 500.0


def start(command, devices, **variables):
    """A process whose CPU is so many devices."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices), **variables}
    return subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def ended(*processes):
    """(exit code, stdout, stderr) of each, when all have ended."""
    try:
        said = [process.communicate(timeout=PATIENCE) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *both) for process, both in zip(processes, said, strict=True)]


def free_port():
    """One that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def by_itself(code, *arguments, devices=4):
    """The last line that a program prints, as JSON."""
    ((returned, printed, said),) = ended(start(["-c", code, *arguments], devices))
    assert returned == 0, said[-3000:]
    return json.loads(printed.splitlines()[-1])


def in_two(code, *arguments, devices=2):
    """The same of a program that two processes run together, from each of them."""
    join = (
        "import sys; from seqrl_jax.hosts import Member, join; join(Member(sys.argv.pop(), 2, int(sys.argv.pop())))\n"
    )
    coordinator = f"localhost:{free_port()}"
    processes = [start(["-c", join + code, *arguments, str(k), coordinator], devices) for k in range(2)]
    results = ended(*processes)
    assert [returned for returned, _, _ in results] == [0, 0], "".join(said[-3000:] for _, _, said in results)
    return [json.loads(printed.splitlines()[-1]) for _, printed, _ in results]
