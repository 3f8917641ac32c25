"""A process that fills the toy's table: `python toy_process.py DIRECTORY SECONDS_A_CHUNK`, with `tests` on its path.

It starts fast, and writes a byte to DIRECTORY.chunks as each chunk begins.
"""

import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from toy import SUITE, Toy

from seqrl_jax.failures import Interrupted
from seqrl_jax.runs.interrupt import interruptible
from seqrl_jax.runs.plan import Order
from seqrl_jax.runs.runner import run
from seqrl_jax.tracks.base import Budget


@dataclass(frozen=True)
class Counted(Toy):
    """The toy, with its chunks counted in a file."""

    log: Path = Path()

    def row(self, method, problems, budget, loop):
        def counted(state, advance, chunks, watch):
            def noted(state):
                with open(self.log, "ab") as log:
                    log.write(b".")
                return advance(state)

            return loop(state, noted, chunks, watch)

        return super().row(method, problems, budget, counted)


def begun(directory):
    """How many chunks were begun in a directory."""
    log = Path(f"{directory}.chunks")
    return log.stat().st_size if log.exists() else 0


if __name__ == "__main__":
    # Tests that run in the background of a shell start their processes with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    directory, pause = Path(sys.argv[1]), float(sys.argv[2])
    try:
        with interruptible() as interrupt:
            track, budget = Counted(pause, Path(f"{directory}.chunks")), Budget(SUITE.steps, SUITE.evaluations, (0, 1))
            order = Order(track, SUITE.methods, track.problems(SUITE.tasks, None), budget, SUITE.name)
            run(order, directory, interrupt=interrupt)
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        sys.exit(interrupted.exit_code)
