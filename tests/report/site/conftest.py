"""Sites that are made up, and what reads their pages."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag

import pytest

from seqrl_jax.report.site import NOT_MEASURED, NOTHING, sheets, write_site

VOID = {"meta", "br", "img", "link", "hr", "input", "wbr"}
LOADING = ("src", "href", "srcset", "data", "action", "poster")


class Page(HTMLParser):
    """Checks that every element is closed, and collects tags, ids, addresses and text."""

    def __init__(self, path):
        super().__init__()
        self.path, self.open, self.tags, self.ids, self.addresses, self.text = path, [], [], [], [], []
        self.heading, self.regions = "", []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.regions += [
            value for name, value in attributes if name == "aria-label" and ("role", "region") in attributes
        ]
        self.ids += [value for name, value in attributes if name == "id"]
        self.addresses += [(tag, value) for name, value in attributes if name in LOADING]
        assert not [name for name, _ in attributes if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        self.heading += data * ("h1" in self.open)

    @property
    def words(self):
        return " ".join("".join(self.text).split())


class Pages(dict):
    """Every page of a site by its path, checked: ids are unique, links resolve, nothing is loaded from outside."""

    def __init__(self, directory):
        super().__init__({p.relative_to(directory).as_posix(): Page(p) for p in sorted(directory.rglob("*.html"))})
        self.directory = directory
        for name, page in self.items():
            assert len(set(page.ids)) == len(page.ids), name
            assert len(set(page.regions)) == len(page.regions), name
            for tag, address in page.addresses:
                self._check(page, tag, address)

    def _check(self, page, tag, address):
        if address == "data:,":
            return
        path, fragment = urldefrag(address)
        target = (page.path.parent / path).resolve() if path else page.path
        assert ":" not in path and target.is_file() and target.is_relative_to(self.directory.resolve()), address
        if tag == "script":
            assert target.name in ("rows.js", "site.js")
        if "=" in fragment and target.name == "index.html":
            assert fragment.partition("=")[0] in ("task", "agent"), "a filter of the leaderboard"
        elif fragment and target.name != "record.html":
            assert fragment in self[target.relative_to(self.directory.resolve()).as_posix()].ids, address

    def about(self, folder, name):
        """The page of a folder whose heading is this, marked or not."""
        (found,) = [p for path, p in self.items() if path.startswith(folder) and p.heading.rstrip("†") == name]
        return found


@pytest.fixture
def site(tmp_path):
    """Sections -> the pages of their site, checked; a keyword for each directory takes its sections."""

    def site(skipped=(), command=None, audited=NOTHING, overoptimised=NOT_MEASURED, **directories):
        made, out = sheets(list(directories.items())), tmp_path / "site"
        path = write_site(made, out, skipped, command, audited=audited, overoptimised=overoptimised)
        assert path == tmp_path / "site" / "index.html"
        return Pages(Path(tmp_path / "site"))

    return site
