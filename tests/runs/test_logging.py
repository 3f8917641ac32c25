"""What a tracker is told of a run, and what is said where it is missing."""

import sys
import types

import pytest
from records import made_up

from seqrl_jax import cli
from seqrl_jax.commands.arguments import parser
from seqrl_jax.runs.logging import TRACKERS, Logged, Together
from seqrl_jax.runs.observer import RowProgress, Unwatched


class Kept:
    def __init__(self):
        self.told, self.closed = [], False

    def log(self, values, step):
        self.told.append((dict(values), step))

    def close(self):
        self.closed = True


def watch(observer):
    observer.starts(2, 0)
    observer.row("ppo", ["tiger"], 1)
    observer.chunk(RowProgress(0, 2, 0, 0, None, None))
    observer.chunk(RowProgress(1, 2, 0, 50, 10.0, 0.5))
    observer.cell(made_up(task="tiger"))
    observer.note("nothing")


def test_rows_are_told_at_their_steps_and_cells_at_their_end():
    kept = Kept()
    watch(Logged(kept, "return"))
    (first, at), (last, end) = kept.told
    assert at == 50
    assert first == {"ppo on tiger/score": 0.5, "ppo on tiger/steps_per_second": 10.0, "ppo on tiger/recompiled": 0}
    assert (last, end) == ({"ppo on tiger/return": pytest.approx(0.3)}, 100)


def test_rows_of_as_many_tasks_have_names_of_their_own_and_steps_are_those_of_a_run():
    """Runs of two tasks with five seeds each make ten times the steps of one."""
    kept = Kept()
    logged = Logged(kept, "return")
    for tasks in (["tiger", "two_doors"], ["tmaze", "chain"]):
        logged.row("ppo", tasks, 2)
        logged.chunk(RowProgress(0, 2, 0, 500, None, 0.5, runs=10))
    assert kept.told == [({"ppo on tiger and 1 more/score": 0.5}, 50), ({"ppo on tmaze and 1 more/score": 0.5}, 50)]


def test_the_command_offers_every_tracker():
    (tree,) = (action for action in parser()._actions if action.choices)
    (told,) = (action for action in tree.choices["run"]._actions if action.dest == "log_to")
    assert set(told.choices) == set(TRACKERS)


def test_every_observer_is_told_the_same():
    kept, other = Kept(), Kept()
    watch(Together(Unwatched(), Logged(kept, "return"), Logged(other, "return")))
    assert kept.told == other.told and len(kept.told) == 2


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_run_of_a_tracker_is_told_and_finished(name, monkeypatch, tmp_path):
    calls = []
    run = types.SimpleNamespace(
        log=lambda values: calls.append(("log", values)), finish=lambda: calls.append(("finish",))
    )
    module = types.ModuleType(name)
    module.init = lambda **settings: calls.append(("init", settings)) or run
    monkeypatch.setitem(sys.modules, name, module)
    writer = TRACKERS[name](tmp_path / "quick")
    writer.log({"score": 1.0}, 7)
    writer.close()
    assert calls == [
        ("init", {"project": "seqrl_jax", "name": "quick"}),
        ("log", {"score": 1.0, "training steps": 7}),
        ("finish",),
    ]


def test_tensorboard_writes_events(tmp_path):
    pytest.importorskip("tensorboardX")
    writer = TRACKERS["tensorboard"](tmp_path)
    watch(Logged(writer, "return"))
    writer.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"ppo_on_tiger/score" in events.read_bytes()


@pytest.mark.parametrize(
    ("name", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb"), ("trackio", "trackio")]
)
def test_a_missing_tracker_is_one_line_that_names_its_extra(name, package, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    out = tmp_path / "out"
    words = ["run", "--tasks", "tiger", "--agents", "random", "--seeds", "1", "--out", str(out), "--log-to", name]
    assert cli.main(words) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("seqrl: ") and f'pip install "seqrl_jax[{name}]"' in said and not list(out.glob("*.json"))
