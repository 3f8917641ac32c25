import pytest

from seqrl_jax.report.page import render, write_report
from seqrl_jax.report.table import aggregate_rows, problems, table_rows


@pytest.fixture
def cells(make_cell):
    return [
        make_cell(),
        make_cell(agent="a2c_obs", marked_wrong=True, scores=[0.0, None, 0.2], standard_errors=[0, None, 0]),
        make_cell(task="tiger", scores=[0.5, 0.5, 0.5]),
    ]


def row(rows, **wanted):
    (found,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return found


def test_a_row_holds_the_three_scores_by_hand(cells):
    rows = table_rows(cells)
    ppo = row(rows, task="tmaze:length=10", agent="ppo")
    assert ppo["score"]["mean"] == pytest.approx(0.3) and ppo["normalised"]["mean"] == pytest.approx(0.3)
    assert ppo["memory"]["mean"] == pytest.approx((0.3 - 0.5) / 0.5)
    assert ppo["score"]["low"] < 0.3 < ppo["score"]["high"]
    wrong = row(rows, agent="a2c_obs", kind="agent")
    assert (wrong["seeds"], wrong["failed"], wrong["marked_wrong"]) == (3, 1, True)
    assert wrong["score"]["mean"] == pytest.approx(0.1), "a failed seed is counted, and left out of the mean"


def test_the_certified_values_are_rows(cells):
    rows = [row for row in table_rows(cells) if row["kind"] == "certified" and row["task"] == "tiger"]
    assert [row["agent"] for row in rows][3:] == ["history", "state"]
    assert rows[3]["normalised"]["mean"] == 1 and rows[3]["memory"]["mean"] == 1


def test_the_aggregate_is_over_tasks_and_seeds(cells):
    ppo = row(aggregate_rows(cells), agent="ppo")
    assert ppo["tasks"] == 2 and ppo["seeds"] == 6
    assert ppo["iqm"] == pytest.approx((0.3 + 0.4 + 0.5 + 0.5) / 4)
    assert ppo["low"] <= ppo["iqm"] <= ppo["high"]


def test_the_console_table_shows_every_agent_and_task_at_any_width(cells):
    for width in (60, 200):
        text = render(cells, width)
        assert all(name in text for name in ("ppo", "a2c_obs†", "tiger", "history", "IQM"))
        assert max(map(len, text.splitlines())) <= width


def test_an_impossible_score_is_reported_as_an_error(make_cell):
    cells = [make_cell(scores=[0.1, 2.0, 0.1])]
    assert len(problems(cells)) == 1
    assert "error: " in render(cells, 200) and "above the proven bound" in render(cells, 200)


def test_a_warning_is_repeated_and_cannot_steer_the_terminal(make_cell):
    cell = make_cell(warnings=["seed 3: posterior collapse\x1b[2J"])
    shown = render([cell], width=200)
    assert "warning: ppo on tmaze:length=10, seed 3: posterior collapse" in shown and "\x1b" not in shown
    (row,) = [row for row in table_rows([cell]) if row["kind"] == "agent"]
    assert row["warnings"] == cell.warnings


def test_cells_of_a_task_that_changed_are_named(make_cell):
    cells = [make_cell(), make_cell(agent="old", fingerprint="f" * 16, created="2025-01-01T00:00:00+00:00")]
    assert any("has changed" in message and "old" in message for message in problems(cells))


def test_the_report_stands_alone_and_escapes_what_files_say(tmp_path, make_cell):
    hostile = "<script>alert(1)</script>"
    cells = [make_cell(), make_cell(agent=hostile, task=hostile, device=hostile, config={"x": hostile})]
    path = write_report(cells, tmp_path, damaged=[f"{hostile}.json: broken"], command=f"seqrl run {hostile}")
    html = path.read_text()
    assert "<script" not in html and "&lt;script&gt;" in html
    assert "http://" not in html and "https://" not in html, "nothing is loaded from elsewhere"
    assert html.count("data:image/png;base64,") >= 2
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_an_empty_directory_still_has_a_report(tmp_path):
    assert "no results yet" in render([], 80)
    assert write_report([], tmp_path).exists()
