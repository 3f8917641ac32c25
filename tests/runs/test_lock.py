import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from toy_process import begun

from seqrl_jax.runs.checkpoint import FOLDER
from seqrl_jax.runs.lock import Refused, writing
from seqrl_jax.runs.runner import run


@pytest.fixture
def lock(tmp_path):
    return tmp_path / FOLDER / "lock"


@pytest.fixture
def without_flock(monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.fixture
def ended():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_second_writer_is_told_who_the_first_is(tmp_path, lock):
    with writing(tmp_path, lock), pytest.raises(Refused) as refused, writing(tmp_path, lock):
        pass
    assert f"process {os.getpid()} on {socket.gethostname()} is writing to {tmp_path}" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_lock_leaves_nothing(tmp_path, lock):
    with writing(tmp_path / "new", tmp_path / "new" / FOLDER / "lock"):
        assert (tmp_path / "new" / FOLDER / "lock").exists()
    assert list((tmp_path / "new").iterdir()) == []
    with writing(tmp_path, lock), writing(tmp_path / "new", tmp_path / "new" / FOLDER / "lock"):
        pass
    with writing(tmp_path, lock):
        pass


def test_a_process_that_runs_is_respected_and_its_lock_goes_with_kill_9(tmp_path, order, filling, until):
    process = filling(tmp_path, 0.05)
    until(lambda: begun(tmp_path) > 0)
    with pytest.raises(Refused, match=f"process {process.pid} on"):
        run(order(), tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / FOLDER / "lock").exists()
    assert len(run(order(), tmp_path)) == 9


def test_two_processes_that_start_together_do_not_both_write(tmp_path, filling):
    first, second = filling(tmp_path, 0.05), filling(tmp_path, 0.05)
    codes = sorted([first.wait(60), second.wait(60)])
    assert codes == [0, 1]
    reported = first.stderr.read() + second.stderr.read()
    assert f"is writing to {tmp_path}" in reported


def test_a_lock_of_a_file_that_is_no_longer_there_does_not_count(tmp_path, lock, monkeypatch):
    """Between opening the file and locking it, its owner ends and removes it, and another makes it anew."""
    flock, others = fcntl.flock, []

    def overtaken(descriptor, operation):
        if not others:
            lock.unlink()
            others.append(os.open(lock, os.O_RDWR | os.O_CREAT))
            flock(others[0], operation)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", overtaken)
    with pytest.raises(Refused, match="another process is writing"), writing(tmp_path, lock):
        pass
    os.close(others[0])
    with writing(tmp_path, lock):
        pass


def test_without_flock_the_process_is_looked_for(tmp_path, lock, without_flock, ended):
    lock.parent.mkdir()
    lock.write_text(json.dumps({"pid": ended, "host": socket.gethostname()}))
    with writing(tmp_path, lock):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
        with pytest.raises(Refused, match=f"process {os.getpid()}"), writing(tmp_path, lock):
            pass
    assert not lock.exists()


def test_without_flock_another_host_cannot_be_asked(tmp_path, lock, without_flock, ended):
    lock.parent.mkdir()
    lock.write_text(json.dumps({"pid": ended, "host": "elsewhere"}))
    with pytest.raises(Refused, match=f"process {ended} on elsewhere.*its lock is {lock}"), writing(tmp_path, lock):
        pass
    assert lock.exists()


def test_a_directory_that_is_a_file_is_refused_and_left(tmp_path, order):
    path = tmp_path / "file"
    path.write_text("mine")
    for directory in (path, path / "below"):
        with pytest.raises(Refused, match=f"{path} is a file, where a directory of results is to be"):
            run(order(), directory)
    assert path.read_text() == "mine"


def test_a_folder_of_checkpoints_that_is_a_file_is_refused_by_its_name(tmp_path, order):
    (tmp_path / FOLDER).write_text("mine")
    with pytest.raises(Refused, match=f"{tmp_path / FOLDER} is a file, where a directory of results is to be"):
        run(order(), tmp_path)


@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_directory_that_cannot_be_written_to_is_refused_in_a_line(tmp_path, order, monkeypatch, error):
    """As root, tests may write anywhere, so the system's answer is put in its place."""

    def refuse(*arguments, **named):
        raise OSError(error, os.strerror(error))

    run(order(methods=["slow"]), tmp_path)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Refused) as refused:
        run(order(), tmp_path)
    monkeypatch.undo()
    assert str(refused.value) == f"cannot write results to {tmp_path}: {os.strerror(error)}"
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != FOLDER] == before
