import json

import pytest

from seqrl_jax.results import schema


def test_the_published_schema_is_that_of_the_code():
    assert schema.PUBLISHED.read_text(encoding="utf-8") == schema.schema()


def test_the_schema_knows_every_field(make_record):
    reported = json.loads(schema.schema())["$defs"]["Record"]
    assert set(reported["properties"]) == {"schema", *make_record().__struct_fields__} == set(reported["required"])
    assert reported["additionalProperties"] is False


@pytest.mark.parametrize(("published", "code"), [(None, 1), ("{}", 1), (schema.schema(), 0)])
def test_the_check_finds_a_schema_that_is_out_of_date(tmp_path, monkeypatch, capsys, published, code):
    path = tmp_path / "record.schema.json"
    if published is not None:
        path.write_text(published, encoding="utf-8")
    monkeypatch.setattr(schema, "PUBLISHED", path)
    monkeypatch.setattr("sys.argv", ["schema", "--check"])
    assert schema.main() == code
    assert ("record.schema.json" in capsys.readouterr().out) == bool(code)
    assert path.exists() == (published is not None), "the check writes nothing"
