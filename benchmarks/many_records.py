"""How long a hundred thousand records take to read, check and show, packed by a release and as one file each.

    python benchmarks/many_records.py --out benchmarks/results/many_records_cpu.json

The records are made up: 100 methods on 1,000 tasks with 5 seeds, no curves. Each command runs in a process of its own;
the least of the repeats counts, since a machine that does other things only adds to it. Its start, imports included, is
that of `seqrl list`. Of the site that `seqrl report` writes stand its files, its bytes, and those of its largest page.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from seqrl_jax.results import store
from seqrl_jax.results.encoding import to_line
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.results.record import Bound, Record, Spent

SEEDS = 5
SITE = "site"
PACKED = {
    "check": ["check"],
    "report": ["report", "--out", SITE],
    "table --format csv": ["table", "--format", "csv"],
    "table --columns task agent score": ["table", "--columns", "task", "agent", "score", "--format", "csv"],
    "table": ["table"],
}
COMMANDS = {"packed": PACKED, "one file each": {"check": PACKED["check"]}}


def records(methods: int, tasks: int) -> Iterator[Record]:
    """Scores about a level of the method's own, on tasks between 0 and 1."""
    rng = np.random.default_rng(0)
    for method in range(methods):
        for task in range(tasks):
            scores = np.clip(rng.normal(method / methods, 0.1, SEEDS), 0, 1)
            yield Record(
                track="pomdp",
                suite="made_up",
                task=f"tmaze:length={task + 1}",
                method=f"ppo:entropy_coef={method / 1000:g}",
                seeds=list(range(SEEDS)),
                config={"entropy_coef": method / 1000},
                metrics={"return": scores.tolist()},
                standard_errors={},
                curves={},
                bounds={
                    "random": Bound(0.0, 0.0, "exact"),
                    "memoryless_stochastic": Bound(0.5, 0.5, "exact"),
                    "history": Bound(1.0, 1.0, "exact"),
                },
                bounded_by=["history"],
                marked_wrong=False,
                policy="sampled",
                episodes=[None] * SEEDS,
                steps_asked=100_000,
                steps_made=100_000,
                spent=Spent(1.0, 2.0, 3.0),
                cells=tasks,
                warnings=[],
                failures={},
                task_fingerprint=f"{task:016x}",
                code_fingerprint=None,
                versions={"jax": "0.10.2"},
                device="2 CPU cores",
                commit=None,
                command="seqrl run made_up",
                created="2026-01-01T00:00:00+00:00",
            )


def pack(directory: Path, made: Iterator[Record]) -> None:
    """As a release holds them."""
    directory.mkdir()
    with open(directory / store.PACKED, "wb") as file:
        file.writelines(to_line(record) + b"\n" for record in made)


def write_each(directory: Path, made: Iterator[Record]) -> None:
    """As a run leaves them, without waiting for the disk."""
    directory.mkdir()
    for record in made:
        store.path_of(directory, record).write_bytes(msgspec.json.format(msgspec.json.encode(record)))


def timed(repeats: int, action: Callable[..., Any], *arguments: Any) -> dict[str, float]:
    """The least wall time and processor time of some calls, processes that they start included."""
    walls, processors = [], []
    for _ in range(repeats):
        began, used = time.perf_counter(), sum(os.times()[:4])
        action(*arguments)
        walls.append(time.perf_counter() - began)
        processors.append(sum(os.times()[:4]) - used)
    return {"seconds": min(walls), "processor_seconds": min(processors)}


def command(words: list[str], *directory: Path) -> None:
    """Run `seqrl` there, its output unread; what it writes stands beside the directory.

    Raises: CalledProcessError where it refuses.
    """
    line = [sys.executable, "-m", "seqrl_jax", words[0], *map(str, directory), *words[1:]]
    where = directory[0].parent if directory else None
    subprocess.run(line, cwd=where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def size(site: Path) -> dict[str, int]:
    """The files of a site, their bytes, and those of its largest page."""
    sizes = {path: path.stat().st_size for path in site.rglob("*") if path.is_file()}
    pages = [bytes_ for path, bytes_ in sizes.items() if path.suffix == ".html"]
    return {"files": len(sizes), "bytes": sum(sizes.values()), "bytes_of_largest_page": max(pages)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", type=int, default=100)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = [{"what": "seqrl list", "records": "none", **timed(options.repeats, command, ["list"])}]
    with tempfile.TemporaryDirectory() as folder:
        for how, write in {"packed": pack, "one file each": write_each}.items():
            directory = Path(folder) / how.replace(" ", "_")
            write(directory, records(options.methods, options.tasks))
            calls = {"store.read": (store.read, directory)}
            calls |= {f"seqrl {name}": (command, words, directory) for name, words in COMMANDS[how].items()}
            for what, call in calls.items():
                rows.append({"what": what, "records": how, **timed(options.repeats, *call)})
                print(rows[-1], flush=True)
        site = size(Path(folder) / SITE)
    print({"site": site})
    if options.out:
        measured = {"cells": options.methods * options.tasks, "seeds": SEEDS, "rows": rows, "site": site}
        write_measurement(options.out, measured)


if __name__ == "__main__":
    main()
