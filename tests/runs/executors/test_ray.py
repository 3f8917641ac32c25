"""A cluster of two nodes on this machine."""

import os
import signal
from contextlib import contextmanager

import pytest

from seqrl_jax.runs.executors import ray as ours
from seqrl_jax.runs.executors.ray import RayCluster, RayPool
from seqrl_jax.runs.executors.remote import Remote
from seqrl_jax.runs.executors.resources import resources
from seqrl_jax.runs.runner import run

ray = pytest.importorskip("ray")
ONE = resources(["cpus=1"])


@contextmanager
def two_nodes():
    """A cluster, and the node of it that is not its head."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        yield cluster, cluster.add_node(num_cpus=1)
        cluster.shutdown()


@pytest.fixture(scope="module")
def nodes():
    """Their address."""
    with two_nodes() as (cluster, _):
        yield cluster.address


@pytest.fixture
def dying():
    """Two of a test's own."""
    with two_nodes() as both:
        yield both


def reports(pool, count):
    came = []
    while len(came) < count:
        came += pool.wait(1.0)
    return {report.ticket: report for report in came}


def test_a_table_is_that_of_a_local_run(tmp_path, nodes, small_table, numbers):
    there = run(small_table, tmp_path / "there", executor=Remote(RayCluster(nodes, ONE)))
    here = run(small_table, tmp_path / "here")
    assert numbers(there) == numbers(here) == numbers(tmp_path / "there")
    assert [record.device for record in there] == [record.device for record in here]
    assert not ray.is_initialized()


def test_a_killed_worker_is_reported_once_and_nothing_is_repeated(tmp_path, nodes):
    marks = str(tmp_path)

    def work(job):
        import tempfile

        tempfile.mkstemp(dir=marks)
        if job == b"dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if job == b"fails":
            raise ZeroDivisionError("no number\nat all")
        return job * 2

    with RayCluster(nodes, ONE).open(tmp_path, lambda message: None):
        pool = RayPool(ONE, work)
        tickets = {job: pool.submit(job) for job in (b"dies", b"fails", b"x" * 10**6)}
        came = reports(pool, 3)
    assert came[tickets[b"dies"]].answer is None and came[tickets[b"dies"]].lost.startswith("WorkerCrashedError: ")
    assert "ZeroDivisionError" in came[tickets[b"fails"]].lost and "\n" not in came[tickets[b"fails"]].lost
    assert came[tickets[b"x" * 10**6]].answer == b"x" * 2 * 10**6
    assert len(list(tmp_path.iterdir())) == 3


def test_of_a_killed_node_each_job_is_reported_once_and_nothing_is_repeated(tmp_path, dying, until):
    cluster, node = dying

    def work(job):
        import time

        here = tmp_path / f"on_{ray.get_runtime_context().get_node_id()}"
        here.touch(exist_ok=False)
        while here.exists():
            time.sleep(0.01)
        return job * 2

    with RayCluster(cluster.address, ONE).open(tmp_path, lambda message: None):
        pool = RayPool(ONE, work)
        for job in (b"one", b"two"):
            pool.submit(job)
        until(lambda: len(list(tmp_path.iterdir())) == 2)
        cluster.remove_node(node, allow_graceful=False)
        (other,) = (mark for mark in tmp_path.iterdir() if mark.name != f"on_{node.node_id}")
        other.unlink()
        came = reports(pool, 2).values()
    (lost,) = (report.lost for report in came if report.answer is None)
    assert lost.startswith(("NodeDiedError: ", "WorkerCrashedError: ")) and "\n" not in lost
    assert [report.answer for report in came if report.answer is not None] in ([b"oneone"], [b"twotwo"])
    assert [mark.name for mark in tmp_path.iterdir()] == [f"on_{node.node_id}"]


def test_rows_that_no_node_can_take_are_a_note(tmp_path, nodes):
    notes = []
    with RayCluster(nodes, resources(["cpus=7", "TPU=4"])).open(tmp_path, notes.append):
        pass
    assert notes == ["no node of the cluster has now what a row asks for, cpus=7, gpus=0, TPU=4: rows wait"]


def test_an_address_where_nobody_is_is_refused_at_once():
    with pytest.raises(OSError, match=r"--address 127.0.0.1:1: no Ray cluster answers"):
        RayCluster("127.0.0.1:1", ONE)


def test_an_address_by_name_is_left_to_ray():
    assert ours._answers("auto") is None
