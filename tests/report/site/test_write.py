import base64
import gzip
import json
from pathlib import Path

import pytest

from seqrl_jax.report.sections import sections
from seqrl_jax.report.site import sheets, write_site
from seqrl_jax.report.site import write as module
from seqrl_jax.report.site.write import prose
from seqrl_jax.results import store
from seqrl_jax.results.encoding import from_json
from seqrl_jax.results.record import Bound, Curve
from seqrl_jax.tracks.registry import TRACKS
from seqrl_jax.tracks.sweeps import Sweep

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
HOSTILE = '<script>alert(1)</script>"onload="x'


def data(path):
    """What a script hands over."""
    return json.loads("[" + path.read_text(encoding="ascii").removeprefix("site.received(").removesuffix(");\n") + "]")


def test_every_task_agent_and_table_has_a_page(site, section, record, picture):
    made = section(
        record(),
        record(method="bad", marked_wrong=True),
        record(task="second", config={"rate": [1, 2]}),
        pictures_beside=(picture,),
        notes_below=("n.b.",),
    )
    pages = site(quick=[made], skipped=["torn.json: not JSON"], command="seqrl report here")
    assert {path.partition("/")[0] for path in pages} <= module.TOP
    assert sorted(path.partition("/")[0] for path in pages) == [
        *["agents"] * 2,
        "index.html",
        "record.html",
        "tables",
        *["tasks"] * 2,
    ]
    for words in ("torn.json: not JSON", "seqrl report here", "3 cells", "2 tasks", "2 agents", "bad†"):
        assert words in pages["index.html"].words, words
    table = pages.about("tables", "quick: made")
    for words in (
        "n.b.",
        "A view",
        "what is seen",
        "optimality gap",
        "worst task",
        "seqrl run test",
        "100 of 100",
        "Probability of improvement",
        "Performance profiles",
        "seconds of training",
    ):
        assert words in table.words, words
    assert [page.read_bytes() for page in (pages.directory / "pictures").rglob("*.png")] == [picture.png]
    task = pages.about("tasks", "first")
    for words in (
        "the first",
        "2: heads, tails",
        "by hand",
        "of chance",
        "good",
        "bad†",
        "Learning curves",
        "seqrl run test",
        "exact",
    ):
        assert words in task.words, words
    agent = pages.about("agents", "good")
    for words in ("as it should be", "reads", "o_t", "rate", "[1, 2]", "learning_rate", "0.1", "not marked as wrong"):
        assert words in agent.words, words
    assert "wrong on purpose (†): the theory" in pages.about("agents", "bad").words


def test_a_twin_that_was_run_is_linked_from_its_task(site, section, record):
    task = site(quick=[section(record(), record(task="second"))]).about("tasks", "first")
    (twin,) = [address for tag, address in task.addresses if "made--second" in address]
    alone = site(quick=[section(record())]).about("tasks", "first")
    assert twin and not [address for tag, address in alone.addresses if "made--second" in address]


def test_facts_are_asked_of_tasks_that_the_package_names_alone(site, section, record):
    """Any other would be built as its file says."""
    assert (
        "heads, tails"
        not in site(quick=[section(record(task="first:size=1000000"))]).about("tasks", "first:size=1000000").words
    )


def test_parameters_stand_beside_the_scores_where_any_are_known(site, section, record):
    sized = lambda count, **changes: record(metrics={"return": [0.2, 0.3, 0.4], "parameters": [count] * 3}, **changes)
    pages = site(quick=[section(sized(4293.0), sized(20.0, method="bad"), record(task="second"))])
    assert "Score against parameters" in pages.about("tables", "quick: made").words
    task, other, agent = (pages.about(*at) for at in (("tasks", "first"), ("tasks", "second"), ("agents", "good")))
    assert "Score against parameters" in task.words and ">4,293<" in task.path.read_text()
    assert "parameters" not in other.words
    assert ">4,293<" in agent.path.read_text() and ">–<" in agent.path.read_text()
    silent = site(quick=[section(record())])
    assert all("parameters" not in page.words for page in silent.values())


def test_the_page_of_a_swept_agent_shows_its_sensitivity(site, section, record, monkeypatch):
    settings = [{"learning_rate": rate} for rate in (0.1, 0.01)]
    sweep = Sweep(["made"], "good", settings, [0.25, 0.75], settings[1], 4, 3, HOSTILE)
    monkeypatch.setattr("seqrl_jax.report.site.subjects.sweeps", lambda: {("made", "good"): sweep})
    pages = site(quick=[section(record(), record(method="bad"), record(method="good:rate=2"))])
    words = pages.about("agents", "good").words
    assert "Sensitivity to the learning rate" in words and "On 4 tasks and 3 seeds" in words and HOSTILE in words
    assert "<td>0.75</td><td>0.25</td>" in pages.about("agents", "good").path.read_text(), "the table of the chart"
    assert "Sensitivity" not in pages.about("agents", "bad").words + pages.about("agents", "good:rate=2").words


def test_what_records_say_is_escaped(site, section, record):
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
        curves={"return": Curve(HOSTILE, [0.0, 1.0], [[0.1, 0.2, 0.3]] * 2)},
    )
    made = section(hostile, notes_below=(HOSTILE,), errors_below=(HOSTILE,))
    pages = site(**{HOSTILE: [made]}, skipped=[HOSTILE], command=HOSTILE)
    for path, page in pages.items():
        assert page.tags.count("script") == 2, path
        assert path == "record.html" or HOSTILE in page.words, path
    assert all(name.isascii() and "<" not in name for name in pages)


def test_every_record_is_packed_at_the_place_of_its_number(site, section, record, monkeypatch):
    monkeypatch.setattr("seqrl_jax.report.site.archive.RECORDS", 2)
    first = [record(), record(method="bad"), record(task="second")]
    second = [record(command="again")]
    pages = site(one=[section(*first)], two=[section(*second)])
    packed = [data(pages.directory / "records" / f"{chunk}.js") for chunk in (0, 1)]
    lines = [line for _, _, text in packed for line in gzip.decompress(base64.b64decode(text)).split(b"\n")]
    kept = [from_json(line) for line in lines]
    assert (
        sorted(r.task + r.method for r in kept[:3]) == ["firstbad", "firstgood", "secondgood"] and kept[3] == second[0]
    )
    task = pages.about("tasks", "first")
    numbers = sorted(int(address.partition("#")[2]) for _, address in task.addresses if "record.html" in address)
    assert [kept[number].task for number in numbers] == ["first"] * 3 and {kept[n].command for n in numbers} == {
        "again",
        "seqrl run test",
    }


def test_the_leaderboard_is_led_by_the_best_and_read_in_chunks(site, section, record, monkeypatch):
    monkeypatch.setattr("seqrl_jax.report.site.archive.ROWS", 2)
    monkeypatch.setattr(module, "SHOWN", 2)
    high = record(method="bad", metrics={"return": [0.8, 0.9, 1.0]})
    none = record(task="second", bounds={}, bounded_by=[])
    pages = site(quick=[section(none, record(), high)])
    (_, _, one), (_, _, two) = (data(pages.directory / "data" / f"rows-{chunk}.js") for chunk in (0, 1))
    assert [row[5] for row in [*one, *two]] == [pytest.approx(0.9), pytest.approx(0.3), None]
    assert one[0][6].startswith("0.90* [") and two[0][6] == "–"
    (_, _, names) = data(pages.directory / "data" / "names.js")
    assert [names["agents"][row[2]]["name"] for row in one] == ["bad", "good"]
    assert "The best 2 of 3 cells" in pages["index.html"].words


def test_one_seed_is_a_dash_and_a_failed_cell_is_called_so(site, section, record):
    lost = {str(seed): "diverged" for seed in range(3)}
    made = section(
        record(metrics={"return": [0.3]}),
        record(method="bad", metrics={"return": [None] * 3}, failures=lost, curves={}),
    )
    words = site(quick=[made]).about("tasks", "first").words
    assert "0.3 –" in words and "failed" in words and "0 of 3" in words


def test_one_is_not_counted_as_several(site, section, record):
    pages = site(quick=[section(record())])
    index = pages["index.html"].words
    assert "1 cell · 1 task · 1 agent" in index and "made up · 1 task · 1 agent" in index and "1 cell." in index
    assert "Over 1 task, " in pages.about("agents", "good").words


def test_tasks_without_certificates_are_marked(site, section, record):
    words = site(quick=[section(record(bounds={}, bounded_by=[]))]).about("tasks", "first").words
    assert "(not certified)" in words and "Nothing is proved about this task" in words


def test_a_task_of_two_directories_keeps_their_numbers_apart(site, section, record):
    more = record(metrics={"return": [0.6, 0.7, 0.8]}, command="seqrl run longer")
    pages = site(short=[section(record())], long=[section(more)])
    words = pages.about("tasks", "first").words
    assert words.index("In short: made") < words.index("seqrl run test") < words.index("In long: made")
    assert words.index("In long: made") < words.index("seqrl run longer")
    assert len([path for path in pages if path.startswith("tables")]) == 2


def test_every_track_has_its_table(site, track, record):
    tracks = {"made": track(), "other": track(name="other", scales=(), about="without any scale")}
    found, _ = sections([record(), record(track="other")], tracks)
    pages = site(quick=found)
    assert "without any scale" in pages.about("tables", "quick: other").words
    assert "Over all tasks" not in pages.about("tables", "quick: other").words


def test_a_site_of_the_same_records_can_be_kept(tmp_path, section, record):
    made, other = sheets([("a", [section(record())])]), sheets([("a", [section(record(warnings=["close"]))])])
    path = write_site(made, tmp_path / "site")
    kept, marked = path.read_text(), "<!-- mine -->"
    is_kept = lambda *args, **options: (
        path.write_text(kept + marked),
        write_site(*args, **options).read_text().endswith(marked),
    )[1]
    assert is_kept(made, tmp_path / "site", keep_current=True)
    assert not is_kept(other, tmp_path / "site", keep_current=True)
    assert not is_kept(made, tmp_path / "site", ["torn.json"], keep_current=True)
    assert not is_kept(made, tmp_path / "site")


def test_a_site_replaces_a_site_whole_and_nothing_else(tmp_path, section, record):
    one = sheets([("a", [section(record(), record(task="second"))])])
    write_site(one, tmp_path / "site")
    write_site(sheets([("a", [section(record())])]), tmp_path / "site")
    assert len(list((tmp_path / "site" / "tasks").iterdir())) == 1 and [p.name for p in tmp_path.iterdir()] == ["site"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="holds other files"):
        write_site(one, tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
    (tmp_path / "site" / "CNAME").write_text("example.org")
    with pytest.raises(ValueError, match="CNAME"):
        write_site(one, tmp_path / "site")
    assert (tmp_path / "site" / "CNAME").read_text() == "example.org"
    (tmp_path / "empty").mkdir()
    assert write_site(one, tmp_path / "empty").is_file()


def test_a_site_that_cannot_be_written_leaves_the_old_one(tmp_path, section, record, monkeypatch):
    made = sheets([("a", [section(record())])])
    before = write_site(made, tmp_path / "site").read_text()
    monkeypatch.setattr(module, "record_scripts", lambda records: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_site(made, tmp_path / "site")
    assert (tmp_path / "site" / "index.html").read_text() == before and len(list(tmp_path.iterdir())) == 1


def test_a_notice_counts_what_it_has_no_room_for(site, section, record):
    words = site(quick=[section(record(), errors_below=tuple(f"error {n}" for n in range(150)))])["index.html"].words
    assert "error 99" in words and "error 100" not in words and "and 50 more" in words


def test_an_empty_directory_still_has_a_site(site):
    assert "No results yet." in site()["index.html"].words


def test_the_recorded_suites_take_less_than_three_megabytes(site):
    """Close to 700 cells, of every agent on every task; all of their links are checked."""
    found = {name: sections(store.read(RESULTS / name)[0], TRACKS)[0] for name in ("quick", "pomdp")}
    pages = site(**found)
    assert sum(len(section.records) for made in found.values() for section in made) > 600
    assert sum(path.stat().st_size for path in pages.directory.rglob("*") if path.is_file()) < 3e6


def test_code_in_a_definition_is_shown_as_code_and_nothing_else_is_markup():
    assert prose("pays `cost` if a < b, `<i>`; a lone ` stays") == (
        "pays <code>cost</code> if a &lt; b, <code>&lt;i&gt;</code>; a lone ` stays"
    )


def test_pages_of_many_cells_show_the_best_and_link_to_the_leaderboard_for_all(site, section, record, monkeypatch):
    monkeypatch.setattr("seqrl_jax.report.sections.ENTRIES", 3)
    monkeypatch.setattr("seqrl_jax.report.site.subjects.BEST", 1)
    scores = {("good", "first"): 0.5, ("good", "second"): 0.7, ("bad", "first"): 0.3, ("bad", "second"): 0.2}
    cells = [
        record(task=task, method=method, metrics={"return": [score, score, score + 0.1]})
        for (method, task), score in scores.items()
    ]
    pages = site(quick=[section(*cells)])
    task, agent = pages.about("tasks", "first"), pages.about("agents", "good")
    assert "The best 1 of 2 cells" in task.words and "The best 1 of 2 cells" in agent.words
    assert ("a", "../index.html#task=0") in task.addresses and ("a", "../index.html#agent=0") in agent.addresses
    rows = [words for words in task.path.read_text().split("<tr") if 'class="agent"' in words]
    assert len(rows) == 1 and "good" in rows[0]
    assert "every cell stands" not in pages["index.html"].words
