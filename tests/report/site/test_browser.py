"""The site in a real browser, opened from the disk."""

import json
import shutil

import pytest

from seqrl_jax.results.record import Curve
from seqrl_jax.tracks.sweeps import Sweep

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser():
    """Chromium: that of the system, or Playwright's own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    installed = shutil.which("chromium") or shutil.which("google-chrome")
    with playwright.sync_playwright() as started:
        try:
            opened = started.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no browser: {error}")
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """(page of a site, its address, settings of the browser) -> the tab; every message of its console is an error."""
    contexts, messages = [], []

    def visit(pages, address, **settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: messages.append(message.text))
        tab.on("pageerror", lambda error: messages.append(str(error)))
        tab.on("dialog", lambda dialog: (messages.append(dialog.message), dialog.dismiss()))
        tab.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or messages.append(r.url))
        tab.goto((pages.directory / address).as_uri().replace("%23", "#"))
        return tab

    yield visit
    for context in contexts:
        context.close()
    assert messages == []


@pytest.fixture
def pages(site, section, record, monkeypatch):
    """Ten cells, the fourth of which is hostile."""
    monkeypatch.setattr("seqrl_jax.report.site.write.SHOWN", 4)
    scores = {f"agent_{number}": [number / 10, number / 10 + 0.01] for number in range(9)}
    made = [record(method=name, metrics={"return": values}) for name, values in scores.items()]
    curve = Curve("steps", [0.0, 100.0], [[0.0, 0.0, 0.0], [0.2, 0.3, 0.4]])
    made.append(record(method=HOSTILE, task=HOSTILE, marked_wrong=True, curves={"return": curve}))
    return site(quick=[section(*made)])


def agents(tab):
    return [cell.inner_text() for cell in tab.locator("#board tbody th").all()]


def test_names_of_the_leaderboard_break_between_their_words(visit, pages):
    tab = visit(pages, "index.html")
    tab.wait_for_selector("#board[data-ready]")
    assert tab.locator("#board tbody th a").first.evaluate("link => link.innerHTML") == "agent_<wbr>8"


def test_the_leaderboard_sorts_filters_searches_and_turns_pages(visit, pages):
    tab = visit(pages, "index.html")
    tab.wait_for_selector("#board[data-ready]")
    assert agents(tab) == ["agent_8", "agent_7", "agent_6", "agent_5"]
    tab.get_by_role("button", name="Next").click()
    assert agents(tab)[0] == "agent_4" and tab.locator("#pager span").inner_text() == "Page 2 of 3"
    tab.get_by_role("button", name="score").focus()
    tab.keyboard.press("Enter")
    tab.keyboard.press("Enter")
    assert agents(tab)[:2] == ["agent_0", "agent_1"]
    assert tab.locator("th[data-key=score]").get_attribute("aria-sort") == "ascending"
    tab.get_by_label("Search").fill("agent_3")
    assert agents(tab) == ["agent_3"] and tab.locator("#count").inner_text() == "1 of 10 cells"
    tab.get_by_role("button", name="Clear").click()
    tab.get_by_label("Marked").select_option("wrong")
    tab.wait_for_selector("#board tbody tr:nth-child(2)", state="detached")
    assert agents(tab) == [HOSTILE + "†"]
    tab.reload()
    tab.wait_for_selector("#board[data-ready]")
    assert agents(tab) == [HOSTILE + "†"], "the address keeps the filter"


def test_an_address_may_name_what_is_no_filter(visit, pages):
    tab = visit(pages, "index.html#length=1&item=2&nothing=3")
    tab.wait_for_selector("#board[data-ready]")
    assert agents(tab) == ["agent_8", "agent_7", "agent_6", "agent_5"]


def test_a_number_leads_to_its_record_and_the_command_that_made_it(visit, pages):
    tab = visit(pages, "index.html")
    tab.wait_for_selector("#board[data-ready]")
    tab.locator("#board tbody tr").first.locator("td a").last.click()
    tab.wait_for_selector("#record-json:not([hidden])")
    assert tab.locator("h1").inner_text() == "agent_8 on first"
    assert "seqrl run test" in tab.locator("#record-facts").inner_text()
    assert json.loads(tab.locator("#record-json").inner_text())["metrics"]["return"] == [0.8, 0.81]
    tab.get_by_role("link", name="agent_8").click()
    assert tab.locator("h1").inner_text() == "agent_8"


def test_hostile_names_are_text(visit, pages):
    for address in ("record.html#9", *(path for path in pages if "img" in path)):
        tab = visit(pages, address)
        tab.get_by_role("heading", name=HOSTILE).first.wait_for()
        assert tab.locator("img").count() == 0
    tab = visit(pages, "record.html#99")
    tab.get_by_text("There is no record 99").wait_for()


def test_a_chart_is_read_by_the_keyboard_and_the_pointer(visit, site, section, record):
    pages = site(quick=[section(record())])
    (address,) = [path for path in pages if path.startswith("tasks")]
    tab = visit(pages, address)
    slider = tab.get_by_role("slider")
    assert "good 0.3 [0.2, 0.4]" in tab.locator(".read").inner_text()
    assert "best 1" in tab.locator(".read").inner_text()
    (drawn,) = tab.locator(".series .line").all()
    colour = lambda part, name: part.evaluate("(part, name) => getComputedStyle(part)[name]", name)
    (key,) = tab.locator(".read .swatch").all()
    assert colour(key, "borderTopColor") == colour(drawn, "stroke"), "the list is the key of the chart"
    slider.focus()
    tab.keyboard.press("Home")
    assert "good 0" in tab.locator(".read").inner_text() and slider.get_attribute("aria-valuetext") == "steps: 0"
    drawn = tab.locator(".chart svg").first
    drawn.hover(position={"x": 0.7 * drawn.bounding_box()["width"], "y": 50})
    assert "good 0.3" in tab.locator(".read").inner_text()
    tab.locator("tr.agent th a").hover()
    assert tab.locator(".series.chosen").count() == 1


def test_a_point_is_read_by_the_keyboard_and_the_nearest_by_the_pointer(visit, site, section, record):
    sized = lambda method, count, score: record(
        method=method, metrics={"return": [score] * 3, "parameters": [count] * 3}, curves={}
    )
    pages = site(quick=[section(sized("small", 10.0, 0.25), sized("large", 1e6, 0.75))])
    (address,) = [path for path in pages if path.startswith("tasks")]
    tab = visit(pages, address)
    read, slider = tab.locator(".read .series"), tab.get_by_role("slider")
    assert read.all_inner_texts() == ["large 0.75"] and tab.locator("output").inner_text().endswith(": 1,000,000")
    slider.focus()
    tab.keyboard.press("Home")
    assert read.all_inner_texts() == ["small 0.25"]
    assert slider.get_attribute("aria-valuetext") == "small 0.25, trained parameters: 10"
    drawn = tab.locator(".chart svg").first
    drawn.hover(position={"x": 0.6 * drawn.bounding_box()["width"], "y": 50})
    assert read.all_inner_texts() == ["large 0.75"]
    assert tab.locator(".chart.choosing").count() == 0, "a pointer on a chart chooses no line"


def test_small_rates_are_read_in_full(visit, site, section, record, monkeypatch):
    settings = [{"learning_rate": rate} for rate in (0.0003, 0.001, 0.01)]
    sweep = Sweep(["made"], "good", settings, [0.1, 0.5, 0.9], settings[1], 4, 3, "tune")
    monkeypatch.setattr("seqrl_jax.report.site.subjects.sweeps", lambda: {("made", "good"): sweep})
    pages = site(quick=[section(record())])
    tab = visit(pages, next(path for path in pages if path.startswith("agents")))
    tab.get_by_role("slider").focus()
    tab.keyboard.press("Home")
    assert tab.locator("output").inner_text() == "learning rate: 0.0003"
    assert tab.locator(".read li").all_inner_texts() == ["chosen 0.5 at 0.001", "good 0.1"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_tables_and_not_the_page_and_axe_finds_nothing_serious(visit, pages, scheme):
    for address in {path.partition("/")[0]: path for path in pages}.values():
        tab = visit(pages, address, viewport={"width": 390, "height": 844}, color_scheme=scheme)
        assert tab.evaluate("document.documentElement.scrollWidth") == 390, address
        try:
            from axe_playwright_python.sync_playwright import Axe
        except ImportError:
            continue
        found = Axe().run(tab, options={"preload": False}).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == [], (
            address
        )


def test_without_scripts_the_best_cells_and_all_pages_are_there(visit, pages):
    tab = visit(pages, "index.html", java_script_enabled=False)
    assert agents(tab) == ["agent_8", "agent_7", "agent_6", "agent_5"]
    assert tab.locator("#filters").is_hidden() and tab.locator("#tasks + ul a").count() == 2


def test_on_paper_wide_tables_are_whole_and_charts_have_their_keys(visit, site, section, record):
    curve = {"return": Curve("steps", [0.0, 100.0], [[0.0, 0.0, 0.0], [0.2, 0.3, 0.4]])}
    made = [record(task=f"a_task_of_{number}_words", curves=curve, method="good") for number in range(20)]
    pages = site(wide=[section(*made)])
    (address,) = [address for address in pages if address.startswith("tables/")]
    # What lies within the margins of A4, lying, in pixels of CSS.
    tab = visit(pages, address, viewport={"width": 1032, "height": 700})
    tab.emulate_media(media="print")
    tables = tab.locator(".scroll > table:visible")
    assert max(tables.evaluate_all("tables => tables.map(table => table.offsetWidth)")) <= 1032
    assert (
        tab.locator("#sample-efficiency ~ figure .read li:visible").count() > 0
        and tab.locator(".reader input:visible").count() == 0
    )
