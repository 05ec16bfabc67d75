"""The exception for errors that the user can fix."""


class UserError(ValueError):
    """Invalid input: a setting, a file, or a missing feature of the machine.

    The message names the key or file, what was received, what is accepted, and the remedy. The scripts print it without
    a traceback and exit with a code other than 0. Any other exception is a bug and keeps its traceback.
    """
