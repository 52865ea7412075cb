"""How a command ends: exit codes, signals, streams that are closed, messages of errors."""

import io
import os
import signal
import sys
from collections.abc import Callable, Sequence

from distill.errors import DistillError, Interrupted
from distill.terminal import for_terminal


def plain_door(run: Callable[[Sequence[str]], int]) -> None:
    """A command with options of its own instead of Hydra's; leaves with its exit code."""

    def door() -> int:
        try:
            return run(sys.argv[1:])
        except DistillError as error:
            return fail(error)

    leave(door)


def leave(door: Callable[[], int]) -> None:
    """Leave with a door's exit code; a reader that closes its pipe (``| head``) is no error."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack the letters of a file's name
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _stop)
    try:
        code = door()
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        code = fail(Interrupted.by(stop, "stopped before there was anything to keep"))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    sys.exit(code)


def fail(error: DistillError) -> int:
    """Tell an error; its exit code."""
    # A progress bar leaves the cursor in its own line.
    start = "\n" if isinstance(error, Interrupted) else ""
    lines = "\n".join(for_terminal(line) for line in str(error).split("\n"))
    sys.stderr.write(f"{start}error: {lines}\n")
    return error.exit_code


def _open_closed_streams() -> None:
    """What the caller closed (``>&-``, some daemons) leads nowhere.

    Else Python has None in its place, and the next file that is opened gets its number, which
    libraries write to.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _stop(number: int, frame: object) -> None:
    """SIGTERM as Ctrl-C, but for the exit code; training has a handler of its own."""
    raise KeyboardInterrupt(number)
