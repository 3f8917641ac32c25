"""Agents by tasks on the page of a table."""

import pytest

from seqrl_jax.report.site.links import links
from seqrl_jax.report.site.matrices import matrices
from seqrl_jax.report.site.sheet import sheets


@pytest.fixture
def shown(section):
    """(records, changes of the track) -> {title: (tasks, {label: texts})}"""

    def shown(*records, **changes):
        (sheet,) = sheets([("quick", [section(*records, **changes)])])
        return {
            matrix["title"]: (
                [task for task, _ in matrix["tasks"]],
                {row["label"]: [entry["text"] for entry in row["entries"]] for row in matrix["rows"]},
            )
            for matrix in matrices(sheet, links([sheet]))
        }

    return shown


def test_each_scale_is_a_matrix(shown, record):
    found = shown(record(), record(task="second", bounds={}, bounded_by=[]))
    assert list(found) == ["Normalised score", "Memory score"]
    assert found["Normalised score"] == (
        ["first"],
        {"random": ["0.00"], "plain": ["0.50"], "best": ["1.00"], "good": ["0.30"]},
    )
    assert found["Memory score"][1]["good"] == ["-0.40"]


def test_where_nothing_is_proved_columns_stand_as_they_were_measured(shown, record):
    unproved = {"bounds": {}, "bounded_by": []}
    priced = record(**unproved, metrics={"return": [0.2, 0.3, 0.4], "price": [5.0, 6.0, 7.0]})
    lost = record(**unproved, task="second", metrics={"return": [None] * 3}, failures=dict.fromkeys("012", "lost"))
    found = shown(priced, lost, record(**unproved, method="bad", marked_wrong=True))
    assert found == {
        "Return": (["first", "second"], {"good": ["0.30", "failed"], "bad†": ["0.30", ""]}),
        "Price": (["first"], {"good": ["6.00"]}),
    }


def test_a_page_says_once_what_directory_and_track_are_both_called(section, record):
    titles = [sheet.title for sheet in sheets([("made", [section(record())]), ("quick", [section(record())])])]
    assert titles == ["made", "quick: made"]
