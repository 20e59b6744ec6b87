"""Names of files and classes, as they are stored and as they are shown."""

import os
import unicodedata
from collections.abc import Sequence


def as_text(name: str) -> str:
    """Returns a file name with bytes that are not UTF-8 (old archives have them) as `\\xe9`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def shown_name(name: str) -> str:
    """Returns the name itself if it is what it looks like, else quoted and in ASCII.

    So a blank at an end, a line break, and letters composed of several characters (as a Mac writes
    an accent) can be told from the name that looks the same.
    """
    plain = name.isprintable() and name == unicodedata.normalize("NFC", name)
    return name if plain and name and name == name.strip() else ascii(name)


def listed(names: Sequence[str], most: int = 5) -> str:
    """Returns the first of the names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown_name, names[:most])) + more
