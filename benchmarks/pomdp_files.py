"""How tightly POMDPs are solved: files of a folder, and tasks of the literature that are generated.

    python benchmarks/pomdp_files.py FOLDER --generated rock_sample_4_4 tag --out benchmarks/results/pomdps_cpu.json

For each: states, actions, observations, the history value as an interval, its gap, relative to the value and to what
there is to win over random actions, seconds of the whole solution, and the peak of the process's memory. Each is solved
in a process of its own, from nothing. Rows that the file holds already are not solved again.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recorded import recorded_rows

from seqrl_jax.exact.budget import SearchBudget
from seqrl_jax.exact.gaps import gaps
from seqrl_jax.exact.solve import solve
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.settings import INFINITE
from seqrl_jax.tasks.registry import make
from seqrl_jax.tasks.tabular import with_horizon

GENERATORS = Path(__file__).parent / "pomdps" / "generators.py"
KILOBYTE = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--generated", nargs="*", default=[], metavar="NAME", help=f"see {GENERATORS.name}")
    parser.add_argument("--horizon", default="10", help=f"steps, or {INFINITE}")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", action="store_true", help="FOLDER is a file: solve it here and print its row")
    options = parser.parse_args()
    if options.one:
        return print(json.dumps(solved(options.folder, options.horizon, options.seconds)))
    asked = {"horizon": options.horizon, "seconds": options.seconds}
    rows = recorded_rows(options.out, **asked)
    with tempfile.TemporaryDirectory() as made:
        if options.generated:
            subprocess.run([sys.executable, GENERATORS, "--out", made, *options.generated], check=True)
        files = [
            path for folder in (options.folder, Path(made)) for path in sorted(folder.glob("*.[pP][oO][mM][dD][pP]"))
        ]
        for path in files:
            if any(row["file"] == path.name for row in rows):
                continue
            rows.append(in_a_process(path, options.horizon, options.seconds))
            print(rows[-1], flush=True)
            if options.out:
                write_measurement(options.out, {"rows": rows, **asked})


def in_a_process(path: Path, horizon: str, seconds: float) -> dict[str, Any]:
    """The row of a file; of one that cannot be solved, what was said of it."""
    command = [sys.executable, __file__, str(path), "--one", "--horizon", horizon, "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"file": path.name, "error": (done.stderr.strip().splitlines() or ["it was killed"])[-1]}
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def solved(path: Path, horizon: str, seconds: float) -> dict[str, Any]:
    """A file's row."""
    began = time.perf_counter()
    task = make(str(path))
    read = time.perf_counter()
    if horizon != INFINITE:
        task = with_horizon(task, int(horizon))
    with tempfile.TemporaryDirectory() as cache:
        solution = solve(task, Path(cache), budget=SearchBudget(seconds=seconds), infinite=horizon == INFINITE)
    history = solution.values["history"]
    return {
        "file": path.name,
        "states": task.num_states,
        "actions": task.num_actions,
        "observations": task.num_observations,
        "lower": history.lower,
        "upper": history.upper,
        "method": history.method,
        **asdict(gaps(solution.values)["history"]),
        "reading_seconds": read - began,
        "seconds": time.perf_counter() - read,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILOBYTE,
    }


if __name__ == "__main__":
    main()
