import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest

from seqrl_jax.checkpoint import load_tree, save_tree
from seqrl_jax.keys import key_of
from seqrl_jax.lm.method import Method
from seqrl_jax.lm.stage import Stage, key_of_stage
from seqrl_jax.lm.tasks import make_task
from seqrl_jax.naming import SpecError
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.results.code import Package
from seqrl_jax.results.record import Record
from seqrl_jax.tracks import lm
from seqrl_jax.tracks.base import Budget, Status, plain_loop
from seqrl_jax.tracks.lm import LM, MARKERS, LMProblem

ROOT = Path(__file__).parents[2]
# Every kind of method; few answers are labelled, so that a rehearsal takes seconds.
METHODS = ("sft", "best_of_16", "rloo", "dpo:pairs=256", "rlhf:prompts=256")
BUDGET = Budget(steps=6, evaluations=1, seeds=(0, 1))


def recorded(method, problem, outcome, budget=BUDGET):
    """The record that the runner would write."""
    fields = {field.name: getattr(outcome, field.name) for field in dataclasses.fields(outcome)}
    return Record(
        track=LM.name,
        suite="lm",
        task=problem.spec,
        method=method,
        seeds=list(budget.seeds),
        config=LM.config(method, problem, budget),
        bounds=dict(problem.bounds),
        steps_asked=budget.steps,
        cells=1,
        task_fingerprint=problem.fingerprint,
        code_fingerprint=None,
        versions={},
        device="",
        commit=None,
        command=None,
        created="2026-01-01T00:00:00+00:00",
        **fields,
    )


@pytest.fixture(scope="module")
def problem():
    """A model that is no larger than a test needs."""
    task = make_task("length_hack")
    return LMProblem("length_hack", task, GPT(task.size, 1 + task.length, width=8, layers=1, heads=1))


@pytest.fixture(scope="module")
def records(problem):
    """method -> its record: six updates of each stage."""
    return {name: recorded(name, problem, LM.row(name, [problem], BUDGET, plain_loop)[0]) for name in METHODS}


def test_records_say_where_each_seed_stands(records):
    sft, best, rloo, dpo, rlhf = (records[name].metrics for name in METHODS)
    assert sft["kl"] == pytest.approx([0, 0], abs=1e-6) and sft["regret"] == pytest.approx([0, 0], abs=1e-4)
    assert sft["reward"] == pytest.approx(sft["reference_reward"], abs=1e-9)
    assert sft["reward"][0] != sft["reward"][1]
    assert all(0 < kl <= np.log(16) - 15 / 16 for kl in best["kl"])
    assert all(reward > before for reward, before in zip(best["reward"], sft["reward"], strict=True))
    # The labeller of length_hack likes long answers, so that DPO's optimum is not that of the gold reward.
    assert all(value > 0 for value in rloo["shortfall"]) and "shortfall" not in dpo | rlhf
    assert all(kl > 0 for kl in rlhf["kl"])
    for seed in (0, 1):
        assert 0 < rlhf["rm_accuracy"][seed] < rlhf["gold_accuracy"][seed] < 1
        assert rlhf["rm_loss"][seed] > 0.5 and abs(rlhf["rm_correlation"][seed]) <= 1
        # Who likes long answers orders pairs by more than the gold reward, whose likelihood is that of coin flips.
        assert rlhf["gold_loss"][seed] == pytest.approx(np.log(2), abs=0.05)
        assert rlhf["climbing_gap"][seed] > 0 and rlhf["learned_regret"][seed] >= -1e-6
        assert rlhf["learned_reward"][seed] < records["sft"].bounds["best"].upper
    for record in records.values():
        assert all(regret >= -1e-6 for regret in record.metrics["regret"])
        assert record.standard_errors == {"kl": [0.0, 0.0], "regret": [0.0, 0.0]} and not record.failures
        frontier = record.curves["frontier"]
        values = [row[0] for row in frontier.values]
        assert (np.diff(values) >= -1e-9).all() and {row[1] for row in frontier.values} == {None}
        assert values[-1] == pytest.approx(record.bounds["best"].upper) and record.bounds["best"].is_exact
    assert [records[name].steps_made for name in METHODS] == [0, 0, 6, 6, 12]
    assert not LM.errors(list(records.values()))


def test_the_best_reward_is_that_of_the_task(problem):
    """Two points for the target said twice, minus .2 for each of two words, and the end."""
    assert problem.bounds["best"].lower == pytest.approx(2 - 2 * 0.2, abs=1e-6)
    assert LM.problems(["keyword"])[0].bounds["best"].lower == 2


def test_nothing_is_trained_before_a_row_is_run(monkeypatch):
    monkeypatch.setattr(lm, "references", lambda *_: pytest.fail("pi_0 was trained"))
    fresh = LM.problems(["reversal", "keyword:model=rnn"])
    for one in fresh:
        assert one.bounds["best"].lower > 0 and len(one.fingerprint) == 64 and one.program == one.spec
        assert LM.config("rloo", one, BUDGET)["method"]["updates"] == 6
    assert [LM.config("sft", one, BUDGET)["model"]["name"] for one in fresh] == ["GPT", "RNN"]


def test_methods_share_the_references_of_a_problem(problem):
    judge = problem.judge(lm.shortened(lm.SUPERVISED, 6), (0, 1))
    assert problem.judge(lm.shortened(lm.SUPERVISED, 6), (0, 1)) is judge


def test_a_language_model_is_a_setting_of_the_task():
    budget = dataclasses.replace(BUDGET, steps=1)
    (rnn,) = LM.problems(["reversal:model=rnn"])
    outcome = LM.row("rloo", [rnn], budget, plain_loop)[0]
    assert all(kl > 0 for kl in outcome.metrics["kl"]) and not outcome.failures


def test_a_fingerprint_is_of_all_that_a_task_is(problem):
    task = problem.task
    other = lambda **changes: LMProblem("x", dataclasses.replace(task, **changes), problem.model).fingerprint
    assert other() == problem.fingerprint
    richer = lambda prompt, tokens: task.gold(prompt, tokens) + jnp.where(tokens[0] == 3, 0.01, 0.0)
    assert other(gold=richer) != problem.fingerprint
    assert other(prompts=task.prompts[::-1]) != problem.fingerprint
    quiet = lambda key, prompt: jnp.full(task.length, task.end)
    for change in ({"length_bias": 0.4}, {"corpus": quiet}, {"vocabulary": tuple("abcdefgx")}):
        assert other(**change) != problem.fingerprint, change
    endless = make_task("reversal")
    # 3 ends an answer and is worth as much as before: only which texts are answers differs, or what `end` says.
    fingerprints = [
        LMProblem("x", dataclasses.replace(endless, end=end), problem.model).fingerprint for end in (None, 3)
    ]
    assert len(set(fingerprints)) == 2


def test_the_budget_cuts_every_stage_or_leaves_it_as_shipped(problem):
    config = lambda steps: LM.config("rlhf", problem, dataclasses.replace(BUDGET, steps=steps))
    updates = lambda reported: (
        reported["method"]["reward_model"]["updates"],
        reported["method"]["policy"]["updates"],
        reported["supervised"]["updates"],
    )
    assert updates(config(LM.steps_as_shipped)) == (2000, 1500, 1500)
    assert updates(config(1600)) == (1600, 1500, 1500)
    assert updates(config(6)) == (6, 6, 6)


def test_who_watches_a_row_hears_of_the_updates_of_all_seeds(problem, records):
    seen = []

    def watched(state, advance, chunks, watch):
        seen.append(watch(state))
        state = plain_loop(state, advance, chunks, watch)
        seen.append(watch(state))
        return state

    rlhf = METHODS[-1]
    assert LM.row(rlhf, [problem], BUDGET, watched)[0].metrics == records[rlhf].metrics
    assert seen == [Status(steps=steps, runs=2) for steps in (0, 12, 12, 24)], "two stages of six updates"


@dataclasses.dataclass(frozen=True)
class DivergesWithSeedOne(Method):
    def stages(self, model, task):
        doomed = jax.random.key_data(key_of_stage(key_of(1), 0))

        def spoil(aligning, diverges):
            ruined = jax.tree.map(lambda leaf: jnp.where(diverges, jnp.nan, leaf), aligning.weights)
            return aligning._replace(weights=ruined)

        start = lambda key, aligning: (aligning, jnp.all(jax.random.key_data(key) == doomed), key)
        return [Stage(2, start, lambda aligning, diverges, key: (diverges, None), spoil)]


def test_a_seed_without_finite_numbers_is_a_failure(problem):
    judge = problem.judge(lm.shortened(lm.SUPERVISED, 6), (0, 1))
    outcome = lm._outcome(DivergesWithSeedOne(), judge, BUDGET, plain_loop)
    assert outcome.failures == {"1": "reward is nan, no finite number"}
    assert all(values[0] is not None and values[1] is None for values in outcome.metrics.values())
    assert recorded("sft", problem, outcome).failed == 1


def test_a_row_of_several_stages_goes_on_inside_any_of_them(problem, records, tmp_path):
    """Stopped after each of its chunks in turn, two stages of three: what was kept leads to the same end."""
    budget, method = dataclasses.replace(BUDGET, evaluations=3), METHODS[-1]
    kept = {}

    class Stopped(Exception):
        pass

    def row_that_stops(after=None):
        calls = iter(range(2))

        def loop(state, advance, chunks, watch):
            call = next(calls)
            if call in kept:
                state = load_tree(tmp_path / str(call), state)
            for chunk in range(kept.get(call, 0), chunks):
                state = advance(state)
                save_tree(tmp_path / str(call), state, {})
                kept[call] = chunk + 1
                if sum(kept.values()) == after:
                    raise Stopped
            return state

        return LM.row(method, [problem], budget, loop)[0]

    for after in range(1, 6):
        with pytest.raises(Stopped):
            row_that_stops(after)
    resumed = row_that_stops()
    assert resumed.metrics == records[method].metrics and resumed.steps_made == 12


def test_a_policy_above_the_frontier_is_an_error(records):
    rloo = records["rloo"]
    above = msgspec.structs.replace(rloo, metrics=rloo.metrics | {"regret": [0.1, -0.05]})
    assert LM.errors([rloo, above]) == ["rloo on length_hack, seed 1: 0.05 above the frontier"]
    sampled = lambda error: msgspec.structs.replace(above, standard_errors={"kl": [0.0, 0.01], "regret": [0.0, error]})
    assert not LM.errors([sampled(0.01)]) and LM.errors([sampled(0.005)])
    # An older record says how far its KL may be off, and not what follows for the regret.
    assert not LM.errors([msgspec.structs.replace(above, standard_errors={"kl": [0.0, 0.01]})])


def test_notes_say_what_columns_are_and_which_methods_fall_short(records):
    notes = LM.notes(list(records.values()))
    start = np.mean(records["sft"].metrics["reference_reward"])
    short = np.mean(records["rloo"].metrics["shortfall"])
    assert "beta log Z" in notes[0] and "learned reward model" in notes[1] and f"{start:.2f} on length_hack" in notes[2]
    assert notes[3:] == [f"further than 0.1 from J* on length_hack: rloo {short:.2f}."]
    near = msgspec.structs.replace(records["rloo"], metrics=records["rloo"].metrics | {"shortfall": [0.02, None]})
    assert len(LM.notes([near])) == 2 and len(LM.notes([])) == 1


def test_notes_tell_a_weak_reward_model_from_weak_optimisation(records):
    rlhf = records[METHODS[-1]]
    said = lambda gap: LM.notes(
        [msgspec.structs.replace(rlhf, metrics=rlhf.metrics | {"shortfall": [0.4, 0.4], "climbing_gap": [gap, gap]})]
    )[-1]
    assert "the reward model is weak (0.03" in said(0.03) and "the optimisation is weak (0.35" in said(0.35)


def test_each_task_has_a_picture_below_its_frontier(records):
    hurt = msgspec.structs.replace(
        records["rloo"], metrics=records["rloo"].metrics | {"kl": [None, 0.1]}, method="<rloo>\x1b"
    )
    elsewhere = msgspec.structs.replace(records["sft"], task="keyword")
    pictures = LM.pictures([*records.values(), hurt, elsewhere])
    assert [picture.title.split(":")[0] for picture in pictures] == ["length_hack", "keyword"]
    assert all(picture.png.startswith(b"\x89PNG") for picture in pictures)
    looks = {(MARKERS[index % len(MARKERS)], index % 10) for index in range(len(LM.methods))}
    assert len(looks) == len(LM.methods)


def test_records_that_lack_what_a_row_gives_are_told_without_it(records):
    bare = msgspec.structs.replace(records["rloo"], metrics={}, standard_errors={}, curves={})
    assert not LM.errors([bare]) and not LM.pictures([bare]) and len(LM.notes([bare])) == 1


@pytest.mark.parametrize(
    ("tasks", "methods", "message"),
    [
        (["keyword"], ["dpoo"], "did you mean dpo"),
        (["keyword"], ["dpo:beta=x"], "beta is 'x', expected a number"),
        (["keyword"], ["rloo:group=1"], "group is 1 and advantage is leave_one_out"),
        (["keywrd"], ["dpo"], "did you mean keyword"),
        (["keyword:model=mlp"], ["dpo"], "model is 'mlp', expected one of gpt, rnn"),
        (["keyword:modle=rnn"], ["dpo"], "unknown key 'modle'; did you mean model"),
    ],
)
def test_names_are_refused_before_anything_is_computed(tasks, methods, message):
    LM.check(list(LM.tasks), list(LM.methods))
    with pytest.raises(SpecError, match=message):
        LM.check(tasks, methods)


def test_the_code_of_a_method_is_not_that_of_others():
    package = Package("seqrl_jax", ROOT / "seqrl_jax")
    reached = {name: package.reached(LM.code(name)) for name in ("rloo", "dpo", "sft")}
    assert "seqrl_jax.lm.preference" in reached["dpo"] and "seqrl_jax.lm.policy_gradient" in reached["rloo"]
    assert "seqrl_jax.lm.preference" not in reached["rloo"] and "seqrl_jax.lm.policy_gradient" not in reached["sft"]
    for modules in reached.values():
        assert {"seqrl_jax.lm.exact", "seqrl_jax.lm.sft", "seqrl_jax.networks.gpt"} <= modules
        assert not {"seqrl_jax.lm.registry", "seqrl_jax.tracks.lm"} & modules
