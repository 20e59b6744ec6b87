"""The code of networks of one's own in a run: when it may run, and the copy that the run keeps."""

from pathlib import Path

from inat_ray.config.code import allowed, checked_code, code_of, own_code, read_code
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import Source
from inat_ray.config.shipped import find_experiment
from inat_ray.run.folder import CODE, RunFolder
from inat_ray.storage.disk import write_bytes


def admitted(experiment: Experiment, source: Source | None) -> Experiment:
    """Lets this process run the code that the experiment in a person's own file names.

    Returns the experiment with that code's SHA-256. A file in the folder of a run is the run's:
    its code must have been named. Raises UserError if it was not, or if there is no such code.
    """
    path = find_experiment(source) if isinstance(source, Path) else None
    folder = None if path is None else RunFolder(path.parent)
    of_a_run = folder is not None and (folder.events.exists() or folder.is_storage)
    return checked_code(experiment) if of_a_run else own_code(experiment)


def keep_code(run: RunFolder, experiment: Experiment) -> None:
    """Copies the code of the experiment's own networks into the run's folder and its storage."""
    code = code_of(experiment)
    if code is None or code.source is None:
        return
    file = run.path / CODE / code.place
    if file.exists() and file.read_bytes() != code.source:  # a run that goes on with other code
        file = file.with_stem(f"{file.stem}-{code.sha256[:8]}")
    file.parent.mkdir(exist_ok=True)
    write_bytes(file, code.source)
    run.keep(file)


def kept_code(run: RunFolder) -> Path | None:
    """Returns the run's copy of code that this process may run; None if it has none."""
    known = {code.sha256 for code in allowed()}
    copies = (run.path / CODE).glob("*.py")
    return next((file for file in copies if read_code(str(file)).sha256 in known), None)
