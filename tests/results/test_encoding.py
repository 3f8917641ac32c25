import copy
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl_jax.results.encoding import from_json, from_line, to_json, to_line
from seqrl_jax.results.record import RecordError

GOLDEN = sorted(Path(__file__).parent.glob("golden/*.json"))


def test_a_record_comes_back_as_it_was_written(make_record):
    record = make_record()
    assert from_json(to_json(record)) == record
    assert to_json(from_json(to_json(record))) == to_json(record)


def test_the_file_is_readable(make_record):
    lines = to_json(make_record()).decode().splitlines()
    assert ' "task": "tmaze:length=10",' in lines
    assert '  "return": [0.2, 0.3, 0.4]' in lines, "a metric is one line"
    assert "    [0.0, 0.1, 0.0]," in lines, "a row of a curve is one line"


@settings(max_examples=50)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_setting_of_json_comes_back(make_record, value):
    record = make_record(config={"setting": value})
    try:
        content = to_json(record)
    except RecordError as error:
        assert str(error).startswith("config: "), "only what is not Unicode is refused"
    else:
        assert from_json(content) == record


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_published_version_stays_readable(path):
    record = from_json(path.read_bytes())
    assert (record.track, record.task, record.method) == ("pomdp", "tmaze:length=10", "r2d2")
    assert record.finished("return") == [1.25, 0.5] and record.failures == {"1": "its weights were not finite"}
    assert record.bounds["history"].upper == 2.125 and record.curves["return"].at == [0.0, 1024.0]


def test_there_is_a_golden_record():
    assert [path.name for path in GOLDEN] == ["schema1.json"]


def mutated(record, place, value):
    """A record's JSON with one entry changed; place: keys from the top."""
    data = json.loads(to_json(record))
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (["metrics", "return"], "high", "metrics.return: Expected `array`, got `str`"),
        (["metrics", "return", 1], "high", "metrics.return[1]: Expected `float | null`, got `str`"),
        (["metrics", "return", 1], 10**400, "metrics.return[1]: Number out of range"),
        (["metrics", "return", 1], True, "metrics.return[1]: Expected `float | null`, got `bool`"),
        (["curves", "return", "values", 1, 2], [], "curves.return.values[1][2]: Expected `float | null`, got `array`"),
        (["curves", "return", "at"], [1, 0], "curves.return.at: must increase"),
        (["bounds", "history", "lower"], 7, "bounds.history.lower: must not lie above upper"),
        (["bounds", "history", "end"], 7, "bounds.history.end: is no field of a record"),
        (["spent", "training"], -1, "spent.training: Expected `float` >= 0.0"),
        (["seeds", 0], 2**64, "seeds[0]: Expected `int` <= 9223372036854775807"),
        (["policy"], "wild", "policy: Invalid enum value 'wild'"),
        (["cells"], 0, "cells: Expected `int` >= 1"),
        (["task"], "", "task: Expected `str` of length >= 1"),
        (["agent"], "ppo", "agent: is no field of a record"),
        (["schema"], 2, "schema 2: newer than 1, which this version of seqrl_jax reads; update it"),
        (["schema"], "1", "schema: Expected `int`, got `str`"),
    ],
)
def test_what_does_not_fit_is_named(make_record, place, value, message):
    with pytest.raises(RecordError) as raised:
        from_json(mutated(make_record(), place, value))
    assert str(raised.value) == message


def test_a_missing_field_is_named(make_record):
    data = json.loads(to_json(make_record()))
    del data["bounds"]["state"]["method"]
    with pytest.raises(RecordError, match=r"bounds\.state\.method: is missing"):
        from_json(json.dumps(data))
    del data["bounds"]
    with pytest.raises(RecordError, match="bounds: is missing"):
        from_json(json.dumps(data))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"\x00\x01", "not JSON"),
        (b"[]", "not a record of seqrl_jax"),
        (b"null", "not a record of seqrl_jax"),
        (b'{"something": "else"}', "not a record of seqrl_jax"),
        (b'{"schema": NaN}', "NaN is no number of JSON"),
        (b'{"schema": 1, "track": "a", "track": "b"}', "track: stands there twice"),
        (b'{"schema": 1, "track": "\\ud800"}', "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"schema": 1' + b"0" * 5000 + b"}", "not JSON"),
    ],
)
def test_what_is_no_record_is_refused(content, message):
    with pytest.raises(RecordError, match=message):
        from_json(content)


def test_settings_nested_beyond_reason_are_refused(make_record):
    content = to_json(make_record(config={"a": "HERE"})).decode()
    for depth in (400, 900, 100_000):
        try:
            from_json(content.replace('"HERE"', "[" * depth + "]" * depth))
        except RecordError as error:
            assert "nested too deeply" in str(error)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"metrics": {"return": [np.float64(0.1)] * 3}}, "metrics"),
        ({"metrics": {"return": [True] * 3}}, "metrics.return"),
        ({"steps_made": np.int64(3)}, "steps_made"),
        ({"steps_made": 3.5}, "steps_made"),
        ({"warnings": "a string"}, "warnings"),
        ({"task": 7}, "task"),
    ],
)
def test_a_record_of_other_types_is_not_written(make_record, changes, field):
    with pytest.raises(RecordError, match=f"^{field}"):
        to_json(make_record(**{"standard_errors": {}, **changes}))


LEAVES = (None, True, -1, 0, 2**63, 10**400, 1e308, "", "1", "é\n", [], [[]], {}, {"a": 1})


def swapped(rng, data):
    """A copy in which some entries hold something of another type or size, or are gone."""
    data = copy.deepcopy(data)
    for _ in range(rng.randint(1, 3)):
        inner = data
        while True:
            keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(inner[key], dict | list) and inner[key] and rng.random() < 0.7:
                inner = inner[key]
                continue
            if rng.random() < 0.2:
                del inner[key]
            else:
                inner[key] = rng.choice(LEAVES)
            break
    return json.dumps(data).encode()


def mangled(rng, content, data):
    kind = rng.randrange(4)
    if kind == 0:
        return swapped(rng, data)
    if kind == 1:
        return content[: rng.randrange(len(content))]
    mangled = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 20))):
        place = rng.randrange(len(mangled))
        if kind == 2:
            mangled[place] ^= 1 << rng.randrange(8)
        else:
            mangled[place : place + rng.randrange(3)] = rng.choice((b"", b"NaN", b"9" * 30, b"{", b"]", b'"', b"\\u"))
    return bytes(mangled)


@settings(max_examples=300, derandomize=True)
@given(seed=st.integers(0, 2**64))
def test_no_mangled_file_ends_in_a_traceback(make_record, seed):
    """40 files for each of 300 seeds: read as a record that can be written again, or refused in words."""
    rng = random.Random(seed)
    content = to_json(make_record(metrics={"return": [0.2, None, 0.4]}, failures={"1": "not finite"}))
    data = json.loads(content)
    for _ in range(40):
        try:
            record = from_json(mangled(rng, content, data))
        except RecordError as error:
            assert str(error)
        else:
            assert from_json(to_json(record)) == record


def test_a_line_is_read_as_the_file_is(make_record):
    record = make_record()
    line = to_line(record)
    assert b"\n" not in line and from_line(line) == record == from_json(line)
    spaced = json.dumps(json.loads(line), indent=1).encode()
    assert from_line(spaced) == record, "written by another hand"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda line: line.replace(b'{"schema":1', b'{"schema":1,"track":"other"'), "track: stands there twice"),
        (lambda line: line.replace(b'"cells":1', b'"cells":NaN'), "NaN is no number of JSON"),
        (lambda line: line.replace(b'"schema":1', b'"schema":2'), "schema 2: newer"),
        (lambda line: line.replace(b'"policy":"sampled"', b'"policy":"lucky"'), "policy"),
        (lambda line: line.replace(b'"seeds":[0,', b'"seeds":[1,'), "seeds: must be distinct"),
        (lambda line: line[:-1], "not JSON"),
    ],
)
def test_a_line_that_is_wrong_is_refused_as_the_file_is(make_record, change, said):
    line = to_line(make_record(cells=1, policy="sampled"))
    wrong = change(line)
    assert wrong != line
    with pytest.raises(RecordError, match=said):
        from_line(wrong)
    with pytest.raises(RecordError, match=said):
        from_json(wrong)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**400])
def test_no_number_that_is_not_finite_hides_in_a_sum(make_record, value):
    with pytest.raises(RecordError, match="must hold finite numbers"):
        make_record(metrics={"return": [value, -value, 0.1]})
    assert make_record(metrics={"return": [1.7e308, 1.7e308, None]}), "whose sum alone is not finite"
