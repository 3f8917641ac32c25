from html.parser import HTMLParser

import pytest

from seqrl_jax.report.page import write_page
from seqrl_jax.report.pictures import all_pictures, limits, panel_picture, panels, spread, styles
from seqrl_jax.report.sections import sections
from seqrl_jax.results.record import Bound, Curve

HOSTILE = '<script>alert(1)</script>"onload="x'
VOID = {"meta", "br", "img", "link", "hr", "input", "wbr"}


class Elements(HTMLParser):
    """Checks that every element is closed, and collects tags, addresses that are loaded, and text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.loaded, self.text = [], [], [], []
        self.feed(html)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loaded += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]
        assert not [name for name, _ in attributes if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def page(sections, directory, **options):
    return Elements(write_page(sections, directory, **options).read_text(encoding="utf-8"))


def test_the_page_stands_alone(tmp_path, section, record, picture):
    made = section(record(), record(method="bad", marked_wrong=True), pictures_beside=(picture,), notes_below=("n.b.",))
    found = page([made], tmp_path, skipped=["torn.json: not JSON"], command="seqrl report here")
    assert found.loaded and all(address.startswith("data:image/png;base64,") for address in found.loaded)
    assert "script" not in found.tags and "link" not in found.tags
    text = " ".join(" ".join(found.text).split())
    for words in (
        "made: made up",
        "bad†",
        "n.b.",
        "A view",
        "what is seen",
        "torn.json: not JSON",
        "seqrl report here",
    ):
        assert words in text, words
    for words in (
        "1 task · 2 methods · seeds in each cell: 3",
        "optimality gap",
        "worst task",
        "sampled",
        "by hand",
        "seqrl run test",
        "100 of 100",
    ):
        assert words in text, words
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_what_records_say_is_escaped(tmp_path, section, record):
    hostile = record(
        task=HOSTILE,
        method=HOSTILE,
        suite=HOSTILE,
        device=HOSTILE,
        command=HOSTILE,
        config={HOSTILE: HOSTILE},
        warnings=[HOSTILE],
        versions={HOSTILE: HOSTILE},
        task_fingerprint=HOSTILE,
        bounds={"best": Bound(1, 1, HOSTILE)},
        curves={"return": Curve(HOSTILE, [0.0], [[0.1, 0.2, 0.3]])},
    )
    made = section(hostile, notes_below=(HOSTILE,), errors_below=(HOSTILE,))
    found = page([made], tmp_path, skipped=[HOSTILE], command=HOSTILE)
    assert "script" not in found.tags and HOSTILE in "".join(found.text)


def test_one_seed_is_a_dash_and_a_failed_cell_is_called_so(tmp_path, section, record):
    lost = {str(seed): "diverged" for seed in range(3)}
    made = section(
        record(metrics={"return": [0.3]}),
        record(method="bad", metrics={"return": [None] * 3}, failures=lost, curves={}),
    )
    text = " ".join(" ".join(page([made], tmp_path).text).split())
    assert "0.3 –" in text and "failed" in text and "0 of 3" in text


def test_tasks_without_certificates_are_marked(tmp_path, section, record):
    text = " ".join(page([section(record(bounds={}, bounded_by=[]))], tmp_path).text)
    assert "(not certified)" in text and "Nothing is proved about this task" in text


def test_every_track_has_its_part(tmp_path, track, record):
    tracks = {"made": track(), "other": track(name="other", scales=(), about="without any scale")}
    found, _ = sections([record(), record(track="other")], tracks)
    text = " ".join(page(found, tmp_path).text)
    assert text.index("made: made up") < text.index("other: without any scale")


def test_a_page_of_the_same_records_can_be_kept(tmp_path, section, record):
    made, other = section(record()), section(record(warnings=["close"]))
    path = write_page([made], tmp_path)
    kept, marked = path.read_text(), "<!-- mine -->"
    path.write_text(kept + marked)
    assert write_page([made], tmp_path, keep_current=True).read_text().endswith(marked)
    assert not write_page([other], tmp_path, keep_current=True).read_text().endswith(marked)
    path.write_text(kept + marked)
    assert not write_page([made], tmp_path, ["torn.json"], keep_current=True).read_text().endswith(marked)
    path.write_text(kept + marked)
    assert not write_page([made], tmp_path).read_text().endswith(marked)
    path.write_bytes(b"\xff")
    assert write_page([made], tmp_path, keep_current=True).read_text() == kept


def test_an_empty_directory_still_has_a_page(tmp_path):
    assert "No results yet." in " ".join(page([], tmp_path / "new").text)
    assert not (tmp_path / "new" / "curves.png").exists()


def test_curves_that_cannot_be_drawn_together_have_panels_of_their_own(record):
    one, other = record(), record(method="bad", curves={"return": Curve("hours", [0.0, 1.0], [[0.0] * 3, [0.1] * 3])})
    neither = record(method="none", curves={"price": Curve("steps", [0.0], [[0.0] * 3])})
    empty = record(method="empty", curves={"return": Curve("steps", [0.0], [[None] * 3])})
    found = panels([one, other, neither, empty], "return", "return", one.bounds)
    assert [(panel.x, list(panel.curves)) for panel in found] == [("steps", ["good"]), ("hours", ["bad"])]
    looks = styles([one, other])
    assert panel_picture(found[0], looks, dpi=40).startswith(b"\x89PNG")
    assert all_pictures(found, looks, set(), dpi=40).startswith(b"\x89PNG")


def test_a_curve_with_holes_a_collapse_and_no_bounds_is_drawn(record):
    values = [[0.0, 0.0, None], [None, None, None], [-1e6, 0.5, None]]
    holes = record(curves={"return": Curve("$x_1", [0.0, 1.0, 2.0], values)})
    for known in ({}, holes.bounds, {"best": Bound(-5.0, 1e6, "by hand")}):
        (panel,) = panels([holes], "return", "return", known)
        assert panel_picture(panel, styles([holes]), dpi=40).startswith(b"\x89PNG")


def test_one_bound_alone_cuts_nothing_off_and_several_cut_a_collapse(record):
    curve = Curve("steps", [0.0, 1.0], [[-9.0] * 3, [0.5] * 3])
    lowest = {}
    for names in (("best",), ("random", "best")):
        made = record(curves={"return": curve})
        (panel,) = panels([made], "return", "return", {name: made.bounds[name] for name in names})
        lowest[names] = limits(panel)[0]
    assert lowest["best",] < -9 < -2 < lowest["random", "best"] < 0


def test_labels_are_moved_apart_and_stay_below_the_top():
    assert spread([0.1, 0.5], 0.1) == [0.1, 0.5]
    assert spread([0.5, 0.5], 0.1) == [0.5, 0.6]
    assert spread([0.95, 1.0], 0.1) == [pytest.approx(0.9), 1.0]
