"""The tables of docs/speed.md, and what the README says of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

from pages.capacity import SHARDING
from pages.peers import stepping
from recorded import measurement

ACCELERATOR = "accelerator_h200.json"
RECURRENT = ("recurrent_speed_cpu.json", "recurrent_speed_h200.json")
STEPPING, PUREJAXRL, PROFILES = "env_throughput_cpu.json", "peers/purejaxrl_ppo_cpu.json", "profiles_cpu.json"
REJAX = "rejax_speed_cpu.json"
ALIGN = "align_speed_cpu.json"
ALIGN_PEERS = {"transformers": "a plain loop around `transformers`", "trl": "TRL's trainer"}
VIRTUAL = 8
"""Devices over which a row is laid to see what laying it costs."""
Row = dict[str, Any]


def stepping_speed() -> str:
    """Environment steps per second of every task, batch by batch, with jax's default generator."""
    part = measurement(ACCELERATOR)["stepping"]
    mine = [row for row in part["rows"] if row["generator"] == "threefry2x32"]
    return _by_size(part, mine, "task", "environments", lambda row: f"{row['steps_per_second'] / 1e9:.2f}")


def agents_speed() -> str:
    """Training steps per second of all runs together, and what a run costs where a run alone costs 1."""
    part = measurement(ACCELERATOR)["training"]
    alone = {row["what"]: row["seconds_of_a_run"] for row in part["rows"] if row["batch"] == 1}

    def shown(row: Row) -> str:
        return f"{row['steps_per_second'] / 1e6:.2f} / {row['seconds_of_a_run'] / alone[row['what']]:.4f}"

    return "\n\n".join([_by_size(part, part["rows"], "agent", "runs", shown), _alone()])


def _alone() -> str:
    """A run of the shipped PPO by itself, on each device."""
    both = [measurement(name) for name in RECURRENT]
    rates = [f"{each['seeds']['steps_per_second']['1'] / 1e3:.0f}k steps/s on {each['device']}" for each in both]
    return f"One run alone, {both[0]['seeds']['what']}: {', '.join(rates)}."


def language_speed() -> str:
    """Tokens per second and the share of the stated peak, with either kernel of attention."""
    part = measurement(ACCELERATOR)["language"]
    named = [{**row, "what": f"{row['what']}, {row['attention']}"} for row in part["rows"]]

    def shown(row: Row) -> str:
        return f"{row['tokens_per_second'] / 1e6:.2f} / {row['share']:.0%}"

    return _by_size(part, named, "model, attention", "texts", shown)


def highlights() -> str:
    """The largest rates on the accelerator."""
    measured = measurement(ACCELERATOR)
    rate = itemgetter("steps_per_second")
    fastest = max(measured["stepping"]["rows"], key=rate)
    trained = max((row for row in measured["training"]["rows"] if row["what"] == "ppo"), key=rate)
    return "\n".join(
        [
            f"On one {measured['stepping']['device']}, {fastest['batch']:,} environments of `{fastest['what']}` make "
            f"{rate(fastest) / 1e9:.0f} billion steps/s under random actions, and",
            f"{trained['batch']:,} runs of recurrent `ppo`, all of them one program, train on "
            f"{rate(trained) / 1e6:.0f} million.",
        ]
    )


def _by_size(part: Row, rows: list[Row], what: str, size: str, shown: Callable[[Row], str]) -> str:
    """Whatever is measured down, sizes across."""
    cells = {(row["what"], row["batch"]): shown(row) for row in rows}
    sizes = sorted({row["batch"] for row in rows})
    lines = [f"| {what}; {size}: | {' | '.join(f'{each:,}' for each in sizes)} |", "|---|" + "---:|" * len(sizes)]
    for name in dict.fromkeys(row["what"] for row in rows):
        lines.append(f"| `{name}` | {' | '.join(cells.get((name, each), '') for each in sizes)} |")
    return "\n".join([*lines, "", f"`{part['command']}`: {part['device']}, jax {part['versions']['jax']}."])


def measurements() -> str:
    """One line per benchmark, with its command and machine."""
    lines = [stepping()]
    for name in ("stacked_row_quick_cpu.json", "stacked_row_cpu.json"):
        row = measurement(name)
        one, many = (statistics.median(row[key]) for key in ("stacked_seconds", "one_after_another_seconds"))
        lines += [
            f"- {row['what']}: {one:.1f} s in one program, {many:.1f} s one task after another,",
            f"  {row['ratio_of_medians']:.1f} times as fast. `{row['command']}`, {row['device']}.",
        ]
    for name in RECURRENT:
        lines += _recurrent_speed(name)
    lines += [_against_purejaxrl(), _against_rejax(), *_replay(), *_history_memory(), *_against_trl(), *_align()]
    return "\n".join(lines)


def _against_purejaxrl() -> str:
    measured = measurement(PUREJAXRL)
    ratios = ", ".join(f"{row['what']} {row['median_ratio']:.2f} with {row['agents']}" for row in measured["rows"])
    return (
        f"- PPO on {measured['task']} against PureJaxRL's, written anew, at equal networks, updates and losses; "
        f"times as fast, by runs in one program: {ratios}.\n  `{measured['command']}`, {measured['device']}."
    )


def _against_rejax() -> str:
    measured = measurement(REJAX)
    ratios = ", ".join(f"{row['ratio']:.2f} with {row['agents']}" for row in measured["rows"])
    return (
        f"- PPO on CartPole-v1 against rejax {measured['rejax']}, at equal sizes; times as fast, by runs in one "
        f"program: {ratios}.\n  `{measured['command']}`, {measured['device']}."
    )


def _recurrent_speed(name: str) -> list[str]:
    speed = measurement(name)
    lines = []
    for row in speed["textbook"]:
        rates = ", ".join(f"{name} {rate / 1e3:.0f}k steps/s" for name, rate in row["steps_per_second"].items())
        lines.append(f"- {row['what']}: {rates}; {row['median_ratio']:.2f} times the textbook loop.")
    for row in speed.get("peers", ()):
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


def profiles() -> str:
    """Parts of the hot paths: times without what makes them fast and with it, and how near the roof they come."""
    measured = measurement(PROFILES)
    rows = {(row["path"], row["part"], row["when"]): row for row in measured["rows"]}
    lines = ["| path | part | before | now | of the roof | all kinds of work |", "|---|---|---:|---:|---|---:|"]
    for path, part in dict.fromkeys((row["path"], row["part"]) for row in measured["rows"]):
        before, after = rows[path, part, "before"], rows[path, part, "after"]
        lines.append(
            f"| {path} | {part} | {before['milliseconds']:.1f} ms | {after['milliseconds']:.1f} ms | "
            f"{after['share']:.0%} of {after['bound']} | {sum(after['needed'].values()):.0%} |"
        )
    return "\n".join([*lines, "", f"`{measured['command']}`, {measured['device']}."])


def goals() -> str:
    """What the suite wants to be, and what was measured."""
    lines = ["| what | goal | measured | on |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in [*_goals_on_cores(), *_goals_on_an_accelerator()]]
    return "\n".join(lines)


def _goals_on_cores() -> Iterator[tuple[str, str, str, str]]:
    env, recurrent, peer = (measurement(name) for name in (STEPPING, RECURRENT[0], PUREJAXRL))
    on = lambda measured: str(measured["device"])
    cards = env["popgym"]["ratios"].values()
    rooms = {name.partition(":")[0]: f"{ratio:.1f}x" for name, ratio in env["pobax"]["ratios"].items()}
    yield "`memory_chain` against gymnax's, steps/s", "2x", f"{env['ratios']['memory_chain']:.1f}x", on(env)
    yield "card tasks against POPGym's", "30x", f"{min(cards):.0f}x to {max(cards):.0f}x", on(env)
    yield "`tmaze` against pobax's", "3x", rooms["tmaze"], on(env)
    yield "`rock_sample` of 7 x 7 cells and 8 rocks against pobax's", "4x", rooms["rock_sample"], on(env)
    names = {("ppo", 1): "1.2x", ("ppo", 16): "1.2x", ("ppo_rnn", 1): "1.5x", ("ppo_rnn", 10): "2.5x"}
    for row in peer["rows"]:
        what = f"`{row['what']}` of PureJaxRL on CartPole, equal networks, {row['agents']} runs"
        yield what, names[row["what"], row["agents"]], f"{row['median_ratio']:.2f}x", on(peer)
    yield (
        "recurrent PPO against sb3-contrib, same sizes, one run",
        "8x",
        _span(recurrent["peers"], "ratio"),
        on(recurrent),
    )
    shares, spread = recurrent["seeds"]["share_of_a_single_run"], recurrent["seeds"].get("devices", {"50": 1})["50"]
    what = f"a seed of 50 in one program on {spread} device{'s'[: spread - 1]}, of a run alone"
    yield what, "under .4", f"{shares['50']:.2f}", on(recurrent)
    profiled = measurement(PROFILES)
    (update,) = [
        row for row in profiled["rows"] if (row["path"], row["when"], row["part"]) == ("update", "after", "all")
    ]
    assert update["bound"] == "products"
    yield "matrix peak in a recurrent PPO update", "60%", f"{update['share']:.0%}", on(profiled)
    trl = measurement("trl_speed_cpu.json")
    yield "an update against TRL", "8x", _span(trl["rows"], "faster_alone"), on(trl)
    align = measurement(ALIGN)
    for each in align["rows"]:
        for peer, ratio in each["faster_than"].items():
            what = f"`seqrl align {each['method']}` against {ALIGN_PEERS[peer]}, tokens/s"
            yield what, "1.5x" if peer == "transformers" else "2x", f"{ratio:.2f}x", on(align)
    row = measurement("stacked_row_cpu.json")
    yield f"{row['what']}, against cells one after another", "5x", f"{row['ratio_of_medians']:.1f}x", on(row)
    spread = measurement(SHARDING)
    for each in spread["rows"]:
        if each["devices"] == VIRTUAL:
            what = f"{each['runs']} runs of `{each['agent']}` over {VIRTUAL} virtual devices, over the fastest number"
            yield what, "under 10%", f"{each['warm_against_fastest'] - 1:.0%}", on(spread)
    driver = measurement("driver_cpu.json")
    for each in driver["rows"]:
        what = f"driver, {each['cells']:,} cells; {each['what']}"
        yield what, "1 ms a cell", f"{each['milliseconds_a_cell']:.3g} ms", on(driver)
    table = measurement("many_records_cpu.json")
    for each in table["rows"]:
        if each["records"] == "packed" and each["what"] in ("seqrl check", "seqrl table", "seqrl report"):
            yield f"`{each['what']}` of {table['cells']:,} cells", "5 s", f"{each['seconds']:.1f} s", on(table)


def _span(rows: list[Row], ratio: str) -> str:
    """Of ratios, the least and the largest."""
    ratios = [row[ratio] for row in rows]
    return f"{min(ratios):.1f}x to {max(ratios):.1f}x"


def _goals_on_an_accelerator() -> Iterator[tuple[str, str, str, str]]:
    measured = measurement(ACCELERATOR)
    stepping, language = measured["stepping"], measured["language"]
    best = max(row["steps_per_second"] for row in stepping["rows"] if row["what"].startswith("tmaze"))
    yield "environment steps/s of a tabular task", "1e10", f"{best:.1e}", str(stepping["device"])
    share = max(row["share"] for row in language["rows"] if row["what"].startswith("25M"))
    yield "GPT of 25 million weights, of the bfloat16 peak", "40%", f"{share:.0%}", str(language["device"])
    seeds = measurement(RECURRENT[1])
    shares = seeds["seeds"]["share_of_a_single_run"]
    yield "a seed of 50 in one program, of a run alone", "under .05", f"{shares['50']:.3f}", str(seeds["device"])


def _replay() -> list[str]:
    ring = measurement("replay_ring_cpu.json")
    ratios = ", ".join(f"{row['flashbax_over_ring']:.1f} with {row['runs']} stacked runs" for row in ring["rows"])
    return [
        f"- Replay, time of flashbax {ring['flashbax']} over ours: {ratios}.",
        f"  `{ring['command']}`, {ring['device']}.",
    ]


def _history_memory() -> list[str]:
    memory = measurement("history_memory_cpu.json")
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
        losses = measurement(name)
        worst = [max(row[key] for row in losses["rows"]) for key in ("loss_apart", "gradient_apart")]
        methods = ", ".join(row["method"] for row in losses["rows"])
        lines += [
            f"- Against TRL {losses['trl']} ({methods}), on shared weights and random batches {batches}:",
            f"  losses differ by {worst[0]:.0e} at most, gradients by {worst[1]:.0e} of their largest entry.",
            f"  `{losses['command']}`.",
        ]
    for name in ("trl_speed_cpu.json", "trl_speed_ppo_cpu.json"):
        speed = measurement(name)
        times = "; ".join(
            f"{row['method']} {row['faster_alone']:.1f} times as fast, 16 seeds {row['faster_per_seed_of_16']:.1f}"
            for row in speed["rows"]
        )
        lines += [f"- An update against TRL {speed['trl']}: {times}.", f"  `{speed['command']}`, {speed['device']}."]
    return lines


def _align() -> list[str]:
    """`seqrl align` beside others, and how long each needs to its first point."""
    measured = measurement(ALIGN)
    lines = []
    for row in measured["rows"]:
        shown = ", ".join(
            f"{side} {rate:,.0f} tokens/s ({row['cold_seconds'][side]:.1f} s cold)"
            for side, rate in row["tokens_per_second"].items()
        )
        lines.append(f"- `seqrl align {row['method']}`, a GPT-2 with a million weights: {shown}.")
    peers = ", ".join(f"{name} {version}" for name, version in measured["peers"].items())
    return [*lines, f"  {peers}. `{measured['command']}`, {measured['device']}."]
