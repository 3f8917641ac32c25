"""What the settings that agents ship with were chosen on, see `benchmarks/tune.py`; no table reports it."""

from __future__ import annotations

TASKS = (
    "locked_doors:doors=4",
    "two_doors:leave=0.25",
    "peek_maze:arm=3",
    "aliased_line:horizon=14",
    "grey_line:horizon=14",
    "switched_corridor:horizon=14",
    "tiger:accuracy=0.75",
    "tiger_repeated:accuracy=0.75",
    "tmaze:length=4",
    "heaven_hell:length=1",
    "rock_sample:rocks=2",
    "repeat_previous:symbols=3,delay=1",
    "flicker_grid:blank=0.5",
    "mini_hallway:cells=9",
    "blind_spot:traffic=0.4",
    "hidden_market:persistence=0.9",
)
"""Parametrisations that no table reports."""
SEEDS = tuple(range(2000, 2003))
"""Of the runs by which settings are chosen. A table that reports one of them reports what was chosen for it."""
STEPS = 150_000
"""Of each of these runs."""
