"""The command line, `seqrl`. What a command does is in `commands`, imported when asked for, so that `--help` answers at
once; its words are in `commands.arguments`."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from seqrl_jax.commands.arguments import BAD_INPUT, parser
from seqrl_jax.commands.console import note, of_system, one_line
from seqrl_jax.failures import DISK_FAILURES, Interrupted, RowsFailed, device_is_full, no_device
from seqrl_jax.garbage import uncollected

FAILED = 1
DEVICE_VARIABLES = ("JAX_PLATFORMS", "JAX_NUM_CPU_DEVICES")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code.

    0, or 1 where `check` or `verify` finds faults; 2 after one line on stderr for bad input; 1 after one for a disk
    that is full or fails, and for rows that failed elsewhere; 130 and 143 after one for Ctrl-C and SIGTERM.
    """
    _write_any_text()
    options = parser().parse_args(arguments)
    if options.no_cache:
        os.environ["SEQRL_NO_CACHE"] = "1"
    # Environments of one's own are found where the command is given, behind all that is installed; a folder that was
    # removed holds none.
    with contextlib.suppress(FileNotFoundError):
        sys.path.append(os.getcwd())
    warnings.showwarning = note
    try:
        with uncollected():
            command = import_module(f"seqrl_jax.commands.{options.command}")
        return command.run(options) or 0
    except BrokenPipeError:
        # The reader of our output has left; a second error while Python flushes it would say nothing more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _refuse(of_system(error), FAILED if error.errno in DISK_FAILURES else BAD_INPUT)
    except (ValueError, OverflowError) as error:
        return _refuse(error)
    except RowsFailed as error:
        return _refuse(error, FAILED)
    except MemoryError as error:
        return _refuse(f"too large for this machine's memory: {one_line(error)}")
    except RecursionError:
        return _refuse("the input is nested too deeply")
    except ImportError as error:
        # One that names no module is ours, and says which extra is missing.
        if error.name is not None:
            raise
        return _refuse(error)
    except (RuntimeError, AssertionError) as error:
        if why := no_device():
            said = [f"{name}={os.environ[name]}, " for name in DEVICE_VARIABLES if name in os.environ]
            return _refuse(f"{''.join(said)}and jax finds no device to compute on: {why}".removeprefix("and "))
        if not (isinstance(error, RuntimeError) and device_is_full(error)):
            raise
        return _refuse(f"too large for the device's memory: {one_line(error)}")
    except Interrupted as interrupted:
        return _refuse(interrupted, interrupted.exit_code)
    except KeyboardInterrupt:
        return _refuse("interrupted", 128 + signal.SIGINT)
    return 0


def program() -> int:
    """`main` as a process of its own, which ends with it: what it leaves is not walked over for garbage once more."""
    code = main()
    gc.freeze()
    return code


def _refuse(message: object, code: int = BAD_INPUT) -> int:
    print(f"seqrl: {one_line(message)}", file=sys.stderr)
    return code


def _write_any_text() -> None:
    """Let output that its encoding cannot hold be written as escapes, where Python would end the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(program())
