"""Fill the README's tables from recorded results; --check only says whether they are up to date.

python benchmarks/readme.py [--check]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from seqrl_jax.bench.alignment_results import read_alignment
from seqrl_jax.bench.alignment_table import alignment_rows, caveats, in_registry_order
from seqrl_jax.tracks.oracles import ORACLES
from seqrl_jax.results.store import CERTIFIED, read_cells
from seqrl_jax.tracks.suites import in_order
from seqrl_jax.report.table import aggregate_rows, table_rows
from seqrl_jax.files import write_whole
from seqrl_jax.lm.registry import METHODS
from seqrl_jax.lm.tasks import TASKS as LM_TASKS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SHORT = {"memoryless_deterministic": "best deterministic", "memoryless_stochastic": "best memoryless"}


def quick_table() -> str:
    """Tasks down, certified values and agents across, and the interquartile mean over tasks and seeds."""
    cells = in_order(read_cells(RESULTS / "quick")[0])
    rows = table_rows(cells)
    overall = {(row["kind"], row["agent"]): row for row in aggregate_rows(cells)}
    agents = list(dict.fromkeys(cell.agent for cell in cells if not cell.marked_wrong and cell.config))
    agents += list(dict.fromkeys(cell.agent for cell in cells if cell.marked_wrong))
    columns = [("certified", name) for name in CERTIFIED[1:3]] + [("agent", name) for name in agents]
    wrong = {cell.agent for cell in cells if cell.marked_wrong}
    heads = [SHORT.get(name, f"`{name}`{'†' if name in wrong else ''}") for _, name in columns]
    lines = [f"| task | {' | '.join(heads)} |", "|---|" + "---:|" * len(columns)]
    for task in dict.fromkeys(cell.task for cell in cells):
        scores = {(row["kind"], row["agent"]): row["normalised"]["mean"] for row in rows if row["task"] == task}
        lines.append(f"| `{task}` | {' | '.join(_two(scores[column]) for column in columns)} |")
    means = [overall[column] for column in columns]
    lines.append(f"| **IQM** | {' | '.join(_with_interval(row) for row in means)} |")
    first = next(cell for cell in cells if cell.config)
    told = f"`seqrl run quick`: {len(first.seeds)} seeds, {first.config['steps']:,} steps per run"
    return "\n".join([*lines, "", f"{told}, on {first.device}, jax {first.versions['jax']}."])


def headline_table() -> str:
    """The memory score of every agent on the tasks that need memory: interquartile mean and interval over seeds."""
    cells = in_order(read_cells(RESULTS / "headline")[0])
    rows = {(row["task"], row["agent"]): row for row in table_rows(cells) if row["kind"] == "agent"}
    agents = [name for name in dict.fromkeys(cell.agent for cell in cells) if name not in ORACLES]
    wrong = {cell.agent for cell in cells if cell.marked_wrong}
    heads = [f"`{name}`{'†' if name in wrong else ''}" for name in agents]
    lines = [f"| task | {' | '.join(heads)} |", "|---|" + "---:|" * len(agents)]
    for task in dict.fromkeys(cell.task for cell in cells):
        scores = [rows[task, agent]["memory"] for agent in agents]
        shown = (f"{_two(s['iqm'])} [{_two(s['low'])}, {_two(s['high'])}]" for s in scores)
        lines.append(f"| `{task}` | {' | '.join(shown)} |")
    first = next(cell for cell in cells if cell.config)
    told = f"`seqrl run headline`: {len(first.seeds)} seeds, {first.config['steps']:,} steps per run"
    return "\n".join([*lines, "", f"{told}, on {first.device}, jax {first.versions['jax']}."])


def claims_table() -> str:
    """What value-based agents say of their final policy, and what it earns: means over seeds."""
    cells = [cell for cell in in_order(read_cells(RESULTS / "headline")[0]) if cell.claims is not None]
    rows = {(row["task"], row["agent"]): row for row in table_rows(cells) if row["kind"] == "agent"}
    agents = list(dict.fromkeys(cell.agent for cell in cells))
    lines = [f"| task | {' | '.join(f'`{name}`' for name in agents)} |", "|---|" + "---:|" * len(agents)]
    for task in dict.fromkeys(cell.task for cell in cells):
        shown = [f"{_two(rows[task, a]['claims'])} / {_two(rows[task, a]['score']['mean'])}" for a in agents]
        lines.append(f"| `{task}` | {' | '.join(shown)} |")
    return "\n".join(lines)


def audit_table() -> str:
    """The lecture's summary: a number behind every word."""
    told = _read("audit/audit.json")
    lines = ["| method | fully observed | partially observed | the number is |", "|---|---|---|---|"]
    for row in told["summary"]:
        percent = row["unit"].startswith("relative")
        shown = (_word(row[setting], percent) for setting in ("observed", "partially observed"))
        method = row["method"].replace("|", "\\|")
        lines.append(f"| {method} | {' | '.join(shown)} | {row['unit']} |")
    return "\n".join([*lines, "", f"`{told['command']}`, exact, jax {told['versions']['jax']}."])


def latent_table() -> str:
    """Agents on a learned state and on the exact belief, and what the learned model knows."""
    told = _read("latent_cpu.json")
    rows = {(row["agent"], row["task"]): row for row in told["rows"]}
    lines = [
        "| task | memory score of `latent_q` | of `belief_q` | log-loss, model / filter | state, probe / belief |",
        "|---|---:|---:|---:|---:|",
    ]
    for task in dict.fromkeys(row["task"] for row in told["rows"]):
        latent, belief = rows["latent_q", task], rows["belief_q", task]
        shown = (
            f"{_two(m['iqm'])} [{_two(m['low'])}, {_two(m['high'])}]" for m in (latent["memory"], belief["memory"])
        )
        pairs = (("log_loss", "filter_log_loss"), ("probe", "belief_entropy"))
        nats = (f"{latent[one]:.3f} / {latent[other]:.3f}" for one, other in pairs)
        lines.append(f"| `{task}` | {' | '.join(shown)} | {' | '.join(nats)} |")
    where = f"{told['seeds']} seeds, {told['steps']:,} steps per run, on {told['device']}"
    return "\n".join([*lines, "", f"`{told['command']}`: {where}, jax {told['versions']['jax']}."])


def alignment_table() -> str:
    """What every method earns, spends and leaves on the table: means over seeds."""
    cells = in_registry_order(read_alignment(RESULTS / "lm")[0])
    rows = {(row["method"], row["task"]): row for row in alignment_rows(cells)}
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    heads = " | ".join(f"`{task}`" for task in tasks)
    lines = [f"| method | {heads} | short of J*, `{tasks[0]}` |", "|---|" + "---:|" * (len(tasks) + 1)]
    for method in dict.fromkeys(cell.method for cell in cells):
        mine = [rows.get((method, task)) for task in tasks]
        shown = [
            " / ".join(_two(row[name]["mean"]) for name in ("reward", "kl", "regret")) if row else "" for row in mine
        ]
        short = mine[0] and mine[0]["shortfall"]
        last = f"{_two(short['mean'])} [{_two(short['low'])}, {_two(short['high'])}]" if short else ""
        lines.append(f"| `{method}` | {' | '.join(shown)} | {last} |")
    why = "; ".join(caveats([row for row in rows.values() if row["task"] == tasks[0]]))
    best = ", ".join(f"`{task}` {_two(next(c.best_reward[0] for c in cells if c.task == task))}" for task in tasks)
    where = f"{len(cells[0].seeds)} seeds, on {cells[0].device}, jax {cells[0].versions['jax']}"
    missing = [f"`{task}`" for task in LM_TASKS if task not in tasks]
    missing += [f"`{m}` on `{t}`" for t in tasks for m in METHODS if (m, t) not in rows]
    absent = f" Not recorded yet: {', '.join(missing)}." if missing else ""
    larger, _ = read_alignment(RESULTS / "lm_larger")
    left = ", ".join(f"`{row['method']}` {_two(row['shortfall']['mean'])}" for row in alignment_rows(larger))
    why = f" Further than .1 from J* on `{tasks[0]}`, {why}. With more, {len(larger[0].seeds)} seeds: {left}."
    return "\n".join([*lines, "", f"Largest gold reward: {best}.{why} `seqrl run lm`: {where}.{absent}"])


def overoptimisation_table(name: str) -> str:
    """Where the gold reward peaks and ends when a proxy is climbed to the end."""
    told = _read(f"{name}.json")
    rows = {(row["proxy"], row["pairs"], row["noise"]): row for row in told["rows"]}
    proxies = list(dict.fromkeys(row["proxy"] for row in told["rows"]))
    noises = list(dict.fromkeys(row["noise"] for row in told["rows"]))
    columns = [(proxy, noise) for proxy in proxies for noise in noises]
    heads = [f"{proxy}{f', noise {noise:g}' if noise else ''}" for proxy, noise in columns]
    lines = [f"| pairs | {' | '.join(heads)} |", "|---|" + "---:|" * len(columns)]
    for pairs in dict.fromkeys(row["pairs"] for row in told["rows"]):
        mine = [rows[proxy, pairs, noise] for proxy, noise in columns]
        shown = (f"{_two(row['gold_peak'])} / {_two(row['gold_end'])}" for row in mine)
        lines.append(f"| {pairs:,} | {' | '.join(shown)} |")
    seeds = f"{told['seeds']} seed{'s' if told['seeds'] > 1 else ''}"
    where = f"{seeds}, on {told['device']}, jax {told['versions']['jax']}"
    return "\n".join([*lines, "", f"`{told['command']}`: {where}."])


def measurements() -> str:
    """One line per benchmark, with its command and machine."""
    stepping = _read("env_throughput_cpu.json")
    speed = {entry["what"]: entry["steps_per_second"] / 1e6 for entry in stepping["rows"]}
    shown = ", ".join(f"{what} {rate:.1f} M steps/s" for what, rate in speed.items())
    batch, device = stepping["rows"][0]["batch"], stepping["rows"][0]["device"]
    lines = [
        f"- Stepping under a random policy, {batch} environments: {shown}; ratio {stepping['ratio']:.2f} to gymnax.",
        f"  `{stepping['command']}`, {device}.",
    ]
    for name in ("stacked_row_quick_cpu.json", "stacked_row_cpu.json"):
        row = _read(name)
        one, many = (statistics.median(row[key]) for key in ("stacked_seconds", "one_after_another_seconds"))
        lines += [
            f"- {row['what']}: {one:.1f} s in one program, {many:.1f} s one task after another,",
            f"  {row['ratio_of_medians']:.1f} times as fast. `{row['command']}`, {row['device']}.",
        ]
    return "\n".join([*lines, *_recurrent_speed(), *_replay(), *_history_memory(), *_against_trl()])


def _recurrent_speed() -> list[str]:
    speed = _read("recurrent_speed_cpu.json")
    lines = []
    for row in speed["textbook"]:
        rates = ", ".join(f"{name} {rate / 1e3:.0f}k steps/s" for name, rate in row["steps_per_second"].items())
        lines.append(f"- {row['what']}: {rates}; {row['median_ratio']:.2f} times the textbook loop.")
    for row in speed["peers"]:
        lines.append(
            f"- {row['what']}, against sb3-contrib {row['versions']['sb3-contrib']} (an LSTM of that width): "
            f"{row['steps_per_second'] / 1e3:.0f}k steps/s; {row['ratio']:.1f} times as fast."
        )
    shares = ", ".join(f"{share:.2f} with {n}" for n, share in speed["seeds"]["share_of_a_single_run"].items())
    recall = speed["recall"]
    return [
        *lines,
        f"- {speed['seeds']['what']}: cost per seed against a run alone, by stacked seeds: {shares}.",
        f"- {recall['what']}: {recall['cold_seconds']:.1f} s, mean return {recall['mean_return']:.2f} of "
        f"{recall['optimum']:.0f}.",
        f"  `{speed['command']}`, {speed['device']}.",
    ]


def _replay() -> list[str]:
    ring = _read("replay_ring_cpu.json")
    told = ", ".join(f"{row['flashbax_over_ring']:.1f} with {row['runs']} stacked runs" for row in ring["rows"])
    return [
        f"- Replay, time of flashbax {ring['flashbax']} over ours: {told}.",
        f"  `{ring['command']}`, {ring['device']}.",
    ]


def _history_memory() -> list[str]:
    memory = _read("history_memory_cpu.json")
    growth, last = memory["growth_exponent"], memory["rows"][-1]
    return [
        f"- Memory to learn from histories of {last['horizon']} steps:",
        f"  {last['carry_bytes'] / 2**20:.0f} MiB with a GRU,",
        f"  {last['written_out_bytes'] / 2**20:.0f} MiB with the history written out at every step; they grow as the",
        f"  horizon to the power of {growth['carry_bytes']:.2f} and {growth['written_out_bytes']:.2f}.",
        f"  `{memory['command']}`.",
    ]


def _against_trl() -> list[str]:
    lines = []
    for name, batches in (("trl_losses_cpu.json", "with padding"), ("trl_losses_ppo_cpu.json", "of one length")):
        losses = _read(name)
        worst = [max(row[key] for row in losses["rows"]) for key in ("loss_apart", "gradient_apart")]
        methods = ", ".join(row["method"] for row in losses["rows"])
        lines += [
            f"- Against TRL {losses['trl']} ({methods}), on shared weights and random batches {batches}:",
            f"  losses differ by {worst[0]:.0e} at most, gradients by {worst[1]:.0e} of their largest entry.",
            f"  `{losses['command']}`.",
        ]
    for name in ("trl_speed_cpu.json", "trl_speed_ppo_cpu.json"):
        speed = _read(name)
        times = "; ".join(
            f"{row['method']} {row['faster_alone']:.1f} times as fast, 16 seeds {row['faster_per_seed_of_16']:.1f}"
            for row in speed["rows"]
        )
        lines += [f"- An update against TRL {speed['trl']}: {times}.", f"  `{speed['command']}`, {speed['device']}."]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    path = ROOT / "README.md"
    text = old = path.read_text(encoding="utf-8")
    contents = {
        "quick table": quick_table(),
        "headline table": headline_table(),
        "claims": claims_table(),
        "audit": audit_table(),
        "latent": latent_table(),
        "alignment": alignment_table(),
        "overoptimisation": "\n\n".join(map(overoptimisation_table, ("overoptimisation", "overoptimisation_models"))),
        "measurements": measurements(),
    }
    for name, content in contents.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        text = f"{before}{mark}{content}\n{end}{after}"
    if options.check:
        sys.exit(0 if text == old else "README.md does not show the recorded results: run benchmarks/readme.py")
    write_whole(path, text.encode())


def _word(entry: dict[str, Any] | None, percent: bool) -> str:
    if entry is None:
        return ""
    if entry["word"] == "valid":
        return f"valid on {entry['tasks']} tasks"
    number = f"{entry['number']:.0%}" if percent else f"{entry['number']:+.3g}"
    return f"wrong by up to {number}, on {entry['wrong_tasks']} of {entry['tasks']}"


def _two(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"


def _with_interval(row: dict[str, Any]) -> str:
    return f"{row['iqm']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def _read(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
