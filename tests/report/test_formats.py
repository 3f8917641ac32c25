"""Tables as files: what is best is marked where that is more than luck, and nothing in a name steers the reader."""

import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from seqrl_jax import cli
from seqrl_jax.report.best import best
from seqrl_jax.report.formats import FORMATS, written
from seqrl_jax.report.sections import Section, in_order
from seqrl_jax.results import store


@pytest.fixture
def section(track, record):
    """Of records that differ from one by some fields each."""
    return lambda *changes, **fields: Section(
        track(**fields), in_order([record(**change) for change in changes], track(**fields))
    )


def scores(*values, method="bad", **fields):
    return {"method": method, "metrics": {"return": list(values)}, **fields}


def test_the_best_is_better_than_every_other_by_paired_differences(section):
    assert best(section({}, scores(0.1, 0.2, 0.3))) == {("first", "good")}
    assert best(section({}, scores(0.1, 0.3, 0.39))) == set(), "the third difference is small, the second is none"
    assert best(section({}, scores(0.2, 0.3, 0.4))) == set()
    assert best(section({})) == set(), "nobody to be better than"


def test_rounding_is_no_difference(section):
    alike = scores(*(value - 1e-8 for value in (0.2, 0.3, 0.4)))
    assert best(section({}, alike)) == set(), "seeds that all lie as little lower"
    large = {"metrics": {"return": [2e5, 3e5]}, "bounds": {}, "bounded_by": [], "seeds": [0, 1], "episodes": [1, 1]}
    lower = {**large, "method": "bad"}
    assert best(section(large, {**lower, "metrics": {"return": [2e5 - 0.01, 3e5 - 0.01]}})) == set()
    assert best(section(large, {**lower, "metrics": {"return": [2e5 - 9, 3e5 - 9]}})) == {("first", "good")}


def test_what_was_not_trained_does_not_compete(section):
    assert best(section({}, scores(0.1, 0.2, 0.3), scores(1.0, 1.0, 1.0, method="oracle", steps_made=0))) == {
        ("first", "good")
    }


NAME = "a&b_{50%}|<i>$x^2$~\\#*"


@pytest.fixture
def named(section):
    return section({}, scores(0.1, 0.2, 0.3, method=NAME))


def test_latex_has_one_row_for_each_line_and_escapes_what_is_special(named):
    text = written([named], "latex")
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == text.count(r"\toprule") > 2
    assert r"a\&b\_\{50\%\}\textbar{}\textless{}i\textgreater{}\$x\textasciicircum{}2\$" in text
    for table in re.findall(r"\\begin{tabular}.*?\\end{tabular}", text, re.DOTALL):
        columns = re.match(r"\\begin{tabular}{(l r*|lr*)}", table)[1]
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert rows and all(len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1 for row in rows)
    assert r"\textbf{0.30$\pm$" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_latex_is_set_within_the_line_whatever_a_name_holds(section, tmp_path):
    long = scores(0.1, 0.2, 0.3, method=" ".join([NAME] * 20))
    others = ["‘é’ – ±†~", "[1ex]", "[no length]", "*", "a\n\nb"]
    changes = [scores(0.1, 0.2, 0.3, method=name, task=name) for name in others]
    text = written([section({}, long, *changes)], "latex")
    packages = re.match(r"% (\\usepackage{.*})\n", text)[1]
    page = "\n".join([r"\documentclass{article}", packages, r"\begin{document}", text, r"\end{document}"])
    (tmp_path / "table.tex").write_text(page, "utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert made.returncode == 0, made.stdout
    assert "Overfull" not in made.stdout


@pytest.mark.parametrize("format", ["md", "latex", "html"])
def test_a_line_stays_one_whatever_a_name_holds(section, format):
    here = written([section({"task": "a"}, scores(0.1, 0.2, 0.3, task="a"))], format)
    broken = written([section({"task": "a\n\nb"}, scores(0.1, 0.2, 0.3, task="a\n\nb"))], format)
    assert broken.count("\n") == here.count("\n")


def test_markdown_reads_no_entity_and_no_mathematics_in_a_name(section):
    text = written([section({}, scores(0.1, 0.2, 0.3, method="&lt; $x$"))], "md")
    assert r"\&lt; \$x\$" in text


def test_markdown_keeps_its_columns_whatever_a_name_holds(named):
    text = written([named], "md")
    for block in text.split("\n\n"):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines() if line.startswith("|")}
        assert len(widths) <= 1
    assert "**0.30±" in text


def test_html_is_well_formed_and_escaped(named):
    text, opened = written([named], "html"), []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attributes):
            assert tag in {"table", "caption", "thead", "tbody", "tr", "th", "td", "strong"}
            opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Parser().feed(text)
    assert not opened and "<strong>0.30±" in text


def test_csv_holds_every_number_of_the_table(named):
    lines = list(csv.DictReader(io.StringIO(written([named], "csv"))))
    (mine,) = [line for line in lines if line["agent"] == NAME]
    assert float(mine["score.mean"]) == pytest.approx(0.2) and mine["seeds"] == "3"


@pytest.mark.parametrize("format", FORMATS)
def test_the_command_writes_each(format, record, tmp_path, capsys):
    store.write(tmp_path, record(track="pomdp", task="tiger", method="ppo"))
    assert cli.main(["table", str(tmp_path), "--format", format]) == 0
    assert "tiger" in capsys.readouterr().out
    assert cli.main(["table", str(tmp_path), "--format", format, "--json"]) == 2
