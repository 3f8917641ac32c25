"""Where a number comes from: versions, device, commit."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqrl_jax.files import write_whole
from seqrl_jax.strict_json import read_object

PACKAGES = ("seqrl_jax", "jax", "jaxlib", "flax", "optax", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Package -> version, and Python's."""
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def device() -> str:
    """The default device in words, such as `2 CPU cores (x86_64)`, `8 x NVIDIA A100` or, of several hosts, `16 x NVIDIA
    A100 of 2 processes`."""
    import jax

    from seqrl_jax.devices import usable_cores

    devices, processes = jax.devices(), jax.process_count()
    if devices[0].platform == "cpu":
        cores = usable_cores()
        here = f"{cores} CPU core{'s' if cores > 1 else ''} ({platform.machine()})"
        return f"{processes} processes of {here}" if processes > 1 else here
    all_of_them = f"{len(devices)} x {devices[0].device_kind}" if len(devices) > 1 else devices[0].device_kind
    return f"{all_of_them} of {processes} processes" if processes > 1 else all_of_them


def commit() -> str | None:
    """The git commit of the package's source, with `+` if it was changed since; None where it is not in a checkout."""
    here = Path(__file__).parent
    try:
        # A package that is installed below somebody's project is not of the commit of that.
        _git(here, "ls-files", "--error-unmatch", "--", Path(__file__).name)
        head = _git(here, "rev-parse", "HEAD")
        return head + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no", "--", "..") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def command() -> str:
    """What this process was called with, as a shell takes it, without the folders of one machine.

    A path within the working directory stands relative to it, and any other absolute path as its last part. Bytes that
    are no text, which names of files may hold, are written as escapes.
    """
    return as_text(shlex.join([*_program(), *map(_without_folders, sys.argv[1:])]))


def as_text(name: str) -> str:
    """A name of the system's as Unicode, which every format can hold."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def write_measurement(path: Path, measured: Mapping[str, Any]) -> None:
    """Write a measurement as JSON, with its origin."""
    write_whole(path, (json.dumps({**measured, **origin()}, indent=1) + "\n").encode())


def read_measurement(path: Path) -> dict[str, Any]:
    """What `write_measurement` wrote. Raises: ValueError, naming the file, if it is no such thing; OSError."""
    return read_object(path)


def origin() -> dict[str, Any]:
    """The command that makes what this process writes, the device, the versions and the commit."""
    return {"command": command(), "device": device(), "versions": versions(), "commit": commit()}


def _program() -> list[str]:
    """How this program is started, without the folders of one machine."""
    path, checkout = Path(sys.argv[0]).resolve(), Path(__file__).parents[2]
    if path.stem in ("cli", "seqrl") or path == Path(__file__).parents[1] / "__main__.py":
        return ["seqrl"]
    return ["python", path.relative_to(checkout).as_posix() if path.is_relative_to(checkout) else path.name]


def _without_folders(word: str) -> str:
    """A word of a command line with its absolute paths shortened, also in `--out=/a/b` and `name:file=/a/b`."""
    return re.sub(r"(?<![^=:,])~?/(?!/)[^=:,]*", _shortened, word)


def _shortened(match: re.Match[str]) -> str:
    path = Path(match[0])
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.name


def _git(directory: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=directory, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
