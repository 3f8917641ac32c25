import json

import pytest

from seqrl_jax.report.site.audited import Audited, is_audit, read_audit


def test_what_an_audit_found_stands_beside_the_scores(site, section, record):
    audited = Audited({("first", "good"): 3e-16, ("first", "bad"): 0.4712}, "seqrl audit <b>")
    made = section(record(), record(method="bad"), record(task="second"))
    pages = site(quick=[made], audited=audited)
    on_task, of_agent = pages.about("tasks", "first"), pages.about("agents", "good")
    task, agent = on_task.words, of_agent.words
    assert "valid" in on_task.text and "47.1%" in task and "seqrl audit <b>" in task
    assert "valid" in of_agent.text and "47.1%" not in agent, "an entry, and no part of another word"
    assert "Bias:" not in pages.about("tasks", "second").words, "nothing is known of it"
    assert "Bias:" not in site(quick=[made]).about("tasks", "first").words


def test_an_audit_is_read_from_its_directory(tmp_path):
    assert not is_audit(tmp_path)
    row = {"task": "tiger", "estimator": "gae", "relative_bias": 0.25, "cosine": 1.0}
    rows = [row, {**row, "task": "flat", "relative_bias": None}]
    (tmp_path / "audit.json").write_text(json.dumps({"rows": rows, "command": "seqrl audit"}))
    found = read_audit(tmp_path)
    assert is_audit(tmp_path) and found.command == "seqrl audit"
    verdicts = [found.verdict(*cell) for cell in (("tiger", "gae"), ("flat", "gae"), ("tiger", "ppo"))]
    assert verdicts == ["25.0%", "–", "–"]


@pytest.mark.parametrize("name", ["ppo--tiger--0.json", "records.jsonl"])
def test_an_audit_among_results_hides_none_of_them(tmp_path, name):
    for file in ("audit.json", name):
        (tmp_path / file).write_text("{}")
    assert not is_audit(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"rows": [1]}', '{"rows": [{"task": "a"}]}', "{"])
def test_a_file_that_is_no_audit_is_named(tmp_path, content):
    (tmp_path / "audit.json").write_text(content)
    with pytest.raises(ValueError, match=r"audit\.json"):
        read_audit(tmp_path)
