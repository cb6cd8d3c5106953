"""The one error that a person is meant to read, and other errors as one line."""

AGAIN = "give `cl-lsg run` or `dvc repro -f` again"
"""The remedy for results that are missing or damaged: finished units are found, the others learned."""


class UserError(Exception):
    """Something outside the code is wrong: an input, a setting, the disk.

    The message is one sentence or two: what is wrong, with its name, then the remedy. The command line
    prints it as one line and exits with status 2.
    """


def first_line(error: BaseException) -> str:
    """An exception as one line: its type and the first line of its message."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0].removesuffix(':')}" if text else type(error).__name__
