"""An environment of its own for each peer, from the pinned file `environments/NAME.txt` beside this module.

    python benchmarks/peers/environment.py sb3 benchmarks/peers/sb3_recurrent_ppo.py --width 128

runs a program there. It is made, under `.cache/peers`, when it is first asked for and when its file has changed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PLACE = ROOT / ".cache" / "peers"
INSTALLED = "installed.txt"
"""In an environment that is whole, the file that it was made from."""


def peers() -> list[str]:
    """The names of all environments."""
    return sorted(file.stem for file in (HERE / "environments").glob("*.txt"))


def python_of(name: str) -> Path:
    """The interpreter of a peer's environment. Raises: CalledProcessError where its packages cannot be installed."""
    pinned = (HERE / "environments" / f"{name}.txt").resolve()
    folder = PLACE / name
    installed, python = folder / INSTALLED, folder / "bin" / "python"
    if not installed.is_file() or installed.read_bytes() != pinned.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        quiet = ["--quiet", "--disable-pip-version-check"]
        # From the root, so that a file may ask for this suite itself.
        subprocess.run([python, "-m", "pip", "install", *quiet, "--requirement", pinned], cwd=ROOT, check=True)
        installed.write_bytes(pinned.read_bytes())
    return python


def printed_by(name: str, program: str, *arguments: str) -> dict[str, Any]:
    """What a program of this folder prints in its last line, one of JSON, in a peer's environment."""
    done = subprocess.run(
        [python_of(name), HERE / program, *arguments], stdout=subprocess.PIPE, text=True, check=True, env=_plain()
    )
    return json.loads(done.stdout.splitlines()[-1])


def _plain() -> dict[str, str]:
    """Without the paths of the environment that asks."""
    return {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=peers())
    parser.add_argument("program", nargs=argparse.REMAINDER, help="a Python program and its arguments")
    options = parser.parse_args(argv)
    if not options.program:
        parser.error("which program is to be run there?")
    return subprocess.run([python_of(options.peer), *options.program], env=_plain(), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
