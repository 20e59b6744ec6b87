"""Lines of the terminal that begin with a word."""

from rich.console import Console
from rich.markup import escape


def say(console: Console, word: str, text: object, *, style: str = "bold") -> None:
    """Prints the line unbroken: a path or a command in it can be copied."""
    console.print(f"[{style}]{word:4}[/]  {escape(str(text))}", soft_wrap=True)


def note(console: Console, text: str) -> None:
    """Prints a line about something that the user may want to know."""
    say(console, "note", text, style="yellow")
