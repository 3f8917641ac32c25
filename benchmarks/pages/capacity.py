"""What recorded tables cost, and what they would cost on many machines."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from recorded import RESULTS, measurement

from seqrl_jax.results import store
from seqrl_jax.results.record import Record

SUITES = ("quick", "headline", "pomdp", "memory", "offline", "exploration", "dialogue", "lm", "lm_larger")
MACHINES = (1, 8, 64, 1024)
SHARDING, STACK = "sharding_cpu.json", "stack_memory_cpu.json"
MIB, GIB = 2**20, 2**30


def rows_of(records: Iterable[Record]) -> dict[tuple[object, ...], float]:
    """Seconds of each row: its cells were made by one program, and each tells of the whole of it."""
    rows: dict[tuple[object, ...], float] = {}
    for record in records:
        spent = record.spent
        alone = record.task if record.cells == 1 else ""
        key = (record.method, alone, spent.compilation, spent.training, spent.evaluation)
        rows[key] = spent.compilation + spent.training + spent.evaluation
    return rows


def finished_after(seconds: Sequence[float], machines: int) -> float:
    """When so many machines have run all rows, longest first, each the next as soon as it is free.

    At most a third more than the best order. Source: Graham (1969), "Bounds on multiprocessing timing anomalies".
    """
    free = [0.0] * machines
    for each in sorted(seconds, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + each)
    return max(free)


def capacity() -> str:
    """Rows, hours and bytes of each recorded suite, and hours with more machines."""
    many = " | ".join(f"{count:,}" for count in MACHINES)
    lines = [
        f"| suite | cells | rows | longest row, h | hours on so many machines: {many} | a cell, KiB |",
        "|---|---:|---:|---:|" + "---:|" * len(MACHINES) + "---:|",
    ]
    devices = set()
    for name in SUITES:
        records, _ = store.read(RESULTS / name)
        seconds = list(rows_of(records).values())
        devices |= {record.device for record in records}
        size = sum(path.stat().st_size for path in (RESULTS / name).glob("*.json")) / len(records)
        hours = " | ".join(f"{finished_after(seconds, count) / 3600:.2f}" for count in MACHINES)
        lines.append(
            f"| `{name}` | {len(records)} | {len(seconds)} | {max(seconds) / 3600:.2f} | {hours} | {size / 1024:.1f} |"
        )
    machines = f"From the records of `benchmarks/results`, machines with {', '.join(sorted(devices))}."
    return "\n".join([*lines, "", machines])


def sharding() -> str:
    """One row over more and more devices of one machine."""
    measured = measurement(SHARDING)
    lines = ["| agent | devices | compiled in | of the time on one | of the fastest |", "|---|---:|---:|---:|---:|"]
    for row in measured["rows"]:
        lines.append(
            f"| `{row['agent']}`, {row['runs']} runs | {row['devices']} | {row['cold_median']:.1f} s | "
            f"{row['warm_against_one_device']:.2f} | {row['warm_against_fastest']:.2f} |"
        )
    return "\n".join([*lines, "", f"`{measured['command']}`, {measured['device']}."])


def stack_memory() -> str:
    """What a program needs by the runs that are stacked in it."""
    measured = measurement(STACK)
    sizes = list(measured["rows"][0]["bytes"])
    lines = [
        f"| agent; MiB with so many runs: | {' | '.join(sizes)} | a run more, MiB | runs in a GiB |",
        "|---|" + "---:|" * (len(sizes) + 2),
    ]
    for row in measured["rows"]:
        planned = " | ".join(f"{row['bytes'][size] / MIB:.3g}" for size in sizes)
        each = row["bytes_a_run"]
        lines.append(f"| `{row['agent']}` | {planned} | {each / MIB:.2g} | {int(GIB // each):,} |")
    return "\n".join([*lines, "", f"On `{measured['task']}`. `{measured['command']}`, {measured['device']}."])
