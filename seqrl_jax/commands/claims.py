"""`seqrl claims`: the lecture's statements, each with what was measured and whether it holds."""

from __future__ import annotations

import argparse
import textwrap
from itertools import groupby
from typing import Any

from seqrl_jax.claims import CLAIMS, VERDICTS, Claim, Evidence, Measured, judged
from seqrl_jax.commands.console import note, one_line, print_json
from seqrl_jax.report.words import figures

WIDTH = 110


def run(options: argparse.Namespace) -> None:
    """Print every claim with its verdict."""
    evidence = Evidence(options.directory)
    measured = [(claim, judged(claim, evidence)) for claim in CLAIMS]
    for line in evidence.damage:
        note(f"skipped {line}")
    if options.json:
        return print_json({"claims": [for_machines(claim, found) for claim, found in measured]})
    for source, group in groupby(measured, key=lambda pair: pair[0].source):
        print(f"\n{source}")
        for claim, found in group:
            _print(claim, found)
    verdicts = [found.holds for _, found in measured]
    counts = ", ".join(f"{verdicts.count(verdict)} {word}" for verdict, word in VERDICTS.items())
    print(f"\n{len(measured)} claims: {counts}")


def for_machines(claim: Claim, found: Measured) -> dict[str, Any]:
    """{"id", "statement", "source", "rule", "measured", "low", "high", "unit", "holds", "evidence"}; null is what is
    not known of measured, low, high and holds."""
    return {
        "id": claim.id,
        "statement": claim.statement,
        "source": claim.source,
        "rule": claim.rule,
        "measured": found.value,
        "low": found.low,
        "high": found.high,
        "unit": found.unit,
        "holds": found.holds,
        "evidence": found.evidence,
    }


def _print(claim: Claim, found: Measured) -> None:
    print(textwrap.fill(f"  {VERDICTS[found.holds]:<13}{claim.statement}", WIDTH, subsequent_indent=" " * 15))
    if found.value is not None:
        ends = "" if found.low in (None, found.high) else f" [{figures(found.low)}, {figures(found.high)}]"
        _below(f"{figures(found.value)}{ends} {found.unit}; {claim.rule}")
    _below(f"{one_line(found.evidence)} ({claim.id})")


def _below(text: str) -> None:
    print(textwrap.fill(text, WIDTH, initial_indent=" " * 15, subsequent_indent=" " * 17, break_on_hyphens=False))
