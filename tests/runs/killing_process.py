"""Kills processes that fill the toy's table, lets others go on, and compares what they leave with a whole run's.

`python killing_process.py before_each_change|at_random_times DIRECTORY`, with `tests` on its path. The processes are
forks of this one, which has imported everything and runs nothing itself. Prints a line for each kill.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import jax  # noqa: F401  Once, not in every fork.
from toy import SUITE
from toy_process import Counted, begun

from seqrl_jax.results import store
from seqrl_jax.runs.plan import Order
from seqrl_jax.runs.runner import run
from seqrl_jax.tracks.base import Budget

CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")


def fork(
    directory: Path, methods=SUITE.methods, tasks=SUITE.tasks, chunks=SUITE.evaluations, pause=0.0, at=None
) -> int:
    """A process that fills a table, and ends at once before its change of a file with the number `at`."""
    process = os.fork()
    if process:
        return process
    count = 0

    def watch(event, arguments):
        nonlocal count
        if event in CHANGES and str(arguments[0]).startswith(str(directory)):
            writes = event != "open" or (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
            if writes and count == at:
                print(event, Path(arguments[0]).name, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            count += bool(writes)

    if at is not None:
        sys.addaudithook(watch)
    track = Counted(pause, Path(f"{directory}.chunks"))
    run(Order(track, methods, track.problems(tasks, None), Budget(80, chunks, (0, 1)), "coins"), directory)
    os._exit(0)


def ended(process: int) -> int:
    """The exit code of a fork, once it is there."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def left(directory: Path):
    """What was measured, and what else lies in a directory."""
    records, damage = store.read(directory) if directory.exists() else ([], [])
    assert damage == [], damage
    others = [path.name for path in directory.glob("*") if path.suffix != ".json"]
    return {(r.method, r.task): (r.metrics, r.curves) for r in records}, others


def before_each_change(base: Path) -> None:
    """A row of two cells, killed before each thing that it does to a file in turn."""
    row = {"methods": SUITE.methods[:1], "tasks": SUITE.tasks[:2], "chunks": 3}
    assert ended(fork(base / "whole", **row)) == 0
    whole, at = left(base / "whole"), 0
    assert whole[1] == [] and len(whole[0]) == 2
    while ended(fork(base / str(at), **row, at=at)):
        assert ended(fork(base / str(at), **row)) == 0
        assert left(base / str(at)) == whole, f"killed before change {at}"
        assert begun(base / str(at)) <= 3 + 1, "more than a chunk is lost"
        at += 1


def at_random_times(base: Path, kills: int = 20) -> None:
    """The whole table, killed at random times: a quarter from its start on, the others from its next chunk on."""
    assert ended(fork(base / "whole")) == 0
    whole, rng, lost, directory = left(base / "whole"), random.Random(0), 0, base / "parts"
    needed = begun(base / "whole")
    assert whole[1] == [] and len(whole[0]) == 9 and needed == 2 * 3 * SUITE.evaluations

    def finished():
        assert left(directory) == whole
        assert begun(directory) <= needed + lost, "a kill cost more than the chunk that it struck"

    while kills:
        before, cells = begun(directory), len(left(directory)[0])
        process = fork(directory, pause=0.04)
        if kills % 4:
            while begun(directory) == before and not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.12))
        os.kill(process, signal.SIGKILL)
        if ended(process) == 0:
            # The table was finished before the kills were: once more.
            finished()
            shutil.rmtree(directory)
            Path(f"{directory}.chunks").unlink()
            lost = 0
            continue
        kills, lost = kills - 1, lost + 1
        assert len(left(directory)[0]) >= cells, "a cell is lost"
        print(f"killed with {len(left(directory)[0])} cells and after {begun(directory)} chunks", flush=True)
    assert ended(fork(directory)) == 0
    finished()


if __name__ == "__main__":
    {"before_each_change": before_each_change, "at_random_times": at_random_times}[sys.argv[1]](Path(sys.argv[2]))
