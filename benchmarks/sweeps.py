"""The recorded sweeps in short, as the package ships them for the pages of agents.

    python benchmarks/sweeps.py benchmarks/results/tuning benchmarks/results/tuning_lm

Writes `seqrl_jax/tracks/sweeps.json`: of each agent the settings that were tried, their scores and the choice.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqrl_jax.files import write_whole
from seqrl_jax.tracks.base import Track
from seqrl_jax.tracks.environments import ANY
from seqrl_jax.tracks.lm import LM
from seqrl_jax.tracks.pomdp import POMDP
from seqrl_jax.tracks.sweeps import PATH


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agents", type=Path, help="what tune.py wrote")
    parser.add_argument("methods", type=Path, help="what tune_lm.py wrote")
    options = parser.parse_args()
    found = [*read(options.agents, "agent", (POMDP, ANY)), *read(options.methods, "method", (LM,))]
    lines = ",\n".join(json.dumps(sweep, separators=(",", ":")) for sweep in found)
    write_whole(PATH, f"[\n{lines}\n]\n".encode())


def read(directory: Path, naming: str, tracks: Sequence[Track]) -> list[dict[str, Any]]:
    """The fields of `tracks.sweeps.Sweep` for every file. naming: the field that says whose it is."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("*.json"))]
    names = [track.name for track in tracks]
    return [{"tracks": names, "agent": each[naming], **short(each, directory)} for each in found]


def short(recorded: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """What a file says, of a choice and of its rows or scores."""
    rows = recorded.get("rows")
    return {
        "settings": [row["settings"] for row in rows] if rows else recorded["settings"],
        "scores": [round(row["score"], 4) for row in rows] if rows else [round(s, 4) for s in recorded["scores"]],
        "chosen": recorded["chosen"],
        "tasks": len(recorded["tasks"]),
        "seeds": len(seeds(recorded, directory)),
        "command": recorded["command"],
    }


def seeds(recorded: Mapping[str, Any], directory: Path) -> list[int]:
    """Those of a sweep; where a file has the choice alone, those of its tasks' files."""
    if "seeds" in recorded:
        return list(recorded["seeds"])
    part = next(directory.glob(f"*/{recorded['method']}.json"))
    return list(json.loads(part.read_text(encoding="utf-8"))["seeds"])


if __name__ == "__main__":
    main()
