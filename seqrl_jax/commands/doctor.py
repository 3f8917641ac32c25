"""`seqrl doctor`: what this installation can do, and what it lacks."""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from packaging.requirements import Requirement

from seqrl_jax.commands.console import print_columns, print_json
from seqrl_jax.exact.solve import cache_place
from seqrl_jax.results import provenance

DISTRIBUTION = "seqrl_jax"
FAULTY = 1


@dataclass(frozen=True)
class Need:
    """A package that is asked for. extra: by which extra of this one, "" where by itself. installed: its version, None
    where it is not there. suits: whether that version is one that is asked for."""

    package: str
    wanted: str
    extra: str
    installed: str | None
    suits: bool


def run(options: argparse.Namespace) -> int:
    """Print versions, devices, caches and what is missing. Returns: 1 where this package itself lacks something."""
    extras = importlib.metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    asked = list(needs(importlib.metadata.requires(DISTRIBUTION) or [], extras))
    lacking = [need for need in asked if not need.suits]
    place = cache_place()
    caches = {name: _size(place / pattern) if place else 0 for name, pattern in CACHED.items()}
    versions, device, commit = provenance.versions(), provenance.device(), provenance.commit()
    output = {
        "versions": versions,
        "device": device,
        "commit": commit,
        "cache": {"directory": place and str(place), "bytes": caches},
        "needs": [asdict(need) for need in asked],
    }
    faulty = any(not need.extra for need in lacking)
    if options.json:
        print_json(output)
        return FAULTY if faulty else 0
    print_columns("versions", [*versions.items()])
    print_columns("machine", [("device", device), ("commit", commit or "not in a checkout")])
    sizes = [(name, f"{size:,} bytes") for name, size in caches.items()]
    print_columns("cache ($SEQRL_CACHE)", [("directory", str(place or "none")), *sizes])
    for extra in ["", *extras]:
        if wrong := [said(need) for need in lacking if need.extra == extra]:
            print(f"{extra or 'core'}: {'; '.join(wrong)} (pip install '{DISTRIBUTION}{extra and f'[{extra}]'}')")
        elif any(need.extra == extra for need in asked):
            print(f"{extra or 'core'}: complete")
    return FAULTY if faulty else 0


CACHED = {"solutions": "*.npz", "compiled programs": "compiled/*"}


def needs(requirements: Sequence[str], extras: Sequence[str]) -> Iterator[Need]:
    """What a distribution's own list asks for on this machine, with what is there of it. Extras that are the sum of
    others are named by these."""
    for wanted in map(Requirement, requirements):
        asks = lambda extra, marker=wanted.marker: marker is None or marker.evaluate({"extra": extra})
        extra = next((extra for extra in ["", *extras] if asks(extra)), None)
        if extra is None or wanted.name.replace("-", "_") == DISTRIBUTION:
            continue
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            yield Need(wanted.name, str(wanted.specifier), extra, None, False)
        else:
            yield Need(wanted.name, str(wanted.specifier), extra, version, version in wanted.specifier)


def said(need: Need) -> str:
    """What is wrong with a need that is not met."""
    return f"{need.package} {need.installed} is not {need.wanted}" if need.installed else f"{need.package} is missing"


def _size(files: Path) -> int:
    return sum(path.stat().st_size for path in files.parent.glob(files.name) if path.is_file())
