"""Signals, in processes of their own."""

import signal
import subprocess
import sys
import time

import pytest
from toy_process import begun

from seqrl_jax.failures import Interrupted
from seqrl_jax.results import store
from seqrl_jax.runs.interrupt import Interrupt


@pytest.mark.parametrize("signum, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_chunk_keeps_it_and_the_same_command_goes_on(
    tmp_path, uninterrupted, numbers, filling, until, signum, code
):
    process = filling(tmp_path, 0.1)
    until(lambda: begun(tmp_path) >= 3)
    process.send_signal(signum)
    assert process.wait(60) == code
    assert process.stderr.read().splitlines() == [f"ended by {signum.name}; the same command goes on from here"]
    made = begun(tmp_path)
    assert filling(tmp_path, 0).wait(60) == 0
    assert numbers(tmp_path) == uninterrupted
    assert begun(tmp_path) == 48, f"{made} chunks were kept, the last of them whole"


def test_a_second_signal_ends_at_once(tmp_path, filling, until):
    process = filling(tmp_path, 300)
    until(lambda: begun(tmp_path) == 1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None, "the chunk goes on"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert process.stderr.read() == "seqrl: ended by SIGTERM; the same command goes on from here\n"
    assert store.read(tmp_path) == ([], [])


def test_a_signal_while_a_program_compiles_ends_at_once():
    """Python's own handlers would wait for the end of the call: here of one that sleeps in C without the GIL."""
    code = """
import ctypes, sys
from seqrl_jax.runs.interrupt import interruptible
libc = ctypes.CDLL(None)
with interruptible():
    print("compiling", flush=True)
    libc.sleep(300) and libc.sleep(300)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "compiling\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert process.communicate()[1] == "seqrl: ended by SIGTERM; the same command goes on from here\n"


def test_a_signal_that_is_ignored_stays_so():
    code = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from seqrl_jax.runs.interrupt import interruptible
with interruptible():
    os.kill(os.getpid(), signal.SIGINT)
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
print("went on")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


def test_what_is_under_way_ends_first():
    said = []
    interrupt = Interrupt(said.append)
    with pytest.raises(Interrupted) as interrupted, interrupt.under_way():
        assert not interrupt.request(signal.SIGINT), "once: go on"
        assert interrupt.requested and len(said) == 1
        assert interrupt.request(signal.SIGINT), "twice: at once"
    assert interrupted.value.exit_code == 130


def test_with_nothing_under_way_nothing_is_waited_for():
    assert Interrupt().request(signal.SIGTERM)


def test_an_error_under_way_is_not_hidden_by_a_signal():
    interrupt = Interrupt()
    with pytest.raises(OSError), interrupt.under_way():
        interrupt.request(signal.SIGINT)
        raise OSError("disk full")
