"""`seqrl verify`: cells of a directory of results, run again here."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict
from typing import Any

from rich.console import Console

from seqrl_jax.commands.console import note, one_line, print_json
from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.commands.watching import watching
from seqrl_jax.release import checked, is_release, sha256
from seqrl_jax.results import store
from seqrl_jax.results.provenance import origin, write_measurement
from seqrl_jax.results.record import RecordError
from seqrl_jax.runs.programs import keep_compiled_programs
from seqrl_jax.runs.verify import sampled, verify
from seqrl_jax.tracks.registry import TRACKS

WRONG = 1


def run(options: argparse.Namespace) -> int:
    """Print a verdict for each cell, and write them with their origin and the hashes of what they are about.

    Returns: 1 where a cell came out different. Raises: RecordError without records; ReleaseError for a release that is
    not what was released.
    """
    release = checked(options.directory).name if is_release(options.directory) else None
    records, damaged = store.read(options.directory)
    for line in damaged:
        note(f"skipped {line}")
    if not records:
        raise RecordError(f"no results: {options.directory} holds no record")
    chosen = sampled(records, options.sample, options.seed)
    use_every_core()
    keep_compiled_programs()
    verdicts, hashes = [], []
    for record in chosen:
        hashes.append(sha256(store.content_of(options.directory, record)))
        if record.track in TRACKS:
            with watching(TRACKS[record.track], Console(stderr=True)) as watched:
                verdicts.append(verify(record, TRACKS, watched))
        else:
            verdicts.append(verify(record, TRACKS))
        if not options.json:
            verdict = verdicts[-1]
            print(one_line(f"{verdict.verdict}: {verdict.method} on {verdict.task}: {verdict.why}"))
    tally: Counter[str] = Counter(verdict.verdict for verdict in verdicts)
    about = [{**asdict(verdict), "sha256": content} for verdict, content in zip(verdicts, hashes, strict=True)]
    attested: dict[str, Any] = {"release": release, "cells": len(records), "sample": len(chosen), "seed": options.seed}
    attested |= {**dict(tally), "verdicts": about}
    if options.out:
        write_measurement(options.out, attested)
    if options.json:
        print_json({**attested, **origin()})
    else:
        print(", ".join(f"{count} {name}" for name, count in sorted(tally.items())))
    return WRONG if tally["different"] else 0
