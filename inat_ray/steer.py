"""What `sweep` asks of a run that is there: another budget, space or model, an earlier end."""

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from inat_ray import options
from inat_ray.config.errors import UserError
from inat_ray.config.space import search_space
from inat_ray.log.run_log import RunLog
from inat_ray.run.claim import reclaimed
from inat_ray.run.contents import read_contents, read_whole
from inat_ray.run.fetch import is_storage
from inat_ray.run.requests import Requests, ask, leave, place_of_work
from inat_ray.search.steering import (
    FINISH,
    NOTHING,
    Request,
    answered,
    change_asked,
    stop_asked,
    total_with,
)
from inat_ray.storage.place import Place


def request_of(
    run: str, option: str, *, settings: Sequence[str], trials: int | None, pick: str | None = None
) -> tuple[Request, list[str]]:
    """Returns what --resume, --extend or --finish asks, and the lines of --set about other things.

    Raises UserError where that is no request.
    """
    if option == "--extend":
        if trials is None or trials < 1:
            raise UserError(f"--extend {run}: --trials N says how many trials to add; 1 or more")
        trials = total_with(read_contents(run).history, trials)
    request, others = change_asked(settings, trials=trials)
    if option == "--finish" and request != NOTHING:
        raise UserError(f"--set {request.settings[0]}: has no place beside --finish")
    if pick is not None:
        if request != NOTHING:
            raise UserError(f"--set {request.settings[0]}: has no place beside --pick")
        request = Request(pick=pick)
    return (FINISH if option == "--finish" else request), others


def place_to_ask(run: str, request: Request) -> Place | None:
    """Returns where to leave a request, if there is one and a process is at work on the run."""
    if request == NOTHING:
        return None
    if is_storage(run):  # a process that died there is known by what it does not do for a while
        options.console().print("[dim]looking whether a process is at work on it[/]")
    return place_of_work(run)


def ask_and_tell(run: str, request: Request, others: Sequence[str] = (), *, at: Place) -> None:
    """Asks the process that is at work on the run, and says what it made of it.

    Raises UserError for `others`, lines of --set about other things than the search.
    """
    request = request.model_copy(update={"settings": (*request.settings, *others)})
    from inat_ray.terminal.run_texts import steering_text

    options.console().print(f"[dim]asking the process that is at work on {escape(run)}[/]")
    for begun, record in ask(run, request, at=at):
        options.say("done", steering_text(record, begun=begun))


def go_on(
    run: str,
    option: str,
    *,
    settings: Sequence[str] = (),
    trials: int | None = None,
    pick: str | None = None,
    address: str | None = None,
    verbose: bool = False,
) -> None:
    """Does what --resume, --pick or --finish of a run in a folder does."""
    from inat_ray.sweep import run_sweep
    from inat_ray.tuning.plan import resumed_plan

    request, others = request_of(run, option, settings=settings, trials=trials, pick=pick)
    if (place := place_to_ask(run, request)) is not None:
        ask_and_tell(run, request, others, at=place)
        return
    plan = resumed_plan(Path(run), settings=others, request=request, option=option, options={})
    run_sweep(plan, address=address, verbose=verbose)


def stop_trial(trial: str) -> None:
    """Ends the trial RUN/TRIAL of a sweep, whether that runs or not; one that does not stays so."""
    run, _, name = trial.rstrip("/").rpartition("/")
    if not run:
        raise UserError(f"--stop {trial}: RUN/TRIAL is allowed, such as runs/bayes/trial_0007")
    request = Request(stop=name)
    if (place := place_of_work(run)) is not None:
        ask_and_tell(run, request, at=place)
    elif is_storage(run):
        _stop_stored(run, request)
    else:
        _stop_here(Path(run), request)


def _stop_stored(run: str, request: Request) -> None:
    """Leaves the request in a storage for the process that goes on with the run."""
    contents = read_contents(run)
    contents.check("log")
    assert request.stop is not None
    stop_asked(request.stop, contents.history)
    leave(request, at=Place.at(run))
    later = f"once --resume {run} goes on with the run"
    options.say("done", f"{request.stop} is not trained any further {later}")


def _stop_here(run: Path, request: Request) -> None:
    experiment, history = read_whole(run)
    space = search_space(experiment)
    answered(request, experiment=experiment, space=space, history=history)
    # Imported only now: Ray and PyTorch take seconds to load, and a mistake is answered at once.
    from inat_ray.tuning.search import carry_on

    with (
        reclaimed(run) as folder,
        RunLog(folder.log, storage=folder.storage, is_claimed=True) as log,
    ):
        carry_on(experiment, run=folder, log=log)
        Requests(folder, experiment=experiment, space=space).answer(request, log)
    options.say("done", f"{request.stop} is not trained any further")
