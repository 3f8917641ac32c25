import dataclasses
import json

import numpy as np
import pytest

from seqrl_jax import cli
from seqrl_jax.agents import make_agent
from seqrl_jax.audit.audit import (
    VALID,
    Audit,
    audit,
    estimate,
    estimators,
    group_rows,
    policy_logits,
    summary_rows,
)
from seqrl_jax.audit.luck import add_luck, listed, whole_return_rows
from seqrl_jax.audit.report import as_json, bias_picture, write_audit
from seqrl_jax.commands.tasks import as_game
from seqrl_jax.dialogue.conditioned import conditioned_on_best
from seqrl_jax.dialogue.games.of_task import of_task
from seqrl_jax.exact.chain import history_chain
from seqrl_jax.exact.gradients import class_values, moments, softmax, true_gradient
from seqrl_jax.tasks import make

VALID_ESTIMATES = {
    "reinforce",
    "reward_to_go",
    "pg_obs_baseline",
    "pg_history_baseline",
    "pg_state_baseline",
    "a2c_history",
    "ppo",
}


@pytest.fixture(scope="module")
def audited(solved):
    tasks = [solved(spec) for spec in ("two_doors", "repeat_previous:horizon=4")]
    best = [solution.values["memoryless_stochastic"].lower for _, solution in tasks]
    return audit([task for task, _ in tasks], best)


def test_valid_estimates_are_valid_and_bootstrapping_on_the_observation_is_not(audited):
    rows = {(row["task"], row["estimator"]): row for row in audited.gradients}
    for name in VALID_ESTIMATES | {"gae:lambda_=1"}:
        assert rows["two_doors", name]["bias"] < VALID and rows["two_doors", name]["relative_bias"] < VALID
    biases = [rows["two_doors", name]["relative_bias"] for name in ("a2c_obs", "gae:lambda_=0.5", "gae:lambda_=0.95")]
    assert biases == sorted(biases, reverse=True) and biases[-1] > 0.01


@pytest.mark.parametrize(
    ("spec", "blind"),
    [("aliased_line:horizon=7", 0.471), ("locked_doors:horizon=4", 0.464), ("switched_corridor:horizon=7", 0.088)],
)
def test_a_history_without_own_actions_is_another_history(spec, blind):
    """TD(0) with the true value of each history, by enumeration: valid with actions, biased by these shares without."""
    task = make(spec)
    policy = softmax(policy_logits(task))
    truth = true_gradient(task, policy_logits(task))
    for own_actions, expected in ((True, 0.0), (False, blind)):
        chain = history_chain(task, own_actions, limit=1000)
        value = class_values(chain, policy, chain.history)[chain.history]
        bias = np.linalg.norm(moments(chain, policy, 0.0, value=value).mean - truth) / np.linalg.norm(truth)
        assert bias == pytest.approx(expected, abs=5e-4)
        agent = make_agent(f"a2c_history:previous_action={own_actions}".lower())
        assert np.linalg.norm(estimate(agent, task, policy).mean - truth) == pytest.approx(bias * np.linalg.norm(truth))


ODD = [
    "a2c_history:memory=table",
    "ppo:memory=none",
    "ppo:lambda_=1,previous_action=false",
    "pg_history_baseline:memory=gru",
]


@pytest.mark.parametrize("name", [*estimators(), *ODD])
def test_a_row_is_of_the_estimator_that_the_agent_uses(name):
    """Marked wrong is whoever is biased on some task, and nobody else: a row cannot certify another estimator."""
    biased = []
    for spec in ("aliased_line:horizon=7", "locked_doors:horizon=4", "switched_corridor:horizon=7"):
        task = make(spec)
        truth = true_gradient(task, policy_logits(task))
        estimated = estimate(make_agent(name), task, softmax(policy_logits(task)))
        biased.append(np.linalg.norm(estimated.mean - truth) / np.linalg.norm(truth) > VALID)
    assert any(biased) == make_agent(name).marked_wrong


@pytest.mark.parametrize("name", ["a2c_history:memory=window", "ppo:memory=window", "ppo:discounted_occupancy=false"])
def test_what_cannot_be_listed_has_no_row(name):
    task = make("aliased_line:horizon=7,discount=0.9")
    assert estimate(make_agent(name), task, softmax(policy_logits(task))) is None


def test_where_there_is_no_gradient_nothing_is_relative_to_it(audited):
    row = next(row for row in audited.gradients if row["task"].startswith("repeat") and row["estimator"] == "a2c_obs")
    assert row["relative_bias"] is None and row["cosine"] is None and row["bias"] < VALID


def test_baselines_lower_the_spread(audited):
    std = {row["estimator"]: row["std"] for row in audited.gradients if row["task"] == "two_doors"}
    assert std["pg_history_baseline"] < std["pg_obs_baseline"] < std["reward_to_go"] < std["reinforce"]


def test_claims_are_met_where_everything_is_seen(audited):
    for row in audited.claims:
        if row["setting"] == "observed":
            assert row["claims"] == pytest.approx(row["earns"])
    hidden = {r["method"]: r for r in audited.claims if r["task"] == "two_doors" and r["setting"] != "observed"}
    assert all(row["claims"] > row["earns"] + 0.5 for row in hidden.values())


def test_old_data_lose_their_worth(audited):
    shares = [row["effective_share"] for row in audited.old_data if row["task"] == "two_doors"]
    assert shares == sorted(shares, reverse=True) and 0 < shares[-1] < shares[0] < 1


def test_the_summary_puts_a_number_behind_every_word(audited):
    rows = {row["method"]: row for row in summary_rows(audited)}
    assert rows["policy gradient, reward to go"]["partially observed"]["word"] == "valid"
    wrong = rows["actor-critic, V(o), TD(0)"]
    assert wrong["observed"]["word"] == "valid" and wrong["partially observed"]["word"] == "wrong"
    largest = max(r["relative_bias"] for r in audited.gradients if r["estimator"] == "a2c_obs" and r["relative_bias"])
    assert wrong["partially observed"]["number"] == largest


def test_it_is_written_whole(audited, tmp_path):
    record, picture = write_audit(audited, tmp_path / "new")
    assert json.loads(record.read_text())["rows"] == json.loads(json.dumps(as_json(audited)["rows"]))
    assert picture.read_bytes().startswith(b"\x89PNG") and bias_picture(audited)[:4] == b"\x89PNG"


def test_the_command_prints_rows_for_machines_and_tables_for_people(capsys):
    assert cli.main(["audit", "--tasks", "aliased_line", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {"task", "estimator", "cosine", "relative_bias", "std"} <= rows[0].keys()
    assert all(np.isfinite(row["bias"]) for row in rows)
    assert cli.main(["audit", "--tasks", "aliased_line"]) == 0
    shown = capsys.readouterr().out
    assert "Summary" in shown and "wrong by" in shown
    assert cli.main(["audit", "--tasks", "nowhere"]) == 2


def test_groups_of_every_task():
    """Leave one out is exact, a mean over all shrinks by a third."""
    for spec in ("two_doors", "aliased_line", "tmaze", "mini_hallway"):
        bias = {row["baseline"]: row["relative_bias"] for row in group_rows(make(spec))}
        assert bias["leave_one_out"] < VALID and bias["mean_of_all"] == pytest.approx(1 / 3)
        assert bias["mean_of_talking"] > 0.1


def test_luck_is_a_share_that_is_0_where_actions_alone_decide():
    result = Audit()
    add_luck(result, [as_game(spec) for spec in ("tmaze", "aliased_line", "tiger", "hidden_market")], lambda *_: None)
    shares = {row["task"]: row["share"] for row in result.luck}
    assert shares["tmaze"] == pytest.approx(0, abs=1e-9) and 0 < shares["aliased_line"] < 1 and shares["tiger"] > 0.5
    assert "hidden_market" not in shares, "it has too many beliefs"
    assert result.whole_returns == [], "and the returns of the others have a discount"


def test_luck_is_what_methods_of_whole_returns_copy():
    """At an equal optimum, imitation of the best and preferences attain the less the more the user is a coin, each as
    much as its own limit."""
    attained = {}
    for noise in (0.25, 1.0):
        known = listed(as_game(f"small_talk:turns=2,noise={noise}"))
        attained[noise] = {row["method"]: row["attains"] for row in whole_return_rows(known)}
        logs, best = known.value(known.logged), known.value(known.best)
        limit = (conditioned_on_best(known, 0.2).value - logs) / (best - logs)
        assert attained[noise]["filtered_bc"] == pytest.approx(limit)
    assert set(attained[1.0]) == {"filtered_bc", "decision_transformer", "multi_turn_dpo", "dmpo"}
    for method, worst in attained[1.0].items():
        assert worst < attained[0.25][method] < 1


def test_where_nothing_can_be_gained_nothing_is_said_to_be():
    """Actions that are all the same earn the same but for rounding, which is no scale."""
    task = make("two_doors")
    alike = lambda table: np.broadcast_to(table[:1], table.shape).copy()
    same = {name: alike(getattr(task, name)) for name in ("transition", "observation", "reward")}
    assert whole_return_rows(listed(of_task(dataclasses.replace(task, **same), 0.3))) == []
