"""The language-model track: aligning a model is a one-step problem, whose best trade of reward against KL is known."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import numpy as np

from seqrl_jax import naming
from seqrl_jax.descriptions import about_module
from seqrl_jax.devices import over_devices
from seqrl_jax.figures import new_figure, png, printable
from seqrl_jax.lm import exact
from seqrl_jax.lm.alignment import StagePrograms, compiled, gathered, keys_of, measure, references
from seqrl_jax.lm.evaluation import Judge
from seqrl_jax.lm.method import Method
from seqrl_jax.lm.registry import (
    METHODS,
    as_json,
    make_method,
    make_model,
    make_task_and_model,
    method_settings,
    shortened,
)
from seqrl_jax.lm.sft import Supervised
from seqrl_jax.lm.stage import Aligning, Running, Stage, begin, end, key_of_stage
from seqrl_jax.lm.tasks import TASKS, LMTask, about, detail
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.results import parameters
from seqrl_jax.results.record import Bound, Curve, PerSeed, Record
from seqrl_jax.tracks.base import Budget, Column, Entry, Loop, Outcome, Picture, Scale, Status
from seqrl_jax.tracks.clock import Clock
from seqrl_jax.tracks.size import trained

SUPERVISED = Supervised()
"""How pi_0 is trained, for every method and task."""
FRONTIER, KL_AXIS = "frontier", "KL to the reference, nats"
FAR = 0.1
"""A mean shortfall beyond this, in units of reward, is named below the table."""
BELOW_ZERO = 1e-3
"""A regret below minus this is a bug: nothing lies above the frontier."""
SIGMAS = 5.0
"""Standard errors that a regret is let off, where the KL was sampled."""
SPOKEN = 256
"""Completions of the corpus in a fingerprint."""
MARKERS = "osD^v<>"
"""Seven, beside ten colours: no two of seventy methods look alike."""


@dataclass(frozen=True, eq=False)
class LMProblem:
    """A task and the language model that pi_0 is made of. Judges are made when they are asked for, and kept."""

    spec: str
    task: LMTask
    model: LanguageModel
    _judges: dict[tuple[Supervised, tuple[int, ...]], Judge] = field(default_factory=dict, repr=False)

    @cached_property
    def fingerprint(self) -> str:
        """Of all that a task is: its words, prompts and lengths, what the corpus says (drawn), what labellers like, and
        moments of its gold rewards, rounded so that every device finds the same."""
        task = self.task
        rewards = exact.outcome_rewards(task)
        wave = np.cos(np.arange(rewards.shape[1]))
        moments = [(rewards * factor).mean(1).round(5) + 0.0 for factor in (1.0, rewards, wave)]
        said = repr((task.vocabulary, task.prompts.shape, task.length, task.end, round(task.length_bias, 5)))
        content = (task.prompts.astype(np.int32), corpus_sample(task, SPOKEN), *moments)
        return hashlib.sha256(said.encode() + b"".join(array.tobytes() for array in content)).hexdigest()

    @cached_property
    def bounds(self) -> Mapping[str, Bound]:
        """{"best"}, from the gold reward of every completion that earns any."""
        best = float(exact.outcome_rewards(self.task).max(1).mean())
        how = "every completion listed" if exact.is_listed(self.task) else "every completion with a reward listed"
        return {"best": Bound(lower=best, upper=best, method=how)}

    @property
    def program(self) -> str:
        """Tasks differ in their shapes: each is a program of its own."""
        return self.spec

    def judge(self, supervised: Supervised, seeds: tuple[int, ...]) -> Judge:
        """Of pi_0 of these seeds, which are trained when they are first asked for."""
        if (supervised, seeds) not in self._judges:
            self._judges[supervised, seeds] = references(self.model, self.task, supervised, seeds)
        return self._judges[supervised, seeds]


@dataclass(frozen=True)
class LMTrack:
    """`Budget.steps` is the most updates that each stage of training makes, pi_0's too; `steps_as_shipped` leaves every
    stage at what it ships with."""

    name: str = "lm"
    about: str = "aligning a toy language model: how far from the best trade of reward against KL does a method end?"
    steps_as_shipped: int = 0
    columns: Sequence[Column] = (
        Column("reward", "gold", unit="expected gold reward", better="higher"),
        Column("kl", "KL", unit="nats to pi_0", better=None),
        Column("regret", "regret", unit="gold reward below the frontier at this KL", better="lower"),
        Column("shortfall", "short of J*", unit="gold reward minus beta KL", better="lower"),
        Column("rm_accuracy", "RM ranks right", unit="share of fresh pairs", better="higher"),
        Column("rm_correlation", "RM with gold", unit="correlation within prompts", better="higher"),
        Column("learned_reward", "RM's optimum", unit="expected gold reward", better="higher"),
        Column("climbing_gap", "short of RM's J*", unit="learned reward minus beta KL", better="lower"),
    )
    scales: Sequence[Scale] = ()

    @property
    def tasks(self) -> Mapping[str, Entry]:
        models = naming.describe_settings(make_model)
        return {name: Entry(about(build), detail=detail(build), settings=models) for name, build in TASKS.items()}

    @property
    def methods(self) -> Mapping[str, Entry]:
        return {
            name: Entry(entry.about, detail=about_module(entry.method), settings=method_settings(name))
            for name, entry in METHODS.items()
        }

    @property
    def bounds(self) -> Mapping[str, str]:
        return {"best": "the largest gold reward of any completion, mean over prompts"}

    def knows(self, task: str) -> bool:
        return naming.base(task) in self.tasks

    def check(self, tasks: Sequence[str], methods: Sequence[str]) -> None:
        for spec in tasks:
            make_task_and_model(spec)
        for spec in methods:
            make_method(spec)

    def problems(
        self, specs: Sequence[str], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> list[LMProblem]:
        problems = []
        for spec in specs:
            problems.append(LMProblem(spec, *make_task_and_model(spec)))
            progress(len(problems), len(specs))
        return problems

    def fingerprint(self, task: str) -> str:
        return LMProblem(task, *make_task_and_model(task)).fingerprint

    def config(self, method: str, problem: LMProblem, budget: Budget) -> dict[str, Any]:
        chosen, supervised = self._settings(method, budget)
        return {"method": as_json(chosen), "model": as_json(problem.model), "supervised": as_json(supervised)}

    def code(self, method: str) -> tuple[str, ...]:
        """The method's own module, the models, and what trains pi_0 and judges. Not this module nor the registry, which
        import every method: what they say of one is its config."""
        models = ("seqrl_jax.networks.gpt", "seqrl_jax.networks.rnn")
        return (type(make_method(method)).__module__, "seqrl_jax.lm.alignment", *models)

    def task_code(self, task: str) -> Sequence[str]:
        return ()

    def row(self, method: str, problems: Sequence[LMProblem], budget: Budget, loop: Loop) -> list[Outcome]:
        chosen, supervised = self._settings(method, budget)
        return [_outcome(chosen, problem.judge(supervised, budget.seeds), budget, loop) for problem in problems]

    def task_facts(self, task: str) -> Mapping[str, str]:
        return {}

    def method_facts(self, method: str) -> Mapping[str, str]:
        return {}

    def notes(self, records: Sequence[Record]) -> list[str]:
        legend = (
            "gold: expected gold reward. KL: nats to the reference pi_0 of the same seed. regret: what the best policy "
            "at this KL earns more. short of J*: beta log Z - (gold - beta KL), where the method has a known optimum."
        )
        learned = (
            "RM: the learned reward model. RM's optimum: the gold reward of its exact optimum at the policy's beta; "
            "short of RM's J*: how far below that optimum the policy ended, by the learned reward."
        )
        starts = {record.task: record.metrics.get("reference_reward", []) for record in records}
        means = {
            task: statistics.fmean(finished)
            for task, values in starts.items()
            if (finished := [value for value in values if value is not None])
        }
        earned = ", ".join(f"{round(mean, 2) + 0.0:.2f} on {task}" for task, mean in means.items())
        said = [f"pi_0 earns {earned}."] if means else []
        about_models = [learned] if any(record.finished("rm_accuracy") for record in records) else []
        return [legend, *about_models, *said, *_far_from_optimum(records), *_weak_reward_models(records)]

    def errors(self, records: Sequence[Record]) -> list[str]:
        """A sentence for every policy that stands above the frontier, which none can."""
        return [sentence for record in records for sentence in _above_frontier(record)]

    def pictures(self, records: Sequence[Record]) -> list[Picture]:
        """For each task, where the methods stand below the frontier."""
        drawn = [record for record in records if FRONTIER in record.curves and record.curves[FRONTIER].at]
        return [
            Picture(
                title=f"{task}: gold reward against KL",
                about="Every seed of every method, below the frontier of the first seed's reference: no policy earns "
                "more at the KL that it spends.",
                png=_frontier_picture([record for record in drawn if record.task == task]),
            )
            for task in dict.fromkeys(record.task for record in drawn)
        ]

    def _settings(self, method: str, budget: Budget) -> tuple[Method, Supervised]:
        """The method and pi_0's training, within the budget."""
        chosen = make_method(method)
        if budget.steps == self.steps_as_shipped:
            return chosen, SUPERVISED
        return shortened(chosen, budget.steps), shortened(SUPERVISED, budget.steps)


LM = LMTrack()


class _Row(NamedTuple):
    """What is kept of a cell between the chunks of a stage: its runs [R], and seconds as `Clock` counts them."""

    runs: Running
    seconds: np.ndarray


def _outcome(method: Method, judge: Judge, budget: Budget, loop: Loop) -> Outcome:
    """Train a method from every reference, stage by stage in chunks, and judge where it ends."""
    clock, seconds, seeds = Clock(), np.zeros(3), budget.seeds
    stages = method.stages(judge.model, judge.task)
    spread = over_devices(len(seeds))
    keys, aligning = spread.lay(keys_of(seeds)), spread.lay(Aligning(judge.weights, judge.weights))
    before = 0
    for number, stage in enumerate(stages):
        with clock.compiling():
            stage_keys = jax.vmap(lambda key, number=number: key_of_stage(key, number))(keys)
            programs = compiled(stage, stage_keys, aligning, spread.sharding)
        row = _Row(programs.running, seconds)
        row = _in_chunks(stage, programs, row, budget, before, clock, loop)
        with clock.training():
            aligning = jax.block_until_ready(programs.end(row.runs))
        seconds, before = row.seconds, before + stage.updates
    with clock.evaluating():
        measured = measure(method, judge, seeds, gathered(spread, aligning))
    count = parameters_of(method, judge.model, judge.task)
    return Outcome(
        metrics=measured.metrics | parameters.metric(count, measured.metrics["reward"]),
        standard_errors=measured.standard_errors,
        curves={FRONTIER: _frontier(judge)},
        bounded_by=["best"],
        policy="sampled",
        episodes=[None] * len(seeds),
        steps_made=before,
        spent=clock.spent(seconds),
        failures=measured.failures,
    )


def parameters_of(method: Method, model: LanguageModel, task: LMTask) -> int:
    """How many parameters a method trains: those of pi_0 where no policy is, else of its stages; nothing is computed.

    Rounds that train the same again count once; a value head counts wherever the policy carries one.
    """
    key = jax.random.key(0)
    weights = jax.eval_shape(model.initial_weights, key)
    aligning, by_stage = Aligning(weights, weights), dict[str, int]()
    for stage in method.stages(model, task):
        running = jax.eval_shape(partial(begin, stage), key, aligning)
        by_stage[stage.update.__qualname__] = trained(running.state)
        aligning = jax.eval_shape(partial(end, stage), running)
    return sum(by_stage.values()) or sum(leaf.size for leaf in jax.tree.leaves(weights))


def _in_chunks(
    stage: Stage, programs: StagePrograms, row: _Row, budget: Budget, before: int, clock: Clock, loop: Loop
) -> _Row:
    """A stage's updates, in as many chunks as the budget has evaluations; before: updates of earlier stages."""
    chunks = max(1, min(budget.evaluations, stage.updates))
    ends = np.round(np.linspace(0, stage.updates, chunks + 1)).astype(int)

    def chunk(row: _Row) -> _Row:
        done = int(row.runs.done[0])
        with clock.training():
            runs = jax.block_until_ready(programs.advance(row.runs, int(ends[ends > done][0] - done)))
        return _Row(runs, clock.take(row.seconds))

    watch = lambda row: Status((before + int(row.runs.done[0])) * len(budget.seeds), runs=len(budget.seeds))
    return loop(row, chunk, chunks, watch)


def _frontier(judge: Judge) -> Curve:
    """The largest reward at each KL, of the first seed's reference."""
    others: PerSeed = [None] * (len(judge.references) - 1)
    at: list[float] = []
    values: list[PerSeed] = []
    for kl, reward in judge.frontier(0):
        # Prices of KL beyond all rewards, or below them, lead to the same policy.
        if math.isfinite(kl) and (not at or kl > at[-1]):
            at.append(kl)
            values.append([reward, *others])
    return Curve(x=KL_AXIS, at=at, values=values)


def _above_frontier(record: Record) -> Iterator[str]:
    unknown: PerSeed = [None] * len(record.seeds)
    regrets = record.metrics.get("regret", unknown)
    # Older records do not say how much of a sampled KL is in the regret: nothing is proved there.
    errors = record.standard_errors.get("regret", record.standard_errors.get("kl", unknown))
    judged = "regret" in record.standard_errors
    for seed, regret, error in zip(record.seeds, regrets, errors, strict=True):
        if regret is None or (error and not judged):
            continue
        if regret < -(BELOW_ZERO + SIGMAS * (error or 0.0)):
            yield f"{record.method} on {record.task}, seed {seed}: {-regret:.2g} above the frontier"


def corpus_sample(task: LMTask, count: int) -> np.ndarray:
    """[count, L] int32: what the corpus says behind the task's prompts in turn, by one fixed key."""
    prompts = np.resize(np.arange(len(task.prompts)), count)
    keys = jax.random.split(jax.random.key(0), count)
    return np.asarray(jax.jit(jax.vmap(task.corpus))(keys, task.prompts[prompts].astype(np.int32)), np.int32)


def far_from_optimum(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """task -> method -> mean shortfall, of methods that end further than `FAR` below their own optimum."""
    far: dict[str, dict[str, float]] = {}
    for record in records:
        if (short := record.finished("shortfall")) and statistics.fmean(short) > FAR:
            far.setdefault(record.task, {})[record.method] = statistics.fmean(short)
    return far


def _far_from_optimum(records: Sequence[Record]) -> Iterator[str]:
    for task, methods in far_from_optimum(records).items():
        listed = ", ".join(f"{name} {short:.2f}" for name, short in sorted(methods.items(), key=lambda item: item[1]))
        yield f"further than {FAR:g} from J* on {task}: {listed}."


def _weak_reward_models(records: Sequence[Record]) -> Iterator[str]:
    """Whether the reward model or the optimisation is what a method lacks: whose gap is the larger."""
    for record in records:
        short, gap = (record.finished(name) for name in ("shortfall", "climbing_gap"))
        if short and gap and statistics.fmean(short) > FAR:
            model_is_weak = statistics.fmean(gap) < 0.5 * statistics.fmean(short)
            what = "the reward model is weak" if model_is_weak else "the optimisation is weak"
            yield f"{record.method} on {record.task}: {what} ({statistics.fmean(gap):.2f} short of its own optimum)."


def _frontier_picture(records: Sequence[Record]) -> bytes:
    figure = new_figure(1, 1, legend_inches=1.4)
    axes = figure.add_subplot()
    limit = 1.15 * max([0.5, *(kl for record in records for kl in record.finished("kl"))])
    frontier = records[0].curves[FRONTIER]
    best = np.array([row[0] for row in frontier.values], np.float64)
    # More KL than the best completions need earns nothing more.
    end = max(limit, frontier.at[-1])
    axes.plot([*frontier.at, end], [*best, best[-1]], color="black", label="frontier")
    for index, record in enumerate(records):
        pairs = zip(record.metrics.get("kl", ()), record.metrics.get("reward", ()))
        points = [(kl, reward) for kl, reward in pairs if kl is not None and reward is not None]
        # Matplotlib reads mathematics between dollar signs.
        label = printable(record.method).replace("$", r"\$")
        style: dict[str, Any] = {"color": f"C{index % 10}", "alpha": 0.7, "label": label}
        axes.plot([kl for kl, _ in points], [reward for _, reward in points], MARKERS[index % len(MARKERS)], **style)
    axes.set(xlabel=KL_AXIS, ylabel="gold reward", xlim=(0, limit))
    figure.legend(loc="outside lower center", fontsize="x-small", ncols=3)
    return png(figure, dpi=110)
