"""`seqrl compare`: two runs, or two methods, against each other, paired by task and seed."""

from __future__ import annotations

import argparse

from seqrl_jax import naming
from seqrl_jax.commands.console import note, print_json
from seqrl_jax.commands.table import read, require_methods, show
from seqrl_jax.garbage import uncollected
from seqrl_jax.report import compare


@uncollected()
def run(options: argparse.Namespace) -> None:
    """Print the differences, second minus first. Raises: SpecError if one directory alone names no two methods."""
    if len(options.directories) > 2:
        raise naming.SpecError(f"two directories are compared, not {len(options.directories)}")
    if len(options.directories) == 1 and not options.agents:
        raise naming.SpecError("compare needs two directories, or --agents with two names")
    methods = tuple(options.agents) if options.agents else None
    first, skipped = read(options.directories[0])
    second, more = read(options.directories[-1]) if len(options.directories) == 2 else (first, [])
    if methods:
        require_methods(methods[:1], first)
        require_methods(methods[1:], second)
    others = {section.track.name: section for section in second}
    both = [(section, others[section.track.name]) for section in first if section.track.name in others]
    alone = compare.unpaired(first, second, methods)
    paired = [(one, compare.pairs(one, other, methods)) for one, other in both]
    if options.json:
        return print_json(
            {
                "rows": [compare.for_machines(row) for one, pairs in paired for row in compare.compare(one, pairs)],
                "overall": [
                    compare.for_machines(row) for one, pairs in paired for row in compare.compare_overall(one, pairs)
                ],
                "only_first": [compare.cell_for_machines(record) for record in alone[0]],
                "only_second": [compare.cell_for_machines(record) for record in alone[1]],
                "warnings": [line for _, pairs in paired for line in compare.caveats(pairs)],
                "damaged": [*skipped, *more],
            }
        )
    show([grid for one, pairs in paired for grid in compare.grids(one, pairs)], [*skipped, *more])
    places = [f"in {directory}" for directory in options.directories]
    for place, records in zip(places if len(places) > 1 else [f"of {method}" for method in options.agents], alone):
        for line in compare.cells(records):
            note(f"only {place}: {line}")
    for line in (line for _, pairs in paired for line in compare.caveats(pairs)):
        note(line)
