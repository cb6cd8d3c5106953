"""The one error that a person is meant to read."""


class UserError(Exception):
    """Something outside the code is wrong: an input, a setting, the disk.

    The message is one sentence or two: what is wrong, with its name, then the remedy. The command line
    prints it as one line and exits with status 2.
    """
