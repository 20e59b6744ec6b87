"""The one exception that stands for a mistake of the user's."""


class UserError(Exception):
    """Something the user wrote or gave cannot be used.

    The message says what was wrong, where (file, key, value) and what is allowed.
    Commands print it without a traceback and exit with code 2.
    """
