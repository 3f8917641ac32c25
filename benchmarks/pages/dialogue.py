"""The tables of docs/dialogue.md, and what it says in sentences."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from recorded import measurement, section_of, where

from seqrl_jax import naming
from seqrl_jax.dialogue.bootstrapped import Bootstrapped
from seqrl_jax.dialogue.cooperative.reinforce import Reinforce
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.report.sections import Section
from seqrl_jax.report.table import Row, rows
from seqrl_jax.report.words import NONE, two, with_failures
from seqrl_jax.results.record import Record
from seqrl_jax.results.scores import between
from seqrl_jax.results.statistics import difference, estimate
from seqrl_jax.tracks.dialogue import CLAIM, RETURN, SUPPORTED, USED
from seqrl_jax.tracks.suites import suite

UTTERANCE, TOKEN = "utterance", "token"
ENOUGH, HALFWAY = 0.9, 0.5
ROUNDING = 1e-5
"""Of a share in single precision."""
VALUES = ("ilql", "cql")
"""The same two on all games: the best of many on each would beat one by luck alone."""
PROMISING = ("offline_q", "cql", "ilql", "ilql:beta=32")
Cell = tuple[str, str | None, str]
"""Method without its view, view, game."""


@dataclass(frozen=True)
class Talks:
    """A suite of dialogues."""

    section: Section

    @cached_property
    def rows(self) -> dict[Cell, Row]:
        return {(*naming.without(r.method, "view"), r.task): r for r in rows(self.section) if r.kind == "agent"}

    @cached_property
    def records(self) -> dict[Cell, Record]:
        return {(*naming.without(record.method, "view"), record.task): record for record in self.section.records}

    @property
    def games(self) -> list[str]:
        return list(self.section.tasks)

    @cached_property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(naming.without(method, "view")[0] for method in self.section.methods))

    def scaled(self, game: str, value: float) -> float:
        """A return, where 0 is the speakers of the logs and 1 the optimum."""
        bounds = self.section.bounds(game)
        return between(value, bounds["logs"].lower, bounds["best"].lower)

    def score(self, method: str, view: str, game: str) -> float | None:
        """Mean over seeds; None where it is not recorded, or no seed finished."""
        row = self.rows.get((method, view, game))
        return row.scales["normalised"].value.value if row is not None and row.scales else None

    def shown(self, method: str, view: str, game: str) -> str:
        row, score = self.rows.get((method, view, game)), two(self.score(method, view, game))
        return score if row is None else with_failures(score, row.failed, row.seeds)

    def by_seed(self, method: str, view: str, game: str) -> np.ndarray:
        """[seeds] returns, NaN of failed ones."""
        return np.array(self.records[method, view, game].metrics[RETURN], float)

    def supported(self, game: str) -> float:
        """What the best policy earns that says only what the logs show, as a score."""
        values = (row.metrics[SUPPORTED].value for (_, _, task), row in self.rows.items() if task == game)
        return self.scaled(game, next(values))


def dialogue_table() -> str:
    """The score of every method on every game, in whole utterances / word by word: means over seeds."""
    talks = Talks(section_of("dialogue"))
    heads = " | ".join(f"`{game}`" for game in talks.games)
    lines = [f"| method | {heads} | dialogues |", "|---|" + "---:|" * (len(talks.games) + 1)]
    used = {cell[0]: row.metrics[USED].value for cell, row in talks.rows.items()}
    for method in talks.methods:
        pairs = ([talks.shown(method, view, game) for view in (UTTERANCE, TOKEN)] for game in talks.games)
        lines.append(f"| `{method}` | {' | '.join(map(' / '.join, pairs))} | {used[method]:,.0f} |")
    lines.append(f"| *best in the logs* | {' | '.join(two(talks.supported(game)) for game in talks.games)} | |")
    first = talks.section.records[0]
    origin = f"{len(first.seeds)} seeds, at most {first.steps_asked:,} updates, {where(talks.section)}"
    planned, made = suite("dialogue").methods, set(talks.section.methods)
    absent = f" {len(made)} of {len(planned)} methods and views are recorded so far." if made < set(planned) else ""
    return "\n".join([*lines, "", f"`seqrl run dialogue`: {origin}.{absent}"])


def longer_table() -> str:
    """The score of each method on each of the games that took more reading."""
    return _by_utterances("dialogue_longer")


def pretrained_table() -> str:
    """The score of values alone / of values that begin with what imitated the log, at as many updates."""
    talks = Talks(section_of("dialogue_pretrained"))
    heads = " | ".join(f"`{game}`" for game in talks.games)
    lines = [f"| method | {heads} | better, worse |", "|---|" + "---:|" * (len(talks.games) + 1)]
    for name in dict.fromkeys(map(naming.base, talks.methods)):
        alone, begun = sorted((m for m in talks.methods if naming.base(m) == name), key=_pretraining)
        shown = lambda method, game: talks.shown(method, UTTERANCE, game)
        scores = [f"{shown(alone, game)} / {shown(begun, game)}" for game in talks.games]
        by_seed = lambda game, pair=(begun, alone): [talks.by_seed(method, UTTERANCE, game) for method in pair]
        gains = [difference([np.stack(by_seed(game), 1)]) for game in talks.games]
        better = sum(gain.low is not None and gain.low > 0 for gain in gains)
        worse = sum(gain.high is not None and gain.high < 0 for gain in gains)
        lines.append(f"| `{name}` | {' | '.join(scores)} | {better}, {worse} |")
    first = talks.section.records[0]
    origin = f"{len(first.seeds)} seeds, {where(talks.section)}"
    return "\n".join([*lines, "", f"`seqrl run dialogue_pretrained`: {origin}."])


def _pretraining(method: str) -> int:
    made = make_method(method)
    return made.pretraining if isinstance(made, Bootstrapped) else 0


def offline_table() -> str:
    """The score of each method on each tabular task, from logs."""
    return _by_utterances("offline")


def whole_returns_table() -> str:
    """Where methods of whole returns end, exactly, on the tabular tasks on which that is known."""
    measured = measurement("audit/audit.json")
    found = {(row["method"], row["task"]): row["attains"] for row in measured["whole_returns"]}
    methods, tasks = (list(dict.fromkeys(names)) for names in zip(*found, strict=True))
    lines = [f"| task | {' | '.join(f'`{method}`' for method in methods)} |", "|---|" + "---:|" * len(methods)]
    for task in tasks:
        lines.append(f"| `{task}` | {' | '.join(two(found.get((method, task))) for method in methods)} |")
    return "\n".join([*lines, "", f"`{measured['command']}`, exact, jax {measured['versions']['jax']}."])


def game_audit_table() -> str:
    """Of each small game luck's share, the bias of gradients with each baseline of groups, and where methods of whole
    returns end, all exact."""
    measured = measurement("audit_dialogue/audit.json")
    luck = {row["task"]: row["share"] for row in measured["luck"]}
    bias = {(row["task"], row["baseline"]): row["relative_bias"] for row in measured["groups"]}
    ends = {(row["task"], row["method"]): row["attains"] for row in measured["whole_returns"]}
    baselines, methods = (list(dict.fromkeys(key[1] for key in rows)) for rows in (bias, ends))
    heads = ["game", "luck", *(name.replace("_", " ") for name in baselines), *(f"`{method}`" for method in methods)]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for task in dict.fromkeys(task for task, _ in bias):
        biased = [NONE if (off := bias.get((task, name))) is None else f"{off:.0%}" for name in baselines]
        share = NONE if (part := luck.get(task)) is None else f"{part:.0%}"
        lines.append(f"| `{task}` | {' | '.join([share, *biased, *(two(ends.get((task, m))) for m in methods)])} |")
    return "\n".join([*lines, "", f"`{measured['command']}`, exact, jax {measured['versions']['jax']}."])


def overvalued_table() -> str:
    """Q less Q* of what a small log says first, and of what it never says."""
    measured = measurement("overvalued_cpu.json")
    columns = ("said", "unsaid")
    lines = [
        "| dialogues | method | said in the log | never said there | share never said |",
        "|---:|---|---:|---:|---:|",
    ]
    for row in measured["rows"]:
        cells = [f"{two(row[c]['value'])} [{two(row[c]['low'])}, {two(row[c]['high'])}]" for c in columns]
        lines.append(f"| {row['dialogues']} | `{row['agent']}` | {' | '.join(cells)} | {row['share_unsaid']:.0%} |")
    origin = f"{measured['seeds']} seeds, {measured['updates']} updates, on {measured['device']}"
    return "\n".join([*lines, "", f"`{measured['command']}`: {origin}, jax {measured['versions']['jax']}."])


def language_table() -> str:
    """What the languages are good for that two agents invent."""
    measured = measurement("task_and_talk_cpu.json")
    columns = {"train": "trained on", "held_out": "held out", "held_out_one": "of these one attribute"}
    columns |= {"disentanglement": "disentangled", "information": "information in one question"}
    heads = ["questions, answers", "answerer remembers", *columns.values(), "paper, held out"]
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for row in measured["rows"]:
        ends = [" ".join((two(row[c]["value"]), f"[{two(row[c]['low'])}, {two(row[c]['high'])}]")) for c in columns]
        team = f"{row['questions']}, {row['answers']} | {'yes' if row['memory'] else 'no'}"
        lines.append(f"| {team} | {' | '.join(ends)} | {two(row['paper'])} |")
    made = Reinforce(updates=measured["updates"])
    dialogues = made.updates * made.cases * made.members
    budget = f"{made.updates:,} updates and {dialogues:,} dialogues of each"
    origin = f"{measured['seeds']} seeds, {budget}, on {measured['device']}"
    return "\n".join([*lines, "", f"`{measured['command']}`: {origin}, jax {measured['versions']['jax']}."])


def language_facts() -> str:
    """Which of the runs generalise wholly, and in which each question stands for one attribute."""
    runs = {
        remembers: [
            (row["by_seed"]["held_out"][seed], row["by_seed"]["disentanglement"][seed])
            for row in measurement("task_and_talk_cpu.json")["rows"]
            if row["memory"] == remembers
            for seed in range(len(row["by_seed"]["held_out"]))
        ]
        for remembers in (False, True)
    }
    facts = []
    for remembers, pairs in runs.items():
        held_out, disentangled = (np.array(values) for values in zip(*pairs))
        whole, single = (int((values > 1 - ROUNDING).sum()) for values in (held_out, disentangled))
        ends = lambda values: f"{two(values.min())} to {two(values.max())}"
        facts.append(
            f"Of {len(pairs)} runs {'with' if remembers else 'without'} a memory {whole or 'none'} identify everything "
            f"that was held out ({ends(held_out)}), and in {single or 'none'} each question stands for one attribute "
            f"({ends(disentangled)})."
        )
    return "\n".join(f"- {fact}" for fact in facts)


def _by_utterances(name: str) -> str:
    talks = Talks(section_of(name))
    heads = " | ".join(f"`{game}`" for game in talks.games)
    lines = [f"| method | {heads} |", "|---|" + "---:|" * len(talks.games)]
    for method in talks.methods:
        scores = " | ".join(talks.shown(method, UTTERANCE, game) for game in talks.games)
        lines.append(f"| `{naming.base(method)}` | {scores} |")
    first = talks.section.records[0]
    origin = f"{len(first.seeds)} seeds, {first.steps_made:,} updates, {where(talks.section)}"
    return "\n".join([*lines, "", f"`seqrl run {name}`: {origin}."])


def dialogue_facts() -> str:
    """What the table says of the questions that it is there for."""
    talks, longer = Talks(section_of("dialogue")), Talks(section_of("dialogue_longer"))
    facts = [*(_against_imitation(talks, method) for method in VALUES), *_support(talks, longer)]
    return "\n".join(f"- {fact}" for fact in [*facts, *_talking(talks), *_views(talks), _promises(talks)])


def _against_imitation(talks: Talks, method: str) -> str:
    more_than_bc, more_than_logs = [], []
    for game in talks.games:
        mine, copied = (talks.by_seed(name, UTTERANCE, game) for name in (method, "bc"))
        gain, score = difference([np.stack([mine, copied], 1)]), estimate(mine)
        if gain.low is not None and gain.low > 0:
            more_than_bc.append(game)
        if score.low is not None and score.low > talks.section.bounds(game)["logs"].upper:
            more_than_logs.append(game)
    of_all = len(talks.games)
    return (
        f"`{method}` earns more than its logs on {len(more_than_logs)} of {of_all} games, and more than `bc` on "
        f"{len(more_than_bc)} (95% intervals; of the latter paired by seed)."
    )


def _support(talks: Talks, longer: Talks) -> list[str]:
    """Of methods that learn from logs and nothing else, and of those that read ten times as much."""
    share, more = _best_share(talks), _best_share(longer)
    short = {game: part for game, part in share.items() if part < ENOUGH}
    named = _listed(f"`{game}` ({two(part)})" for game, part in short.items())
    missed = f", and not on {named}" if short else ""
    best = f"{ENOUGH:g} or more of the best score in the support of its log"
    first = f"The best method that only reads has {best} on {len(share) - len(short)} of {len(share)} games{missed}."
    then = _listed(f"`{game}` {two(more[game])}" for game in short if game in more)
    second = [
        f"With ten times the reading, by the best of {_listed(f'`{naming.base(m)}`' for m in longer.methods)}: {then}."
    ]
    still = [game for game in short if more.get(game, ENOUGH) < ENOUGH]
    return [first, *(second if then else []), *(_why_short(longer, game) for game in still)]


def _best_share(talks: Talks) -> dict[str, float]:
    """By game, the best score of a method that only reads, in either view, as a share of the best in the support of the
    log."""
    allowed = list(product(filter(_only_reads, talks.methods), (UTTERANCE, TOKEN)))
    every = {game: [talks.score(*each, game) for each in allowed] for game in talks.games}
    return {game: max(s for s in scores if s is not None) / talks.supported(game) for game, scores in every.items()}


def _only_reads(method: str) -> bool:
    made = make_method(method)
    return not made.dialogues(0) and not made.sees_state


def _why_short(longer: Talks, game: str) -> str:
    """What values promise there, how much is earned, and whether it was still rising."""
    said = []
    for method in longer.methods:
        row, curve = longer.rows[method, UTTERANCE, game], longer.records[method, UTTERANCE, game].curves[RETURN].values
        half = two(longer.scaled(game, statistics.fmean(x for x in curve[len(curve) // 2] if x is not None)))
        last = longer.shown(method, UTTERANCE, game)
        promise = f", promised {two(longer.scaled(game, row.metrics[CLAIM].value))}" if CLAIM in row.metrics else ""
        said.append(f"`{naming.base(method)}` {half} after half of the reading and {last} after all of it{promise}")
    return f"On `{game}`, with ten times the reading: {'; '.join(said)}."


def _talking(talks: Talks) -> list[str]:
    came, never = [], []
    for game in talks.games:
        record = talks.records.get(("pg_group", UTTERANCE, game))
        if record is None:
            return []
        curve, used = record.curves[RETURN], record.finished(USED)[0]
        means = [talks.scaled(game, statistics.fmean(x for x in point if x is not None)) for point in curve.values]
        above = [place for place, mean in enumerate(means) if mean >= HALFWAY]
        if above:
            at_most = "" if above[0] > 1 else "at most "
            came.append(f"`{game}` {at_most}{used * curve.at[above[0]] / curve.at[-1]:,.0f}")
        else:
            never.append(f"`{game}`")
    rest = f"; it did not come so far on {_listed(never)}" if never else ""
    return [f"Dialogues that `pg_group` talked until it was halfway to the optimum: {_listed(came)}{rest}."]


def _views(talks: Talks) -> list[str]:
    cells = [(method, game) for method in talks.methods for game in talks.games]
    pairs = [[talks.score(method, view, game) for view in (UTTERANCE, TOKEN)] for method, game in cells]
    gaps = [abs(one - other) for one, other in pairs if one is not None and other is not None]
    if not gaps:
        return []
    gap = two(statistics.median(gaps))
    return [f"Both views have one optimum; what a method reaches in them differs by {gap} in the median of all cells."]


def _promises(talks: Talks) -> str:
    said = []
    for method in PROMISING:
        gaps = []
        for game in talks.games:
            row = talks.rows.get((method, UTTERANCE, game))
            if row is not None and row.score is not None and CLAIM in row.metrics:
                gaps.append(talks.scaled(game, row.metrics[CLAIM].value) - talks.scaled(game, row.score.value))
        if len(gaps) == len(talks.games):
            said.append(f"`{method}` {two(statistics.median(gaps))} (at most {two(max(gaps))})")
    return (
        f"What values promise of what is said first, less what is earned, in the median of the games: {_listed(said)}."
    )


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(parts)


def luck_table() -> str:
    """Regret by the dial: what training reached, and where a method ends with unlimited data."""
    measured = measurement("luck_cpu.json")
    found = {(row["agent"], row["noise"]): row for row in measured["rows"]}
    agents = list(dict.fromkeys(row["agent"] for row in measured["rows"]))
    lines = [f"| luck | {' | '.join(f'`{agent}`' for agent in agents)} |", "|---:|" + "---:|" * len(agents)]
    for noise in dict.fromkeys(row["noise"] for row in measured["rows"]):
        mine = [found[agent, noise] for agent in agents]
        limits = (f" / {row['limits']['limit']:.2f}" if "limit" in row["limits"] else "" for row in mine)
        shown = (f"{row['regret']['value']:.2f}{limit}" for row, limit in zip(mine, limits, strict=True))
        lines.append(f"| {mine[0]['luck_share']:.0%} | {' | '.join(shown)} |")
    cool = {
        agent: row["limits"]["without_luck"] for (agent, _), row in found.items() if "without_luck" in row["limits"]
    }
    costs = ", ".join(f"{cost:.2f} of `{agent}`" for agent, cost in cool.items())
    where = f"{measured['seeds']} seeds, on {measured['device']}, jax {measured['versions']['jax']}"
    return "\n".join(
        [*lines, "", f"What their temperature costs without luck: {costs}. `{measured['command']}`: {where}."]
    )
