"""The tables of docs/peers.md."""

from __future__ import annotations

from recorded import measurement


def popjaxrl_table() -> str:
    """What can be earned in its card games, and what is certified of ours."""
    measured = measurement("peers/popjaxrl_tasks.json")
    lines = ["| game | seeing | knowing | ours, certified |", "|---|---:|---:|---:|"]
    for row in measured["rows"]:
        seeing = "" if row["seeing"] is None else f"{row['seeing']:.3f}"
        lines.append(f"| {row['game'].split('.')[1]} | {seeing} | {row['knowing']:.3f} | {row['certified']:.3f} |")
    where = f"{measured['episodes']:,} episodes, jax {measured['versions']['jax']}"
    return "\n".join([*lines, "", f"`{measured['command']}`: {where}."])


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
