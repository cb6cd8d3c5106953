"""`cl-lsg`: what a person types. A command's work lies in `pipeline.commands`, imported when called."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Sequence
from threading import current_thread, main_thread

from pipeline.errors import UserError
from pipeline.parser import LEARNING, parser


class _Terminated(KeyboardInterrupt):
    """SIGTERM, as schedulers and `timeout` send it: what is under way ends as after Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Status 2 for bad input, 1 for units that failed, 130 after Ctrl-C, 143 after SIGTERM.

    Where nobody reads the output any more, as of `cl-lsg status | head`, the status is that of other tools.
    """
    arguments = parser().parse_args(argv)
    if current_thread() is main_thread():  # Python lets no other set a handler
        signal.signal(signal.SIGTERM, _terminate)
    try:
        from pipeline.commands import execute

        status = execute(arguments)
        print(end="", flush=True)
        return status
    except UserError as error:
        return _fail(2, str(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            return 128 + signal.SIGPIPE
        where = f"{error.filename}: " if error.filename else ""
        return _fail(2, f"{where}{error.strerror or error}; mend that, and {_again(arguments.command)}")
    except KeyboardInterrupt as stopped:
        number = signal.SIGTERM if isinstance(stopped, _Terminated) else signal.SIGINT
        resumes = arguments.command in LEARNING
        return _fail(128 + number, f"interrupted; {_again(arguments.command)}" if resumes else "interrupted")


def _again(command: str) -> str:
    """What the same command does when it is given once more."""
    return "the same command goes on where it stopped" if command in LEARNING else "give the command again"


def _terminate(_number: int, _frame: object) -> None:
    raise _Terminated


def _reader_is_gone() -> bool:
    """Whether the pipe behind standard output is closed; what was still to be written then goes nowhere."""
    output, poll = sys.stdout.fileno(), select.poll()
    poll.register(output, 0)
    if not poll.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # or Python tells of the pipe when it ends
    return True


def _fail(status: int, text: str) -> int:
    print(f"cl-lsg: {' '.join(text.split())}", file=sys.stderr)
    return status
