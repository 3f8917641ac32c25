import json
import signal

import msgspec
import pytest
from toy import SUITE, Toy

from seqrl_jax.failures import Interrupted, RowsFailed
from seqrl_jax.results import store
from seqrl_jax.runs.checkpoint import FOLDER
from seqrl_jax.runs.executors import worker
from seqrl_jax.runs.executors.job import Answer, decode_answer, decode_job, encode
from seqrl_jax.runs.executors.pool import Report
from seqrl_jax.runs.executors.remote import Remote
from seqrl_jax.runs.interrupt import Interrupt
from seqrl_jax.runs.observer import Unwatched
from seqrl_jax.runs.runner import run
from seqrl_jax.tracks.registry import TRACKS

ROWS = 6
"""Of the toy's table: three methods on the fair coins and on the loaded one."""


class Listening(Unwatched):
    """Keeps what it is reported."""

    def __init__(self):
        self.notes, self.rows, self.cells = [], [], []

    def row(self, method, tasks, cells):
        self.rows.append((method, *tasks))

    def cell(self, record):
        self.cells.append((record.method, record.task))

    def note(self, message):
        self.notes.append(message)


@pytest.fixture
def watched():
    return Listening()


def lost(report):
    return Report(report.ticket, None, "its node was killed")


def of_other_code(report):
    """The records of an answer as another version would have made them, with other numbers."""
    made = decode_answer(report.answer)
    others = [
        msgspec.structs.replace(record, code_fingerprint="another", metrics={"won": [0.0] * len(record.seeds)})
        for record in made.records
    ]
    return Report(report.ticket, encode(Answer(host="old", records=others)))


def half(report):
    """An answer that holds the first of its records alone."""
    made = decode_answer(report.answer)
    return Report(report.ticket, encode(Answer(host=made.host, records=made.records[:1])))


def garbled(report):
    return Report(report.ticket, report.answer[:-20])


def test_rows_that_come_in_any_order_make_the_table_of_a_local_run(tmp_path, order, cluster, numbers, uninterrupted):
    there = cluster()
    records = run(order(), tmp_path, executor=Remote(there))
    assert numbers(records) == uninterrupted == numbers(tmp_path)
    assert len(there.jobs) == ROWS and [(r.method, r.task) for r in records] == list(uninterrupted)
    assert [r.cells for r in records[:3]] == [2, 2, 1] and {r.suite for r in records} == {SUITE.name}
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json"] * 9


@pytest.mark.parametrize("mishap", [lost, of_other_code, half, garbled], ids=lambda mishap: mishap.__name__)
def test_what_does_not_count_is_submitted_again(tmp_path, order, cluster, numbers, uninterrupted, watched, mishap):
    """Each row's first attempt ends so."""
    there = cluster(lambda number, report: [mishap(report) if number < ROWS else report], width=ROWS)
    assert numbers(run(order(), tmp_path, watched, executor=Remote(there))) == uninterrupted
    again = ROWS if mishap is not half else 3  # A row of one cell is complete with its first record.
    assert len(there.jobs) == ROWS + again == ROWS + len(watched.notes)
    assert sorted(watched.cells) == sorted(uninterrupted), "each cell is written once"


def test_duplicates_and_late_answers_change_nothing(tmp_path, order, cluster, numbers, uninterrupted, watched):
    """Every answer comes twice, and all earlier ones again with each; the first job was held for lost."""
    came = []

    def fate(number, report):
        came.append(report)
        return [lost(report), lost(report)] if len(came) == 1 else [report, report, *came]

    there = cluster(fate)
    assert numbers(run(order(), tmp_path, watched, executor=Remote(there))) == uninterrupted == numbers(tmp_path)
    assert sorted(watched.cells) == sorted(uninterrupted) and len(watched.notes) == 1
    assert len(there.jobs) == ROWS, "the answer that was held for lost came before its row was sent again"


def test_no_more_is_on_its_way_than_the_pool_takes(tmp_path, order, cluster):
    there, flying = cluster(width=2), []
    original = there.wait
    there.wait = lambda seconds: flying.append(len(there._waiting)) or original(seconds)
    run(order(), tmp_path, executor=Remote(there))
    assert max(flying) == 2


def test_a_row_that_fails_every_time_is_named_after_all_others_are_written(tmp_path, order, cluster, watched):
    def fate(number, report):
        method = decode_job(there.jobs[number]).cells[0].method
        return [lost(report) if method == "fast" else report]

    there = cluster(fate)
    with pytest.raises(RowsFailed) as failed:
        run(order(), tmp_path, watched, executor=Remote(there, attempts=2))
    assert len(there.jobs) == 4 + 2 * 2 and len(watched.notes) == 2
    for row in ("fast on penny, dime", "fast on loaded"):
        assert f"{row} failed 2 times, the last time: its node was killed" in str(failed.value)
    assert {record.method for record in store.read(tmp_path)[0]} == {"slow", "wrong"}
    there.fate = lambda number, report: [report]
    assert len(run(order(), tmp_path, executor=Remote(there))) == 9 and len(there.jobs) == 8 + 2


def test_a_worker_of_other_code_refuses_before_it_runs(tmp_path, order, cluster, monkeypatch):
    monkeypatch.setattr("seqrl_jax.runs.runner.fingerprint", lambda modules: "that of the driver")
    monkeypatch.setattr(Toy, "row", None)
    with pytest.raises(RowsFailed) as failed:
        run(order(methods=["slow"], tasks=["penny"]), tmp_path, executor=Remote(cluster(), attempts=1))
    assert str(failed.value).startswith("slow on penny failed: OtherCode: other code of seqrl_jax makes slow there;")
    assert "\n" not in str(failed.value)


def test_a_worker_whose_task_is_another_refuses(tmp_path, order, cluster):
    ordered = order(methods=["slow"], tasks=["penny"])
    ordered.problems[0] = ordered.problems[0]._replace(fingerprint="bent")
    with pytest.raises(RowsFailed, match="penny or the settings of slow are not the same there"):
        run(ordered, tmp_path, executor=Remote(cluster(), attempts=1))


def test_an_error_there_is_a_line_here(tmp_path, order, cluster, monkeypatch, capsys):
    class Failing(Toy):
        def row(self, method, problems, budget, loop):
            raise ZeroDivisionError("by\nzero")

    there = cluster()
    monkeypatch.setitem(TRACKS, "toy", Failing())
    with pytest.raises(RowsFailed, match=r"slow on penny failed 3 times, .*: ZeroDivisionError: by zero \(on "):
        run(order(methods=["slow"], tasks=["penny"]), tmp_path, executor=Remote(there))
    assert "Traceback" in capsys.readouterr().err, "the worker's own log has all of it"


def test_a_row_that_was_begun_here_goes_on_as_a_whole_row(tmp_path, order, cluster, numbers, uninterrupted, watched):
    """Also where some of its cells are written: they ran as one program."""
    run(order(), tmp_path / "whole")
    chunks = []

    class InTheMiddle(Interrupt):
        def under_way(self, *ending):
            chunks.append(1)
            if len(chunks) == 3:
                self._requested = signal.SIGINT
            return super().under_way(*ending)

    with pytest.raises(Interrupted):
        run(order(), tmp_path, interrupt=InTheMiddle())
    penny = store.file_name("toy", "slow", "penny")
    (tmp_path / penny).write_bytes((tmp_path / "whole" / penny).read_bytes())
    there = cluster()
    assert numbers(run(order(), tmp_path, watched, executor=Remote(there))) == uninterrupted
    assert watched.notes == ["slow on penny, dime was begun here; it runs elsewhere, and begins anew"]
    assert ("slow", "penny") not in watched.cells and not (tmp_path / FOLDER).exists()


def test_an_interrupted_table_keeps_what_is_written_and_stops_the_rest(tmp_path, order, cluster, numbers):
    said, interrupt = [], None

    def fate(number, report):
        if len(there.jobs) - len(there._waiting) == 3:
            assert interrupt.request(signal.SIGINT) is False
        return [report]

    interrupt, there = Interrupt(said.append), cluster(fate)
    with pytest.raises(Interrupted):
        run(order(), tmp_path, interrupt=interrupt, executor=Remote(there))
    assert not there.is_open and said == [
        "ending now: cells that are written are kept, and rows that run elsewhere are stopped (once more: at once)"
    ]
    written = numbers(tmp_path)
    assert 0 < len(written) < 9
    assert len(run(order(), tmp_path, executor=Remote(cluster()))) == 9
    assert written.items() <= numbers(tmp_path).items()


def test_nothing_is_opened_for_a_finished_table(tmp_path, order, cluster):
    there = cluster()
    records = run(order(), tmp_path, executor=Remote(there))
    assert run(order(), tmp_path, executor=Remote(there)) == records and there.opened == 1


def test_a_job_is_names_and_settings_as_json(tmp_path, order, cluster):
    there = cluster()
    run(order(methods=["slow"], tasks=["penny"]), tmp_path, executor=Remote(there))
    job = json.loads(there.jobs[0])
    assert [(cell["track"], cell["method"], cell["task"]) for cell in job["cells"]] == [("toy", "slow", "penny")]
    assert (job["steps"], job["evaluations"], job["cells"][0]["seeds"]) == (SUITE.steps, SUITE.evaluations, [0, 1])


def test_what_is_not_kept_here_is_not_kept_there(tmp_path, order, cluster, monkeypatch):
    kept, unkept = cluster(), cluster()
    run(order(methods=["slow"], tasks=["penny"]), tmp_path / "kept", executor=Remote(kept))
    monkeypatch.setenv("SEQRL_NO_CACHE", "1")
    run(order(methods=["slow"], tasks=["penny"]), tmp_path / "unkept", executor=Remote(unkept))
    before, after = (json.loads(there.jobs[0])["environment"] for there in (kept, unkept))
    assert "SEQRL_NO_CACHE" not in before and after == {**before, "SEQRL_NO_CACHE": "1"}


def test_a_row_whose_state_is_kept_goes_on_where_its_worker_was_lost(tmp_path, order, cluster, numbers, monkeypatch):
    """On a disk that workers share: the second attempt makes only the chunks that are left."""
    made = []

    class Killed(Toy):
        def row(self, method, problems, budget, loop):
            def dying(state, advance, chunks, watch):
                def counted(state):
                    made.append(1)
                    if len(made) == 4:
                        raise ConnectionResetError
                    return advance(state)

                return loop(state, counted, chunks, watch)

            return super().row(method, problems, budget, dying)

    there = cluster(shared_folder=tmp_path / "kept")
    monkeypatch.setitem(TRACKS, "toy", Killed())
    chosen = {"methods": ["slow"], "tasks": ["loaded"]}
    again = numbers(run(order(**chosen), tmp_path / "there", executor=Remote(there)))
    assert len(made) == SUITE.evaluations + 1
    assert again == numbers(run(order(**chosen), tmp_path / "here"))


def test_a_worker_waits_for_the_one_before_it(tmp_path, order, cluster, monkeypatch):
    """The driver of that one was killed; it still runs the same row in the same folder."""
    from seqrl_jax.runs.lock import writing

    there, held, waited = cluster(shared_folder=tmp_path / "kept"), [], []
    run(order(methods=["slow"], tasks=["loaded"]), tmp_path / "first", executor=Remote(there))
    folder = tmp_path / "kept" / decode_job(there.jobs[0]).digest
    held.append(writing(folder, folder / FOLDER / "lock"))
    held[0].__enter__()
    monkeypatch.setattr(
        worker.time, "sleep", lambda seconds: waited.append(seconds) or held[0].__exit__(None, None, None)
    )
    assert not worker.answer(there.jobs[0]).failure and waited == [worker.A_SECOND]
