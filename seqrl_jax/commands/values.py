"""What stands behind an option of the command line, as a value. Each raises: ArgumentTypeError, in one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def horizon(text: str) -> Any:
    """A number of steps, or `infinite`."""
    from seqrl_jax.settings import INFINITE

    if text == INFINITE:
        return INFINITE
    try:
        return within("Horizon")(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or {INFINITE} with a discount below 1") from None


def byte_count(text: str) -> int:
    """A number of bytes: `1000000`, `500M`, `2G`."""
    digits, factor = text, 1
    for suffix, power in (("K", 10), ("M", 20), ("G", 30), ("T", 40)):
        if text.upper().endswith(suffix):
            digits, factor = text[:-1], 2**power
    if not (digits.isascii() and digits.isdigit() and int(digits) > 0 and len(digits) < 16):
        from seqrl_jax.naming import shown

        raise argparse.ArgumentTypeError(f"the value is {shown(text)}, expected bytes such as 500M or 2G")
    return int(digits) * factor


def within(domain: str) -> Callable[[str], Any]:
    """What reads a value of this domain of `settings`."""

    def read(text: str) -> Any:
        from seqrl_jax import naming, settings

        try:
            return naming.convert("the value", getattr(settings, domain), text)
        except naming.SpecError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def mesh(text: str) -> Any:
    """DATAxMODEL, such as `4x2`."""
    from seqrl_jax.networks.sharding import Layout

    data, cross, model = text.partition("x")
    if not cross:
        raise argparse.ArgumentTypeError(f"the value is {text!r}, expected DATAxMODEL such as 4x2")
    return Layout(within("Count")(data), within("Count")(model))


def path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"the value is {text!r}, expected a path")
    return Path(text)


def place(text: str) -> Path:
    """A path to write to."""
    from seqrl_jax.release import ReleaseError, refuse_within

    named = path(text)
    try:
        refuse_within(named)
    except ReleaseError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return named


def file(text: str) -> Path:
    """A path of a file to write, found out before there is work that would be lost."""
    from seqrl_jax.files import why_no_file_fits

    named = place(text)
    if wrong := why_no_file_fits(named):
        raise argparse.ArgumentTypeError(f"{text}: {wrong}")
    return named


def directory(text: str) -> Path:
    """The same of a directory, which need not be there."""
    from seqrl_jax.files import why_no_directory_fits

    named = place(text)
    if wrong := why_no_directory_fits(named):
        raise argparse.ArgumentTypeError(wrong)
    return named


def name(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"the value is {text!r}, expected a name")
    return text
