import numpy as np
import pytest

from seqrl_jax.report.overall import overall
from seqrl_jax.report.sample_efficiency import sample_efficiency
from seqrl_jax.results.record import Curve

CURVE = Curve("steps", [0.0, 10.0], [[0.0, 0.2, 0.4], [0.5, 0.7, 1.0]])


def curved(record, at, values, **changes):
    values = np.array(values, float)
    return record(
        curves={"return": Curve("steps", at, [[None if np.isnan(v) else v for v in row] for row in values.tolist()])},
        metrics={"return": [None if np.isnan(v) else v for v in values[-1].tolist()]},
        failures={str(seed): "not finite" for seed in np.flatnonzero(np.isnan(values[-1])).tolist()},
        **changes,
    )


def interquartile_mean(values):
    """Of a number of runs that four divides."""
    quarter = values.size // 4
    return np.sort(values.ravel())[quarter : values.size - quarter].mean()


def test_a_line_is_the_interquartile_mean_over_tasks_and_ends_at_the_aggregate(section, record):
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0, 1, (2, 3, 4))
    seeds = {"seeds": [0, 1, 2, 3], "episodes": [None] * 4}
    made = section(
        curved(record, [0.0, 5.0, 10.0], first, **seeds),
        curved(record, [0.0, 5.0, 10.0], second, task="second", **seeds),
    )
    (line,) = sample_efficiency(made)
    expected = [interquartile_mean(np.stack([first[e], second[e]])) for e in range(3)]
    assert (line.method, line.x, list(line.at)) == ("good", "steps", [0, 5, 10])
    np.testing.assert_allclose([value.value for value in line.values], expected, rtol=1e-12)
    (row,) = [row for row in overall(made) if row.kind == "agent"]
    assert line.values[-1] == row.statistics["IQM"]


def test_places_that_differ_are_read_between_what_was_measured(section, record):
    (line,) = sample_efficiency(
        section(
            curved(record, [0.0, 4.0, 8.0], [[0.0] * 3, [0.4] * 3, [0.8] * 3]),
            curved(record, [1.0, 6.0], [[0.1] * 3, [0.6] * 3], task="second"),
        )
    )
    assert list(line.at) == [1, 4, 6]
    np.testing.assert_allclose([value.value for value in line.values], [0.1, 0.4, 0.6], rtol=1e-12)


def test_a_seed_that_fails_counts_as_its_score_does(section, record):
    made = section(curved(record, [0.0, 5.0, 10.0], [[0.4, 0.4, 0.4], [0.6, -0.3, 0.6], [0.8, np.nan, 0.8]]))
    (line,) = sample_efficiency(made)
    (row,) = [row for row in overall(made) if row.kind == "agent"]
    assert line.values[-1] == row.statistics["IQM"]
    assert line.values[-1].value < 0.8 and line.values[0].value == pytest.approx(0.4)


@pytest.mark.parametrize(
    "other",
    [
        {"curves": {}},
        {"curves": {"return": Curve("hours", [0.0, 1.0], CURVE.values)}},
        {"curves": {"return": Curve("steps", [20.0, 30.0], CURVE.values)}},
        {"curves": {"price": CURVE}},
        {"curves": {"return": Curve("steps", [], [])}},
    ],
    ids=["no curve", "along another quantity", "no place in common", "of another metric", "empty"],
)
def test_a_method_without_curves_that_can_be_averaged_over_all_its_tasks_has_none(section, record, other):
    one = record(curves={"return": CURVE})
    assert len(sample_efficiency(section(one))) == 1
    assert sample_efficiency(section(one, record(task="second", **other))) == []


def test_without_a_scale_there_is_none(section, record):
    assert sample_efficiency(section(record(curves={"return": CURVE}), scales=())) == []


def test_all_places_that_every_curve_reaches_are_read(section, record):
    (line,) = sample_efficiency(
        section(
            curved(record, [0.0, 10.0, 20.0], [[0.0] * 3, [0.5] * 3, [1.0] * 3]),
            curved(record, [0.0, 4.0, 15.0], [[0.0] * 3, [0.2] * 3, [0.75] * 3], task="second"),
        )
    )
    assert list(line.at) == [0, 4, 10, 15]
    np.testing.assert_allclose([value.value for value in line.values], [0, 0.2, 0.5, 0.75], atol=1e-12)
