"""The page about over-optimisation: of what a file says, or the file is named."""

import json

import pytest

from seqrl_jax.cli import main
from seqrl_jax.report.site.overoptimised import read_overoptimised, shown

PAGE = "overoptimisation.html"


def row(proxy="counts", pairs=50, noise=0.0, **others):
    points = [[2.0, 1.5, 4.0], [0.0, 0.25, 0.0], [8.0, -0.75, 9.0]]
    return {
        "proxy": proxy,
        "pairs": pairs,
        "noise": noise,
        "optima": points,
        "gold_peak": 1.5,
        "gold_end": -0.75,
    } | others


def written(path, *rows):
    path.write_text(json.dumps({"rows": rows, "seeds": 5, "command": "python <measure>", "device": "a CPU"}))
    return path


def test_each_kind_of_labels_has_a_chart_of_gold_against_kl(tmp_path):
    rows = row(pairs=200), row(), row("model", pairs=200), row(noise=0.25)
    kinds = shown(read_overoptimised(written(tmp_path / "o.json", *rows)))
    assert [kind.title for kind in kinds] == ["50 pairs", "200 pairs", "50 pairs, 25% of their labels random"]
    first, second = (drawn.line for drawn in kinds[1].chart.lines)
    assert (first.label, second.label) == ("counts", "model") and first.colour != second.colour
    assert list(first.at) == [0.0, 2.0, 8.0] and list(first.middle) == [0.25, 1.5, -0.75], "in the order of KL"


def test_a_site_has_a_page_of_it_where_it_was_measured(site, section, record, tmp_path):
    made, path = section(record()), written(tmp_path / "o.json", row("counts <b>", pairs=5000), row("x", noise=0.25))
    pages = site(quick=[made], overoptimised=read_overoptimised(path))
    words = pages[PAGE].words
    assert "5,000 pairs" in words and "counts <b>" in words and "python <measure> on a CPU" in words
    keys = [f'<i class="swatch c{colour}"></i>{name}' for colour, name in enumerate(("counts &lt;b&gt;", "x"))]
    assert [pages[PAGE].path.read_text().count(key) for key in keys] == [2, 2], "which line is whose"
    assert "1.50-0.752.25" in words, "the peak, the end and what was lost between them"
    assert ("a", PAGE) in pages["index.html"].addresses
    assert PAGE not in site(quick=[made])


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"rows": [{"proxy": "counts"}]}',
        json.dumps({"rows": [row(optima=[])]}),
        json.dumps({"rows": [row(gold_end=1e200)]}),
        json.dumps({"rows": [row(optima=[[1.0, None, 2.0]])]}),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path, content):
    (tmp_path / "o.json").write_text(content)
    with pytest.raises(ValueError, match=r"o\.json: no measurement of over-optimisation"):
        read_overoptimised(tmp_path / "o.json")


def test_it_is_shown_beside_results(tmp_path, capsys):
    one, other = (str(written(tmp_path / name, row())) for name in ("one.json", "other.json"))
    assert main(["report", one, "--out", str(tmp_path / "site")]) == 2
    assert "one.json is shown beside results" in capsys.readouterr().err
    assert main(["report", one, other, "--out", str(tmp_path / "site")]) == 2
    assert "a site shows one measurement of over-optimisation" in capsys.readouterr().err
    assert not (tmp_path / "site").exists()
