"""The documentation: its pages are followed as a reader would, and it builds without a warning or a broken link.

`make bench` and the shell's `source` of the first page are left out: `.ci/run` runs `make smoke`, the same command at
its smallest size. The tables of `what_is_a_pomdp.md` are held by `benchmarks/readme.py --check`.
"""

import importlib
import pkgutil
import re
import shlex
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl_jax import cli
from seqrl_jax.tasks import make

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SMALLER = {"--seeds": "2", "--steps": "2000"}


def blocks(page, language):
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def smaller(words):
    """A command at small size."""
    return [SMALLER.get(before, word) for before, word in zip(["", *words], words)]


def test_the_first_page_is_followed_to_its_report(tmp_path, monkeypatch, capsys):
    """Every command but those of `make`, in the page's order, on the files that it shows."""
    monkeypatch.chdir(tmp_path)
    (world,), (agent,) = blocks("getting_started.md", "text"), blocks("getting_started.md", "python")
    Path("machine.POMDP").write_text(world, encoding="utf-8")
    Path("mine.py").write_text(agent, encoding="utf-8")
    commands = [line for block in blocks("getting_started.md", "sh") for line in block.splitlines()]
    assert {command.split()[0] for command in commands} == {"seqrl", "python"}
    for command in commands:
        program, *words = smaller(shlex.split(command))
        if program == "seqrl":
            assert cli.main(words) == 0, command
        else:
            done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    assert "mine" in capsys.readouterr().out and Path("runs/machine/site/index.html").is_file()


def test_the_shapes_of_a_task_are_those_that_the_page_names():
    (code,) = blocks("what_is_a_pomdp.md", "python")
    exec(code, {})
    task = make("aliased_line")
    size = {"A": task.num_actions, "S": task.num_states, "O": task.num_observations}
    named = re.findall(r"^task\.(\w+)  # \w+ \[(.*)\]$", code, re.MULTILINE)
    assert len(named) == 5
    for field, shape in named:
        assert getattr(task, field).shape == tuple(size[letter] for letter in shape.split(", ")), field


def in_backticks(pages):
    """(page, what stands there between backticks), without what blocks of code hold."""
    for page in sorted(pages):
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        yield from ((page.name, name) for name in re.findall(r"`([^`\n]+)`", text))


def test_names_that_decisions_mention_are_of_the_code():
    """A page that a change of the code has left behind names what is gone."""
    sources = (path for folder in ("seqrl_jax", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
    words = {word for path in sources for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))}
    names = [
        found for found in in_backticks((DOCS / "decisions").glob("*.md")) if re.fullmatch(r"[A-Za-z_][\w.]*", found[1])
    ]
    assert len(names) > 50
    assert not [(page, name) for page, name in names if not words.issuperset(name.split("."))]


def test_modules_that_pages_mention_are_there():
    names = [found for found in in_backticks(DOCS.rglob("*.md")) if re.fullmatch(r"seqrl_jax(\.\w+)+", found[1])]
    assert names
    for page, name in names:
        assert pkgutil.resolve_name(name), f"{page}: {name}"


@pytest.fixture(scope="module")
def markup():
    pytest.importorskip("sphinx")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        yield importlib.import_module("markup")


@settings(max_examples=200)
@given(text=st.text("ab_*|`\\:<>. 1", max_size=20))
def test_plain_text_says_in_markup_what_it_said(markup, text):
    """All but the marks of code and of emphasis, and without a complaint."""
    from docutils.core import publish_doctree

    page = publish_doctree(markup.plain(f"x {text} x"), settings_overrides={"report_level": 2, "halt_level": 2})
    marks = str.maketrans("", "", "`*")
    assert "".join(page.astext().translate(marks).split()) == "".join(f"x {text} x".translate(marks).split())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Where the documentation was built; every warning is an error."""
    for package in ("sphinx", "myst_parser", "furo", "sphinx_copybutton"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("docs")
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(folder / "doctrees")]
    done = subprocess.run([*build, str(DOCS), str(folder / "html")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


class Page(HTMLParser):
    """What a page can be entered at, and where it leads within the site."""

    def __init__(self, path):
        super().__init__()
        self.places, self.links = {""}, []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.places.add(attrs.get("id"))
        self.links += [attrs[name] for name in ("href", "src") if attrs.get(name)]


def test_no_link_within_the_documentation_is_broken(site):
    page = cache(Page)
    broken = []
    for path in site.rglob("*.html"):
        for link in page(path).links:
            to = urlsplit(link)
            if to.scheme or to.netloc:
                continue
            target = (path.parent / unquote(to.path)).resolve() if to.path else path
            entered = target.suffix != ".html" or not target.is_file() or unquote(to.fragment) in page(target).places
            if not target.is_file() or not entered:
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


def test_every_task_and_agent_has_its_page(site):
    from seqrl_jax.tracks.registry import TRACKS

    for track in TRACKS.values():
        for task in track.tasks:
            assert (site / "generated" / "tasks" / track.name / f"{task}.html").is_file()
    agents = {path.stem for path in (site / "generated" / "agents").rglob("*.html")}
    assert agents == {name for track in TRACKS.values() for name in track.methods}


def test_pages_need_nothing_from_the_network(site):
    loaded = re.compile(r"<(?:script|img)[^>]+src=\"https?:|<link[^>]+rel=\"stylesheet\"[^>]+href=\"https?:")
    assert not [path.name for path in site.rglob("*.html") if loaded.search(path.read_text(encoding="utf-8"))]
