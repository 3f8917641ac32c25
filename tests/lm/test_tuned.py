"""What is shipped is what a program chose, on tasks and seeds that no table reports."""

import dataclasses
import importlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.lm import tasks, tuned
from seqrl_jax.lm.alignment import references, trained
from seqrl_jax.lm.registry import METHODS, SHIPPED, make_method
from seqrl_jax.lm.sft import Supervised
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.results import store

ROOT = Path(__file__).parents[2]
SHARING_DPO = ("dpo_noisy", "cdpo", "rdpo")


@pytest.fixture(scope="module")
def tune():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        return importlib.import_module("tune_lm")


def test_no_table_reports_what_was_tuned_on(tune):
    """Where shapes agree, some text of the tuning task is worth something else."""
    for build in tune.TASKS.values():
        task = build()
        for reported in map(tasks.make_task, tasks.TASKS):
            shape = (task.size, task.length, task.prompts.tolist())
            if shape != (reported.size, reported.length, reported.prompts.tolist()):
                continue
            if task.rewarded is not None:
                assert task.rewarded.shape != reported.rewarded.shape, "as many walks to the goal"
                continue
            texts = jax.random.randint(jax.random.key(0), (256, task.length), 0, task.size)
            prompt = jnp.broadcast_to(jnp.asarray(task.prompts[0], jnp.int32), (256, task.prompts.shape[1]))
            ours, theirs = (np.asarray(one.rewards(prompt, texts)) for one in (task, reported))
            assert np.abs(ours - theirs).max() > 0.01, (task.name, reported.name)


def test_no_table_uses_a_seed_of_the_tuning(tune):
    records = [record for name in ("lm", "lm_larger") for record in store.read(ROOT / "benchmarks/results" / name)[0]]
    assert records and not {seed for record in records for seed in record.seeds} & set(tune.SEEDS)


def test_every_method_that_learns_has_a_grid_of_its_own_settings(tune):
    learns = {name for name in METHODS if name not in ("sft", "best_of_16")}
    assert set(tune.GRIDS) | set(tune.SHARED) == learns and not set(tune.GRIDS) & set(tune.SHARED)
    grids = tune.GRIDS | {name: tune.GRIDS[whose] for name, whose in tune.SHARED.items()}
    for name, grid in grids.items():
        for key, values in grid.items():
            for value in values:
                changed = tuned.with_settings(SHIPPED[name].method, {key: value})
                part = changed
                for step in key.split("."):
                    part = getattr(part, step)
                assert part == value


def test_the_choice_is_written_where_the_registry_reads(tune, tmp_path, monkeypatch):
    """By mean places, for those that share it too; what was run is not run again, unless by other seeds."""
    grid = {"learning_rate": (0.1, 0.2, 0.3), "batch": (64, 128)}
    monkeypatch.setattr(
        tune, "objectives", lambda method, judge, seeds, rates: [[rate["learning_rate"], None] for rate in rates]
    )
    chosen = tmp_path / "tuned.json"
    chosen.write_text('{"rloo": {"group": 4}}')

    def sweep(seeds):
        for task in tune.TASKS:
            tune.sweep("dpo", task, lambda task: None, grid, tmp_path, seeds, updates=20)
        return tune.choose("dpo", grid, tmp_path, chosen)

    best = sweep((5, 6))
    assert best["learning_rate"] == 0.3
    recorded = json.loads((tmp_path / "reversal_of_5_words" / "dpo.json").read_text())
    assert len(recorded["rows"]) == 6 and recorded["seeds"] == [5, 6]
    assert all(row["objectives"] == [row["settings"]["learning_rate"], None] for row in recorded["rows"])
    assert json.loads((tmp_path / "dpo.json").read_text())["chosen"] == best
    assert json.loads(chosen.read_text()) == {"rloo": {"group": 4}, "dpo": best, **dict.fromkeys(SHARING_DPO, best)}
    assert (tmp_path / "dpo.png").read_bytes().startswith(b"\x89PNG")

    monkeypatch.setattr(tune, "objectives", lambda *_: pytest.fail("run again"))
    assert sweep((5, 6)) == best
    with pytest.raises(pytest.fail.Exception, match="run again"):
        sweep((7, 8))

    monkeypatch.setattr(tuned, "choices", lambda: json.loads(chosen.read_text()))
    assert tuned.tuned("rloo", SHIPPED["rloo"].method).group == 4
    assert tuned.tuned("ipo", SHIPPED["ipo"].method) == SHIPPED["ipo"].method


@pytest.mark.parametrize("name", tuned.choices())
def test_what_is_shipped_was_chosen(tune, name):
    """By what the recorded sweeps give, computed again."""
    whose, results = tune.SHARED.get(name, name), ROOT / "benchmarks/results/tuning_lm"
    grid = tune.GRIDS[whose]
    recorded = json.loads((results / f"{whose}.json").read_text())
    swept = [tune.objectives_of(tune.part(results, task, whose)) for task in recorded["tasks"]]
    assert len(swept) >= tune.FEWEST and recorded["settings"] == tune.settings_of(grid)
    returns = np.array([[runs[tuple(sorted(s.items()))] for runs in swept] for s in recorded["settings"]], float)
    scores = tune.cdf_scores(np.where(np.isfinite(returns), returns, -np.inf), np.zeros(len(swept)))
    np.testing.assert_allclose(scores, recorded["scores"], atol=1e-6)
    best = recorded["settings"][int(np.argmax(scores))]
    assert recorded["chosen"] == best == tuned.choices()[name]
    assert make_method(name) == tuned.with_settings(SHIPPED[name].method, best)


def test_a_sweep_is_its_settings_one_by_one(tune):
    """Learning rates of a program are those of runs by themselves; what is placed is the objective at the method's
    price."""
    task = tasks.reversal(size=2, length=2)
    seeds, rates = (5, 6), [{"learning_rate": 0.003}, {"learning_rate": 0.1}]
    judge = references(GPT(2, 4, width=8, layers=1, heads=1), task, Supervised(updates=2), seeds)
    method = dataclasses.replace(SHIPPED["dpo"].method, updates=3, pairs=64, batch=16)
    swept = tune.objectives(method, judge, seeds, rates)
    for row, rate in zip(swept, rates, strict=True):
        alone = dataclasses.replace(method, **rate)
        ends = judge.standings(trained(alone, judge, seeds))
        assert row == pytest.approx([end.reward - method.beta * end.kl for end in ends], abs=1e-5)
    assert np.abs(np.subtract(*swept)).min() > 1e-3


def test_a_method_without_a_price_pays_that_of_the_protocol(tune):
    task = tasks.reversal(size=2, length=2)
    judge = references(GPT(2, 4, width=8, layers=1, heads=1), task, Supervised(updates=2), (5, 6))
    method = METHODS["best_of_16"].method
    expected = [end.reward - tune.PRICE * end.kl for end in judge.best_of(16)]
    assert tune.objectives(method, judge, (5, 6), [{}]) == [pytest.approx(expected, abs=1e-5)]
    assert all(end.kl > 0.1 for end in judge.best_of(16))


def test_a_price_is_what_a_method_pays_for_kl():
    prices = {name: entry.method.price for name, entry in METHODS.items()}
    assert prices["rloo"] == prices["rlhf"] == 0.05 and prices["dpo"] == prices["kto"] == 0.1
    assert {prices[name] for name in ("sft", "best_of_16", "orpo", "simpo", "dapo")} == {None}
    assert dataclasses.replace(METHODS["rloo"].method, kl_coef=0.2).price == 0.2
