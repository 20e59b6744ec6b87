"""What a W&B sweep is as an experiment, while it is read and once it is."""

from dataclasses import dataclass, field

from inat_ray.config.distributions import JSON, Tree
from inat_ray.config.errors import UserError
from inat_ray.config.overrides import put, settings_in


@dataclass(frozen=True)
class Row:
    """What became of a part of a sweep."""

    theirs: str
    """Its key there, such as parameters.lr; empty for what the file does not say."""
    ours: str
    """The setting here; empty if it has none."""
    value: JSON = None
    note: str = ""


@dataclass
class Translation:
    """An experiment made from a sweep."""

    tree: Tree = field(default_factory=dict)
    """As the file of an experiment would hold it."""
    rows: list[Row] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    """A sentence for each part that cannot be read without a guess: its key, the reason, and how
    it is answered."""

    def say(self, theirs: str, ours: str, value: JSON, note: str = "") -> None:
        """Adds a row, and puts the value into the experiment."""
        self.rows.append(Row(theirs, ours, value, note))
        put(self.tree, ours, value)

    def drop(self, theirs: str, reason: str) -> None:
        """Adds a row for what has no counterpart and needs none."""
        self.rows.append(Row(theirs, "", note=reason))

    def ask(self, theirs: str, reason: str, answer: str) -> None:
        """Adds a question; `answer` says which `--set` does what."""
        self.questions.append(f"{theirs}: {reason}; {answer}")

    def holds(self, setting: str) -> bool:
        """Returns whether the sweep gives this setting, or searches it."""
        searched = self.tree.get("search", {}).get("parameters", {})
        return setting in settings_in(self.tree) or setting in searched


class UnansweredError(UserError):
    """What a W&B sweep leaves to be asked, with how each question is answered."""

    def __init__(self, file: str, questions: list[str]) -> None:
        super().__init__("\n".join(f"{file}: {question}" for question in questions))
        self.questions = questions
