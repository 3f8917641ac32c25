"""The tables of docs/peers.md."""

from __future__ import annotations

from typing import Any

from recorded import measurement


def popjaxrl_table() -> str:
    """What can be earned in its games, and what is certified of ours."""
    return _games("popjaxrl")


def popgymnax_table() -> str:
    """The same of its fork."""
    return _games("popgymnax")


def _games(package: str) -> str:
    measured = measurement(f"peers/{package}_tasks.json")
    lines = ["| game | seeing | knowing | ours, certified |", "|---|---:|---:|---:|"]
    for row in measured["rows"]:
        lines.append(
            f"| {row['game'].split('.')[1]} | {_seeing(row)} | {row['knowing']:.3f} | {_ends(*row['certified'])} |"
        )
    errors = sorted({row["step"] for row in measured["rows"]} - {None})
    steps = f"`env.step` of that gymnax: {'; '.join(f'`{error}`' for error in errors)}" if errors else "`env.step` runs"
    versions = f"commit {measured['read_at'][:7]} beside gymnax {measured['gymnax']}, jax {measured['versions']['jax']}"
    where = f"{measured['episodes']:,} episodes of cards, {measured['board_episodes']} of boards; {versions}"
    return "\n".join([*lines, "", f"`{measured['command']}`: {where}. {steps}."])


def _seeing(row: dict[str, Any]) -> str:
    """What players earn who see what is shown: at least what a rule earns, and at most what is earned knowing all."""
    if row["seeing"] is not None:
        return f"{row['seeing']:.3f}"
    if row["recalling"] is None:
        return ""
    return f"{'' if row['knowing'] - row['recalling'] < 1e-6 else '≥ '}{row['recalling']:.3f}"


def _ends(lower: float, upper: float) -> str:
    return f"{lower:.3f}" if upper - lower < 5e-4 else f"{lower:.3f} to {upper:.3f}"


def popgym_arcade_table() -> str:
    """What can be earned in its card games, and what is certified of ours."""
    measured = measurement("peers/popgym_arcade_tasks.json")
    lines = ["| game | seeing, at least | knowing, at most | ours | certified |", "|---|---:|---:|---|---:|"]
    for row in measured["rows"]:
        values = f"{row['seeing']:.3f} | {row['knowing']:.3f} | `{row['ours']}` | {row['certified']:.3f}"
        lines.append(f"| {row['game']} | {values} |")
    where = f"{measured['episodes']} episodes, {_packages(measured)}"
    return "\n".join([*lines, "", f"`{measured['command']}`: {where}. {_started(measured)}."])


def pobax_table() -> str:
    """The values of its T-maze and of ours."""
    measured = measurement("peers/pobax_tmaze.json")
    lines = ["| value | pobax | ours |", "|---|---:|---:|"]
    lines += [
        f"| `{name}` | {_ends(*ends)} | {_ends(*measured['ours'][name])} |" for name, ends in measured["theirs"].items()
    ]
    size = f"{measured['length']} cells of corridor, {measured['horizon']} steps, discount {measured['discount']}"
    where = f"{size}, {_packages(measured)}"
    return "\n".join([*lines, "", f"`{measured['command']}`: {where}. {_started(measured)}."])


def _packages(measured: dict[str, Any]) -> str:
    """The record's own versions stand over those of the peer's environment."""
    return ", ".join(f"{name} {version}" for name, version in measured["peer_versions"].items())


def _started(measured: dict[str, Any]) -> str:
    error = measured["first_error"]
    return "It starts with what it asks for" if error is None else f"Imported with what it asks for: `{error}`"


def memorax_table() -> str:
    """How far its models are from what they should be."""
    measured = measurement("peers/memorax_cells.json")
    lines = ["| model | steps | reset |", "|---|---:|---:|"]
    lines += [f"| {row['cell']} | {row['steps']:.1e} | {row['reset']:.1e} |" for row in measured["rows"]]
    return "\n".join([*lines, "", f"`{measured['command']}`, jax {measured['versions']['jax']}."])


def memax_table() -> str:
    """How far its layers are from what they should be, and from ours."""
    measured = measurement("peers/memax_cells.json")
    lines = ["| layer | steps | reset | states, from ours |", "|---|---:|---:|---:|"]
    for row in measured["rows"]:
        ours = "" if row["ours"] is None else f"{row['ours']:.1e}"
        lines.append(f"| {row['cell']} | {row['steps']:.1e} | {row['reset']:.1e} | {ours} |")
    where = f"memax {measured['memax']}, jax {measured['versions']['jax']}"
    return "\n".join([*lines, "", f"`{measured['command']}`: {where}."])


def stepping() -> str:
    """Environment steps, beside those of others' same tasks."""
    measured = measurement("env_throughput_cpu.json")
    shown = ", ".join(f"{row['what']} {row['steps_per_second'] / 1e6:.1f} M steps/s" for row in measured["rows"])
    ratios = ", ".join(f"{name} {ratio:.1f}" for name, ratio in measured["ratios"].items())
    versions = measured["gymnax"]["versions"] | measured["popgym"]["versions"] | measured["pobax"]["versions"]
    peers = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        f"- Stepping under random actions, {measured['rows'][0]['batch']} environments: {shown}.",
        f"  Over the same task of {peers}: {ratios}. `{measured['command']}`, {measured['device']}.",
    ]
    return "\n".join(lines)
