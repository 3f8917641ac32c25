"""The track of dialogues: what is learned from logs of imperfect speakers, between them and the optimum."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax import naming, parts
from seqrl_jax.descriptions import about_module, described
from seqrl_jax.devices import over_devices
from seqrl_jax.dialogue import registry as games
from seqrl_jax.dialogue.data import Data, data_of
from seqrl_jax.dialogue.exact import Known, seen_in
from seqrl_jax.dialogue.files import read_log
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.logs import Log, logger
from seqrl_jax.dialogue.luck import luck_share
from seqrl_jax.dialogue.method import Method, Training
from seqrl_jax.dialogue.methods import METHODS, make_method, method_settings
from seqrl_jax.dialogue.registry import GAMES, make_game
from seqrl_jax.dialogue.talking import talk
from seqrl_jax.dialogue.views import spelling
from seqrl_jax.keys import key_of
from seqrl_jax.results import parameters
from seqrl_jax.results.record import Bound, Curve, PerSeed, Record
from seqrl_jax.tasks.tabular import fingerprint
from seqrl_jax.tracks.base import Budget, Column, Entry, Loop, Outcome, Picture, Scale, Status
from seqrl_jax.tracks.clock import Clock
from seqrl_jax.tracks.size import trained

LOGGED = 100_000
"""Dialogues in a log; every seed has one of its own."""
POINT, POINTS = 256, 8
"""Dialogues behind a point of a curve; a score is the mean of so many points, all judged by one program."""
TALK_STREAM = 2**31
"""Sets the dialogues of evaluation apart from those of training."""
RETURN, CLAIM, KL, TURNS, USED = "return", "claim", "kl", "turns", "dialogues"
SUPPORTED, LUCK = "supported", "luck_share"


@dataclass(frozen=True, eq=False)
class DialogueProblem:
    """A game with what is known of it exactly. Logs, and what can be earned within them, are made when they are asked
    for, and kept, but for a log of somebody else, which is that of every seed."""

    spec: str
    known: Known
    given: Log | None = None
    _logs: dict[int, Log] = field(default_factory=dict, repr=False)
    _supported: dict[int, float] = field(default_factory=dict, repr=False)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint_of(self.known.game)

    @property
    def logged(self) -> int:
        """Dialogues in a log."""
        return LOGGED if self.given is None else len(self.given.length)

    @cached_property
    def learned_from(self) -> dict[str, Any]:
        """What a cell's log is, for its configuration: how many dialogues, and which where they are somebody else's.
        The game is the same task whoever spoke in it; its fingerprint is not of them."""
        if self.given is None:
            return {"logged": self.logged}
        return {"logged": self.logged, "log": digest_of(self.given)}

    @cached_property
    def bounds(self) -> Mapping[str, Bound]:
        exact = {
            "logs": (self.known.logged, "the speakers of the logs"),
            "best": (self.known.best, "backward induction"),
        }
        values = {name: (self.known.value(plan), how) for name, (plan, how) in exact.items()}
        return {
            name: Bound(value, value, f"exact: {how} over beliefs and turns") for name, (value, how) in values.items()
        }

    @property
    def program(self) -> str:
        """Games differ in their shapes: each is a program of its own."""
        return self.spec

    @cached_property
    def luck(self) -> float:
        return luck_share(self.known)

    @cached_property
    def _logger(self) -> Callable[[int, int], Log]:
        return logger(self.known.game)

    def log(self, seed: int) -> Log:
        """What was said in the log of this seed."""
        if self.given is not None:
            return self.given
        if seed not in self._logs:
            self._logs[seed] = _what_was_said(self._logger(LOGGED, seed))
        return self._logs[seed]

    def supported(self, seed: int) -> float:
        """The value of the best policy that says only what the log of this seed shows, where it shows anything."""
        if seed not in self._supported:
            log = self.log(seed)
            seen = seen_in(self.known, log.utterance, log.reply, log.length)
            self._supported[seed] = self.known.value(self.known.supported(seen))
        return self._supported[seed]


def fingerprint_of(game: Game) -> str:
    """Of the task, and of how its speakers choose, who are the 0 of its scale."""
    digest = hashlib.sha256(fingerprint(game.task).encode())
    for speaker in game.speakers:
        digest.update(f"{speaker.share!r}{speaker.rule}".encode() + speaker.merit.tobytes())
    return digest.hexdigest()[:16]


def digest_of(log: Log) -> str:
    """Of what was said in a log, and what it earned."""
    digest = hashlib.sha256()
    for array in (log.utterance, log.reply, log.reward, log.length):
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class DialogueTrack:
    """`Budget.steps` is the most updates that a method makes; `steps_as_shipped` leaves it at what it ships with.

    log: a file of dialogues of one game, from which all learn instead of from logs of the game's own speakers.
    """

    log: Path | None = None
    name: str = "dialogue"
    about: str = "dialogues of many turns: what is learned from the logs of imperfect speakers?"
    steps_as_shipped: int = 0
    columns: Sequence[Column] = (
        Column(RETURN, "return", unit="return", better="higher"),
        Column(CLAIM, "claims", unit="return that its values promise, of what it says first", better=None),
        Column(KL, "KL", unit="nats to the speakers of the logs, whole dialogues", better=None),
        Column(TURNS, "turns", unit="turns of a dialogue", better=None),
        Column(LUCK, "luck", unit="share of luck in the variance of logged returns", better=None),
        Column(USED, "dialogues", unit="dialogues learned from", better="lower"),
        Column(
            SUPPORTED, "in the log", unit="return of the best policy that says only what its log shows", better=None
        ),
    )
    scales: Sequence[Scale] = (
        Scale("normalised", "logs", "best", "0 is the speakers of the logs, 1 the best policy of the whole dialogue"),
    )

    @property
    def tasks(self) -> Mapping[str, Entry]:
        return {
            name: Entry(about.idea, detail=about.detail, settings=naming.describe_settings(build))
            for name, build in GAMES.items()
            for about in [described(build)]
        }

    @property
    def methods(self) -> Mapping[str, Entry]:
        return {
            name: Entry(entry.about, entry.method.marked_wrong, about_module(entry.method), method_settings(name))
            for name, entry in METHODS.items()
        }

    @property
    def bounds(self) -> Mapping[str, str]:
        return {"logs": "the speakers whose dialogues were logged", "best": "the best policy of the whole dialogue"}

    def knows(self, task: str) -> bool:
        return games.known(task)

    def check(self, tasks: Sequence[str], methods: Sequence[str]) -> None:
        for spec in tasks:
            make_game(spec)
        for spec in methods:
            method = make_method(spec)
            if self.log is not None and method.sees_state:
                raise ValueError(f"{self.log}: {spec} learns from the user's states, which are in no file")
            if self.log is not None and not method.reads_logs:
                raise ValueError(f"{self.log}: {spec} learns from no log, it talks with the user itself")

    def problems(
        self, specs: Sequence[str], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> list[DialogueProblem]:
        if self.log is not None and len(specs) > 1:
            raise ValueError(f"{self.log}: a log is of one game, and {len(specs)} are to be learned")
        problems = []
        for spec in specs:
            known = Known(make_game(spec))
            problems.append(DialogueProblem(spec, known, self._given(known.game)))
            _ = problems[-1].bounds
            progress(len(problems), len(specs))
        return problems

    def fingerprint(self, task: str) -> str:
        return fingerprint_of(make_game(task))

    def config(self, method: str, problem: DialogueProblem, budget: Budget) -> dict[str, Any]:
        settings = parts.values_of(self._method(method, budget))
        return {"method": settings, **problem.learned_from, "evaluations": budget.evaluations}

    def code(self, method: str) -> Sequence[str]:
        chosen = make_method(method)
        return (type(chosen).__module__, type(chosen.memory).__module__, "seqrl_jax.dialogue.talking")

    def task_code(self, task: str) -> Sequence[str]:
        return ()

    def row(self, method: str, problems: Sequence[DialogueProblem], budget: Budget, loop: Loop) -> list[Outcome]:
        chosen = self._method(method, budget)
        return [_outcome(chosen, problem, budget, loop) for problem in problems]

    def task_facts(self, task: str) -> Mapping[str, str]:
        return {}

    def method_facts(self, method: str) -> Mapping[str, str]:
        try:
            made = make_method(method)
        except naming.SpecError:
            return {}
        return {"learns from": "logs" if made.reads_logs else "its own dialogues", "a symbol is": f"one {made.view}"}

    def notes(self, records: Sequence[Record]) -> list[str]:
        said = [
            "return: of a whole dialogue. claims: the return that values promise of what is said first. KL: what the "
            "method says against what the speakers of the logs would say there. in the log: what the best policy earns "
            "that says only what the seed's log shows."
        ]
        shares = {record.task: shares[0] for record in records if (shares := record.finished(LUCK))}
        lucky = ", ".join(f"{100 * share:.0f}% on {spec}" for spec, share in shares.items())
        return [*said, f"Of the variance of logged returns, luck has {lucky}."] if shares else said

    def errors(self, records: Sequence[Record]) -> list[str]:
        return []

    def pictures(self, records: Sequence[Record]) -> list[Picture]:
        return []

    def _given(self, game: Game) -> Log | None:
        return None if self.log is None else _what_was_said(read_log(self.log, game))

    def _method(self, spec: str, budget: Budget) -> Method:
        chosen = make_method(spec)
        if budget.steps == self.steps_as_shipped:
            return chosen
        return replace(chosen, updates=min(chosen.updates, budget.steps))


DIALOGUE = DialogueTrack()


def _what_was_said(log: Log) -> Log:
    """A log without the laws of what might have been said, which are most of it and which no method reads."""
    return log._replace(probability=log.probability[..., :0].copy())


class _Row(NamedTuple):
    """What is kept of a cell between its chunks: R runs, the curve [E + 1, S] with NaN where it is not known yet, the
    chunks made, and seconds as `Clock` counts them."""

    runs: Training
    curve: np.ndarray
    chunk: np.ndarray
    seconds: np.ndarray


def _outcome(method: Method, problem: DialogueProblem, budget: Budget, loop: Loop) -> Outcome:
    """Train on the log of every seed, in chunks, and talk with what was learned."""
    game, seeds, clock = problem.known.game, budget.seeds, Clock()
    symbols = spelling(game, method.view)
    spread = over_devices(len(seeds))
    logs = [data_of(problem.log(seed), symbols, game.task.discount, method.sees_state) for seed in seeds]
    data: Data = spread.lay(jax.tree.map(lambda *leaves: np.stack(leaves), *logs))
    keys = spread.lay(jnp.stack([key_of(seed) for seed in seeds]))
    ends = np.round(np.linspace(0, method.updates, max(1, min(budget.evaluations, method.updates)) + 1)).astype(int)

    def learn(runs: Training, data: Data, updates: Any) -> Training:
        one = lambda run, data: jax.lax.fori_loop(
            0, updates, lambda _, run: method.update(game, symbols, data, run)[0], run
        )
        return jax.vmap(one)(runs, data)

    def judge(runs: Training, keys: Any, point: Any) -> Any:
        """By dialogues that follow from the seed and the point alone."""
        own = lambda key: jax.random.fold_in(jax.random.fold_in(key, TALK_STREAM), point)
        one = lambda run, key: talk(method, game, symbols, run.weights, own(key), POINT)
        return jax.vmap(one)(runs, keys)

    with clock.compiling():
        start = jax.vmap(lambda data, key: method.begin(symbols, data, key))
        runs = jax.jit(start, out_shardings=spread.sharding)(data, keys)
        advance = jax.jit(learn, donate_argnums=0, out_shardings=spread.sharding).lower(runs, data, 1).compile()
        look = jax.jit(judge).lower(runs, keys, 0).compile()

    def point(runs: Training, number: int) -> np.ndarray:
        earned: np.ndarray = spread.gather(look(runs, keys, number).earned).mean(1)
        return earned

    with clock.evaluating():
        curve = np.full((len(ends), len(seeds)), np.nan)
        curve[0] = point(runs, 0)

    def chunk(row: _Row) -> _Row:
        number = int(row.chunk)
        with clock.training():
            runs = jax.block_until_ready(advance(row.runs, data, int(ends[number + 1] - ends[number])))
        with clock.evaluating():
            curve = row.curve.copy()
            curve[number + 1] = point(runs, number + 1)
        return _Row(runs, curve, row.chunk + 1, clock.take(row.seconds))

    def watch(row: _Row) -> Status:
        here = row.curve[int(row.chunk)]
        finite = here[np.isfinite(here)]
        steps = int(ends[int(row.chunk)]) * len(seeds)
        return Status(steps, float(finite.mean()) if finite.size else None, len(seeds))

    row = loop(_Row(runs, curve, np.zeros((), int), np.zeros(3)), chunk, len(ends) - 1, watch)
    with clock.evaluating():
        looks = [spread.gather(look(row.runs, keys, len(ends) + number)) for number in range(POINTS)]
        talks = jax.tree.map(lambda *leaves: np.concatenate(leaves, 1), *looks)
    means = {RETURN: talks.earned.mean(1), KL: talks.divergence.mean(1), TURNS: talks.turns.mean(1)}
    failures = {
        str(seed): "its return is not finite"
        for seed, value in zip(seeds, means[RETURN], strict=True)
        if not np.isfinite(value)
    }
    metrics = {name: _finite(values) for name, values in means.items()}
    if talks.promised is not None:
        metrics[CLAIM] = _finite(talks.promised.mean(1) * spread.gather(data.unit))
    metrics[USED] = [float(method.dialogues(problem.logged))] * len(seeds)
    metrics[LUCK] = [problem.luck] * len(seeds)
    metrics |= parameters.metric(parameters_of(method, game), metrics[RETURN])
    if method.reads_logs:
        metrics[SUPPORTED] = [problem.supported(seed) for seed in seeds]
    error = lambda values: _finite(values.std(1, ddof=1) / values.shape[1] ** 0.5)
    return Outcome(
        metrics=metrics,
        standard_errors={RETURN: error(talks.earned), KL: error(talks.divergence), TURNS: error(talks.turns)},
        curves={RETURN: Curve("updates", [float(end) for end in ends], [_finite(values) for values in row.curve])},
        bounded_by=["best"],
        marked_wrong=method.marked_wrong,
        policy="sampled",
        episodes=[POINT * POINTS] * len(seeds),
        steps_made=method.updates,
        spent=clock.spent(row.seconds),
        failures=failures,
        warnings=_whose_scale(problem),
    )


def _whose_scale(problem: DialogueProblem) -> list[str]:
    """Of a log of others, that they are not who 0 and the divergence are of."""
    if problem.given is None:
        return []
    mean = float(problem.given.returns(problem.known.game.task.discount).mean())
    return [f"0 and KL are of the game's own speakers; the log that was given earns {mean:.4g} on average"]


def parameters_of(method: Method, game: Game) -> int:
    """How many parameters a method trains in a game, whatever its log says; nothing is computed."""
    symbols, horizon = spelling(game, method.view), game.task.horizon
    said = lambda *shape: np.zeros((1, *shape), int)
    log = Log(said(horizon), said(horizon + 1), said(horizon), said(horizon, 0), said(horizon + 1), said(), said() > 0)
    data = data_of(log, symbols, game.task.discount, method.sees_state)
    return trained(jax.eval_shape(lambda key, data: method.begin(symbols, data, key), jax.random.key(0), data))


def _finite(values: np.ndarray) -> PerSeed:
    return [float(value) if np.isfinite(value) else None for value in values]
