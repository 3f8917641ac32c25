import itertools

import pytest

from seqrl_jax.report.site.charts import BOTTOM, LEFT, RIGHT, TOP, Level, Line, chart, short, ticks, ticks_of_powers
from seqrl_jax.report.site.drawings import (
    costs,
    learning_curves,
    profiles,
    sample_efficiency,
    sensitivity,
    sizes,
    sizes_on,
)
from seqrl_jax.report.site.sheet import sheets
from seqrl_jax.results.record import Curve, Spent
from seqrl_jax.tracks.sweeps import Sweep


def points(path):
    """Of path data: where it begins, and how far each further point lies from the one before."""
    begin, _, steps = path.strip("MZ").partition("l")
    numbers = list(map(int, steps.replace("-", " -").split()))
    moves = [map(int, begin.split()), *zip(numbers[::2], numbers[1::2])]
    return list(itertools.accumulate(map(tuple, moves), lambda here, step: (here[0] + step[0], here[1] + step[1])))


def test_a_line_lies_where_its_values_are():
    line = Line("up", 0, "solid", [0, 50, 100], [0.0, 0.5, 1.0], [0.0, 0.25, 1.0], [0.0, 0.5, 1.0])
    drawn = chart([line], [Level("best", 1.0, 1.0), Level("known", 0.25, 0.5)], "x", "y", (0.0, 1.0), "all")
    middle = (BOTTOM + TOP) / 2
    assert points(drawn.lines[0].path) == [(LEFT, BOTTOM), ((LEFT + RIGHT) / 2, middle), (RIGHT, TOP)]
    assert len(points(drawn.lines[0].band)) == 6
    best, known = drawn.levels
    assert (float(best.y), best.height) == (TOP, "0")
    assert float(known.y) == pytest.approx(BOTTOM - 0.25 * (BOTTOM - TOP), abs=0.05)
    assert float(known.top) == pytest.approx(middle, abs=0.05)
    assert drawn.places == ("0", "100")


def test_what_is_read_is_what_was_measured_and_stands_once():
    at, flat = [0.0, 199680.0], [1.23456, 2.0]
    one, two = Line("one", 0, "solid", at, flat, flat, flat), Line("two", 1, "solid", at, flat, [1.0, 2.0], flat)
    drawn = chart([one, two], [], "x", "y", (0.0, 3.0), "all")
    assert drawn.lines[0].read == {"mean": "1.235 2", "at": "0 199680"} and drawn.lines[0].band == ""
    assert drawn.lines[1].read == {"mean": "1.235 2", "low": "1 2", "high": "1.235 2"}
    assert drawn.lines[0].shown == ["1.235", "1.235", "1.235", "2", "2"]


def test_names_of_levels_stand_apart():
    drawn = chart([], [Level(str(n), 0.5, 0.5) for n in range(4)], "x", "y", (0.0, 1.0), "all")
    heights = sorted(float(level.label_y) for level in drawn.levels)
    assert all(b - a >= 14.9 for a, b in itertools.pairwise(heights)) and heights[0] >= TOP


def test_names_of_points_stand_apart_where_there_is_room():
    spot = [Line(str(n), 0, "solid", [1.0 + n % 2 * 1e-3], [0.5], [0.5], [0.5]) for n in range(6)]
    drawn = chart([*spot, Line("far", 0, "solid", [1000.0], [0.5], [0.5], [0.5])], [], "x", "y", (0, 1), "all", True)
    heights = sorted(float(line.name_at[1]) for line in drawn.lines[:-1] if line.name_at)
    assert len(heights) == 3, "there is no room for more beside a point"
    assert all(b - a >= 14.9 for a, b in itertools.pairwise(heights))
    assert drawn.lines[-1].name_at[1] == drawn.lines[-1].point[1]


@pytest.mark.parametrize("low, high", [(0, 1), (-3e-7, 5e-7), (12.1, 12.4), (0, 199680), (-1e6, 1)])
def test_ticks_are_round_and_within(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 8 and low <= found[0] + 1e-12 * abs(low) and found[-1] <= high * (1 + 1e-9)
    assert len({f"{tick:.4g}" for tick in found}) == len(found)


def test_powers_and_prefixes():
    assert ticks_of_powers(-0.4, 1.0) == [0.5, 1.0, 2.0, 5.0, 10.0]
    assert [short(number) for number in (0, 0.5, 1500, 200_000, 3e6, 2e9)] == ["0", "0.5", "1.5k", "200k", "3M", "2G"]


def test_ticks_of_powers_are_few_and_at_least_two():
    assert ticks_of_powers(0.0, 6.0) == [10.0**power for power in range(7)]
    assert ticks_of_powers(1.51, 1.52) == pytest.approx([10**1.51, 10**1.52])


def test_a_chart_of_rates_is_read_by_their_logarithms():
    at = [0.001, 0.01, 0.1]
    line = Line("one", 0, "solid", at, [0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    other = Line("other", 1, "dashed", at[1:2], [0.4], [0.4], [0.4])
    drawn = chart([line, other], [], "rate", "y", (0.0, 1.0), "all", logarithmic=True)
    assert [x for x, _ in points(drawn.lines[0].path)] == [LEFT, (LEFT + RIGHT) / 2, RIGHT]
    assert drawn.places == ("-3", "-1") and drawn.logarithmic and not drawn.points
    assert drawn.columns == ["y at", "0.001", "0.01", "0.1"]
    assert drawn.table == [("one", ["0.1", "0.2", "0.3"]), ("other", ["–", "0.4", "–"])]


def test_a_chart_of_points_is_a_table_of_them_with_their_intervals():
    spot = lambda label, at, low: Line(label, 0, "solid", [at], [0.5], [low], [0.5])
    drawn = chart([spot("wide", 4293.0, 0.4), spot("exact", 20.0, 0.5)], [], "size", "y", (0, 1), "all", True)
    assert drawn.points and drawn.columns == ["agent", "size", "y"]
    assert drawn.table == [("wide", ["4293", "0.5 [0.4, 0.5]"]), ("exact", ["20", "0.5"])]


def test_curves_with_holes_a_collapse_or_one_place_are_drawn(section, record):
    values = [[0.0, 0.0, None], [None, None, None], [-1e6, 0.5, None]]
    (sheet,) = sheets(
        [
            (
                "a",
                [
                    section(
                        record(curves={"return": Curve("$x_1", [0.0, 1.0, 2.0], values)}),
                        record(method="bad", curves={"return": Curve("hours", [3.0], [[0.1] * 3])}),
                        record(method="none", curves={"return": Curve("steps", [3.0], [[None] * 3])}),
                    )
                ],
            )
        ]
    )
    holes, alone = learning_curves(sheet, "first")
    assert (holes.x, alone.x) == ("$x_1", "hours") and holes.lines[0].read["at"] == "0 2"
    assert alone.lines[0].point is not None and alone.lines[0].path == ""


def test_costs_are_the_shares_of_cells_and_need_a_training(section, record):
    (sheet,) = sheets([("a", [section(record(), record(method="bad", spent=Spent()))])])
    drawn = costs(sheet)
    assert [line.line.label for line in drawn.lines] == ["good"] and drawn.lines[0].line.at == [1.0]
    assert {line.line.label for line in profiles(sheet).lines} == {"good", "bad"}
    (unscaled,) = sheets([("a", [section(record(), scales=())])])
    assert costs(unscaled) is None and profiles(unscaled) is None


def test_sample_efficiency_is_a_chart_for_each_quantity_between_what_is_proved(section, record):
    made = [
        record(curves={"return": Curve(x, [0.0, 10.0], [[0.0] * 3, [0.3] * 3])}, method=method)
        for method, x in (("good", "steps"), ("bad", "dialogues"))
    ]
    (sheet,) = sheets([("a", [section(*made)])])
    drawn = sample_efficiency(sheet)
    assert [(each.x, [line.line.label for line in each.lines]) for each in drawn] == [
        ("steps", ["good"]),
        ("dialogues", ["bad"]),
    ]
    assert {level.level.label: level.level.low for level in drawn[0].levels} == {"random": 0, "plain": 0.5, "best": 1}
    (silent,) = sheets([("a", [section(record(curves={}))])])
    assert sample_efficiency(silent) == []


@pytest.mark.parametrize("score", [0.0, 1e16, -1e99])
def test_one_score_has_room_about_it_however_large_it_is(section, record, score):
    drawn = costs(sheets([("a", [section(record(metrics={"return": [score] * 3}, bounded_by=[]))])])[0])
    assert len(drawn.y_ticks) > 1


@pytest.mark.parametrize("place", [0.0, -3.0, 1e16, -1e99])
def test_one_place_has_room_about_it_wherever_it_is(section, record, place):
    alone = {"return": Curve("steps", [place], [[0.2, 0.3, 0.4]])}
    (sheet,) = sheets([("a", [section(record(curves=alone))])])
    for drawn in learning_curves(sheet, "first"):
        assert len(drawn.x_ticks) > 1


def sized(record, count, **changes):
    return record(metrics={"return": [0.2, 0.3, 0.4], "parameters": [count] * 3}, **changes)


def test_scores_stand_against_the_parameters_of_those_that_train_any(section, record):
    made = section(
        sized(record, 10.0),
        sized(record, 31.0, task="second"),
        sized(record, 100.0, method="bad"),
        record(method="old"),
    )
    (sheet,) = sheets([("a", [made])])
    overall = sizes(sheet)
    assert {line.line.label: line.line.at for line in overall.lines} == {"good": [20], "bad": [100]}
    assert overall.points and "trained parameters" in overall.summary
    cells = sizes_on(sheet, "first")
    assert {line.line.label: (line.line.at, line.line.middle) for line in cells.lines} == {
        "good": ([10.0], [pytest.approx(0.3)]),
        "bad": ([100.0], [pytest.approx(0.3)]),
    }
    assert [level.level.label for level in cells.levels] == ["random", "plain", "best"]
    assert sizes_on(sheet, "second") is None, "one number of parameters tells nothing apart"
    (silent,) = sheets([("a", [section(record())])])
    assert sizes(silent) is None and sizes_on(silent, "first") is None


def test_sensitivity_begins_with_the_settings_that_ship():
    settings = [{"learning_rate": rate, "cost": cost} for cost in (1, 2, 3) for rate in (0.1, 0.01)]
    scores = [0.9, 0.1, 0.6, 0.5, 0.2, 0.3]
    drawn = sensitivity(Sweep(["made"], "good", settings, scores, settings[2], 4, 3, "tune"))
    lines = [each.line for each in drawn.lines]
    assert [line.label for line in lines] == ["cost=2", "cost=1", "cost=3", "chosen"]
    assert [line.dash for line in lines] == ["solid", "dashed", "dashed", "solid"]
    assert (list(lines[0].at), list(lines[0].middle)) == ([0.01, 0.1], [0.5, 0.6])
    assert (list(lines[-1].at), list(lines[-1].middle)) == ([0.1], [0.6])
    assert sensitivity(Sweep(["made"], "good", [{"cost": 1}], [0.5], {"cost": 1}, 4, 3, "tune")) is None
