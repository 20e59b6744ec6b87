"""The exceptions that a command answers with a sentence instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError


class UserError(Exception):
    """Something the user wrote or gave cannot be used.

    The message says what was wrong, where (file, key, value) and what is allowed.
    Commands print it without a traceback and exit with code 2.
    """


class RunFailedError(Exception):
    """The work was done and has no result: every trial failed, or training diverged.

    Commands print the message without a traceback and exit with code 1.
    """


@contextmanager
def about(place: str) -> Iterator[None]:
    """Begins the message of a UserError with the place that it is about: a file, a key.

    A message that begins with a dot is about a key there: `.max: 0: must be above 0`.
    """
    try:
        yield
    except UserError as error:
        text = str(error)
        raise UserError(f"{place}{'' if text.startswith('.') else ': '}{text}") from None


@contextmanager
def readable(subject: object, *, remedy: str) -> Iterator[None]:
    """Turns whatever a reader of files raises into a UserError.

    `subject` is what is read; a path must be a file, since reading from a pipe may never end.
    `remedy` says what a person can do.
    """
    if isinstance(subject, Path) and subject.exists() and not subject.is_file():
        raise UserError(f"{subject}: is no file; {remedy}")
    try:
        yield
    except (UserError, RunFailedError):
        raise
    except ValidationError as error:
        raise UserError(f"{subject}: cannot be read ({finding(error)}); {remedy}") from None
    # Damaged bytes make readers raise anything: struct.error, zlib.error, RecursionError, KeyError.
    except Exception as error:
        lines = f"{type(error).__name__}: {error}".splitlines()
        text = " ".join(line.strip() for line in lines[:2])
        raise UserError(f"{subject}: cannot be read ({text}); {remedy}") from None


def finding(error: ValidationError) -> str:
    """Returns the first of pydantic's findings: the key, and what is allowed there."""
    details = error.errors()[0]
    key = ".".join(map(str, details["loc"]))
    return f"{key}: {details['msg']}" if key else details["msg"]
