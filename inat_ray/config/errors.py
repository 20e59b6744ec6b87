"""The exceptions that a command answers with a sentence instead of a traceback."""


class UserError(Exception):
    """Something the user wrote or gave cannot be used.

    The message says what was wrong, where (file, key, value) and what is allowed.
    Commands print it without a traceback and exit with code 2.
    """


class RunFailedError(Exception):
    """The work was done and came to nothing: every trial failed, or training diverged.

    Commands print the message without a traceback and exit with code 1.
    """
