"""Stopping a run: Ctrl-C and SIGTERM let the chunk end and be kept, a second one ends the process at once.

Python's own handlers wait until a call of C code returns, and compiling a program is one such call, of up to minutes.
So a thread reads the signals as they arrive, from the pipe of `signal.set_wakeup_fd`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator

from seqrl_jax import hosts
from seqrl_jax.failures import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = "\x1b[?25h"
AFTER_THIS_CHUNK = "ending after this chunk, which is kept"


class Interrupt:
    """Whether the run shall end, and whether something is under way that would be lost."""

    def __init__(self, say: Callable[[str], None] = lambda message: None) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._requested: int | None = None
        self._agreed: int | None = None
        self._busy = 0
        self._ending = AFTER_THIS_CHUNK

    @property
    def requested(self) -> bool:
        """Whether the run shall end as soon as what is under way is kept."""
        return self._in_force is not None

    def agree(self) -> bool:
        """The same of a run that several processes share: a signal to any of them is one to all, as soon as all have
        asked for it here."""
        if hosts.several():
            self._agreed = int(hosts.everyone(self._requested or 0).max()) or None
        return self.requested

    def request(self, signum: int) -> bool:
        """Take note of a signal. Returns whether the process may end at once: nothing is under way and no other process
        waits for it, or it is the second signal."""
        with self._lock:
            if self._requested is not None or not (self._busy or hosts.several()):
                return True
            self._requested = signum
        self._say(f"{self._ending} (once more: at once)")
        return False

    @contextlib.contextmanager
    def under_way(self, ending: str = AFTER_THIS_CHUNK) -> Iterator[None]:
        """What is done in here ends before a first signal does anything. ending: what that signal is answered.

        Raises: Interrupted, at its end.
        """
        with self._lock:
            self._busy += 1
            before, self._ending = self._ending, ending
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
                self._ending = before
        self.check()

    def check(self) -> None:
        """End here if that was requested. Raises: Interrupted."""
        if self._in_force is not None:
            raise Interrupted(self._in_force)

    @property
    def _in_force(self) -> int | None:
        """The signal that ends the run: one that arrived here, or, of several processes, one that all know of."""
        return self._agreed if hosts.several() else self._requested


@contextlib.contextmanager
def interruptible(say: Callable[[str], None] = lambda message: None) -> Iterator[Interrupt]:
    """While this lasts, signals end the process when nothing is lost by it, with one line on stderr.

    A signal that the process was started to ignore stays ignored. Only for the main thread.
    """
    interrupt = Interrupt(say)
    taken = {signum: signal.getsignal(signum) for signum in SIGNALS}
    taken = {signum: handler for signum, handler in taken.items() if handler is not signal.SIG_IGN}
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    watcher = threading.Thread(target=_watch, args=(reader, interrupt), daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(writer.fileno())
    try:
        for signum in taken:
            signal.signal(signum, lambda signum, frame: None)
        yield interrupt
    finally:
        for signum, handler in taken.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(before)
        writer.close()
        watcher.join()
        reader.close()


def _watch(reader: socket.socket, interrupt: Interrupt) -> None:
    while arrived := reader.recv(1):
        if arrived[0] in SIGNALS and interrupt.request(arrived[0]):
            _end(Interrupted(arrived[0]))


def _end(interrupted: Interrupted) -> None:
    """End the process from a thread, whatever the others do."""
    # A terminal may be in the midst of a line.
    shown = f"{SHOW_CURSOR}\n" if sys.stderr.isatty() else ""
    os.write(2, f"{shown}seqrl: {interrupted}\n".encode())
    os._exit(interrupted.exit_code)
