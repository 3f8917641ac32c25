import json

import numpy as np
import pytest

from seqrl_jax import cli
from seqrl_jax.audit.audit import VALID, audit, summary_rows
from seqrl_jax.audit.report import as_json, bias_picture, write_audit

VALID_ESTIMATES = {
    "reinforce",
    "reward_to_go",
    "pg_obs_baseline",
    "pg_history_baseline",
    "pg_state_baseline",
    "a2c_history",
}


@pytest.fixture(scope="module")
def told(solved):
    tasks = [solved(spec) for spec in ("two_doors", "repeat_previous:horizon=4")]
    best = [solution.values["memoryless_stochastic"].lower for _, solution in tasks]
    return audit([task for task, _ in tasks], best)


def test_valid_estimates_are_valid_and_bootstrapping_on_the_observation_is_not(told):
    rows = {(row["task"], row["estimator"]): row for row in told.gradients}
    for name in VALID_ESTIMATES | {"gae:lambda_=1"}:
        assert rows["two_doors", name]["bias"] < VALID and rows["two_doors", name]["relative_bias"] < VALID
    biases = [rows["two_doors", name]["relative_bias"] for name in ("a2c_obs", "gae:lambda_=0.5", "gae:lambda_=0.95")]
    assert biases == sorted(biases, reverse=True) and biases[-1] > 0.01


def test_where_there_is_no_gradient_nothing_is_relative_to_it(told):
    row = next(row for row in told.gradients if row["task"].startswith("repeat") and row["estimator"] == "a2c_obs")
    assert row["relative_bias"] is None and row["cosine"] is None and row["bias"] < VALID


def test_baselines_lower_the_spread(told):
    std = {row["estimator"]: row["std"] for row in told.gradients if row["task"] == "two_doors"}
    assert std["pg_history_baseline"] < std["pg_obs_baseline"] < std["reward_to_go"] < std["reinforce"]


def test_claims_are_met_where_everything_is_seen(told):
    for row in told.claims:
        if row["setting"] == "observed":
            assert row["claims"] == pytest.approx(row["earns"])
    hidden = {r["method"]: r for r in told.claims if r["task"] == "two_doors" and r["setting"] != "observed"}
    assert all(row["claims"] > row["earns"] + 0.5 for row in hidden.values())


def test_old_data_lose_their_worth(told):
    shares = [row["effective_share"] for row in told.old_data if row["task"] == "two_doors"]
    assert shares == sorted(shares, reverse=True) and 0 < shares[-1] < shares[0] < 1


def test_the_summary_puts_a_number_behind_every_word(told):
    rows = {row["method"]: row for row in summary_rows(told)}
    assert rows["policy gradient, reward to go"]["partially observed"]["word"] == "valid"
    wrong = rows["actor-critic, V(o), TD(0)"]
    assert wrong["observed"]["word"] == "valid" and wrong["partially observed"]["word"] == "wrong"
    largest = max(r["relative_bias"] for r in told.gradients if r["estimator"] == "a2c_obs" and r["relative_bias"])
    assert wrong["partially observed"]["number"] == largest


def test_it_is_written_whole(told, tmp_path):
    record, picture = write_audit(told, tmp_path / "new")
    assert json.loads(record.read_text())["rows"] == json.loads(json.dumps(as_json(told)["rows"]))
    assert picture.read_bytes().startswith(b"\x89PNG") and bias_picture(told)[:4] == b"\x89PNG"


def test_the_command_prints_rows_for_machines_and_tables_for_people(capsys):
    assert cli.main(["audit", "--tasks", "aliased_line", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {"task", "estimator", "cosine", "relative_bias", "std"} <= rows[0].keys()
    assert all(np.isfinite(row["bias"]) for row in rows)
    assert cli.main(["audit", "--tasks", "aliased_line"]) == 0
    shown = capsys.readouterr().out
    assert "Summary" in shown and "wrong by" in shown
    assert cli.main(["audit", "--tasks", "nowhere"]) == 2
