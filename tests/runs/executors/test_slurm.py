"""Jobs of submitit, as processes of this machine."""

import os
import pickle
import signal

import pytest

from seqrl_jax.runs.executors.remote import Remote
from seqrl_jax.runs.executors.resources import resources
from seqrl_jax.runs.executors.slurm import FOLDER, SlurmCluster, SlurmPool
from seqrl_jax.runs.runner import run

submitit = pytest.importorskip("submitit")
ONE = resources(["cpus=1", "timeout_min=10"])


def test_a_table_is_that_of_a_local_run(tmp_path, small_table, numbers):
    there = run(small_table, tmp_path / "there", executor=Remote(SlurmCluster(ONE, "local")))
    assert numbers(there) == numbers(run(small_table, tmp_path / "here")) == numbers(tmp_path / "there")
    assert not (tmp_path / "there" / FOLDER).exists()


def test_a_killed_job_is_reported_and_not_repeated(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()

    def work(job, marks=str(marks)):
        import tempfile

        tempfile.mkstemp(dir=marks)
        if job == b"dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if job == b"fails":
            raise ZeroDivisionError("no number")
        return job * 2

    pool = SlurmPool(tmp_path, SlurmCluster(ONE, "local")._executor(tmp_path / "jobs"), work)
    tickets, came = {job: pool.submit(job) for job in (b"dies", b"fails", b"lives")}, {}
    while len(came) < 3:
        came |= {report.ticket: report for report in pool.wait(1.0)}
    assert came[tickets[b"lives"]].answer == b"liveslives"
    assert "has not produced any output" in came[tickets[b"dies"]].lost
    assert came[tickets[b"fails"]].answer is None and "failed" in came[tickets[b"fails"]].lost
    assert not any("\n" in report.lost for report in came.values()) and len(list(marks.iterdir())) == 3


def test_what_a_killed_driver_left_is_cancelled(tmp_path, monkeypatch):
    """The job without a result is; the finished one is not."""
    folder, log = tmp_path / FOLDER / "jobs", tmp_path / "cancelled"
    folder.mkdir(parents=True)
    for job in ("11", "12"):
        (folder / f"{job}_submitted.pkl").write_bytes(pickle.dumps(None))
    (folder / "12_0_result.pkl").write_bytes(pickle.dumps(None))
    (tmp_path / "scancel").write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    (tmp_path / "scancel").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    notes = []
    with SlurmCluster(ONE, "local").open(tmp_path, notes.append):
        assert not list(folder.iterdir())
    assert (log.read_text(), notes) == ("11\n", ["1 jobs of a run that was ended are cancelled"])


def test_resources_go_by_the_names_of_submitit(tmp_path):
    cluster = SlurmCluster(resources(["cpus=3", "gpus=2", "slurm_partition=fast"]), "local")
    parameters = cluster._executor(tmp_path).parameters
    assert (parameters["gpus_per_node"], parameters["timeout_min"]) == (2, 24 * 60)
    with pytest.raises(ValueError, match=r"--resources: .*colour"):
        SlurmCluster(resources(["cpus=1", "colour=red"]), "local")._executor(tmp_path)


def test_without_slurm_it_is_a_line(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="there is no srun here"):
        SlurmCluster(ONE)
