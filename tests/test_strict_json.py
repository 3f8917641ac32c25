"""What one parser takes one way and another another way is not taken at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrl_jax.strict_json import JSONError, parsed, read_object

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(value=VALUES)
def test_what_json_writes_comes_back(value):
    assert parsed(json.dumps(value)) == value


def test_both_halves_of_a_pair_are_one_character():
    assert parsed(rb'["\ud83d\ude00"]') == ["\U0001f600"]


def test_constants_are_taken_where_that_is_asked_for(tmp_path):
    assert parsed("[Infinity]", constants=True) == [float("inf")]
    (tmp_path / "a.json").write_text('{"a": -Infinity}')
    assert read_object(tmp_path / "a.json") == {"a": -float("inf")}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"a": 1, "b": 2, "a": 1}', "^a: stands there twice$"),
        ('[{"outer": {"a": 1, "a": 2}}]', "^a: stands there twice$"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ("[-Infinity]", "-Infinity is no number of JSON"),
        ("{", "^not JSON"),
        (b"\xff\xfe\xff", "^not JSON"),
        ('{"a": Infinity, "a": NaN}', "is no number of JSON"),
        ("[" * 100_000, "^nested too deeply$"),
        (r'{"a": ["\ud800"]}', "^not JSON .*surrogates not allowed"),
        (r'{"\uDFff": 1}', "^not JSON .*surrogates not allowed"),
        ('["\ud800"]', "^not JSON .*surrogates not allowed"),
        (b'["\xed\xa0\x80"]', "^not JSON .*can't decode"),
    ],
)
def test_what_is_not_json_or_says_two_things_is_refused_in_a_line(content, why):
    with pytest.raises(JSONError, match=why) as refused:
        parsed(content)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [('{"a": 1, "a": 2}', "a: stands there twice"), ("[]", "not an object"), ("", "not JSON")],
)
def test_a_file_is_named_with_what_is_wrong_in_it(tmp_path, content, why):
    path = tmp_path / "settings.json"
    path.write_text(content)
    with pytest.raises(JSONError, match=rf"settings\.json: {why}"):
        read_object(path)
