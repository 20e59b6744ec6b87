"""python -m inat_ray.sweep: search, then the winner's model and one look at the test set."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inat_ray import options, steer
from inat_ray.asked import asked_experiment
from inat_ray.config.code import name_code
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.shipped import QUICKSTART, find_experiment
from inat_ray.data.progress import waiting
from inat_ray.log.lock import alive_in
from inat_ray.log.records import Steering, TrialKnown
from inat_ray.run.claim import begin_run, check_free, claimed_or_reclaimed
from inat_ray.run.code import keep_code
from inat_ray.run.fetch import is_storage, run_here
from inat_ray.run.folder import RunFolder
from inat_ray.run.requests import Requests
from inat_ray.run.warm_start import warm_starts
from inat_ray.search.steering import NOTHING, answered
from inat_ray.terminal.say import note

if TYPE_CHECKING:
    from inat_ray.data.dataset import DataSet
    from inat_ray.tuning.dry_run import DryRun
    from inat_ray.tuning.plan import Plan


def main(
    context: typer.Context,
    experiment: options.ExperimentFile = None,
    data: options.Data = None,
    trials: Annotated[int | None, typer.Option(metavar="N", help="How many trials.")] = None,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="T",
            help="Time for search, confirmation and the winner's training, such as 90m, 8h, 2d.",
        ),
    ] = None,
    settings: options.Set = None,
    seed: options.Seed = None,
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    storage_path: options.StoragePath = None,
    address: options.Address = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a sweep that was cut off: its folder, or S/<its name>. With --trials N"
            " or --set search.epochs=N, search.parameters.NAME.max=X, also with one that runs or is"
            " finished.",
        ),
    ] = None,
    extend: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="--resume, with --trials N more than the sweep has."),
    ] = None,
    finish: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="End the search now, whether it runs or not: the winner is next."
        ),
    ] = None,
    stop: Annotated[
        str | None,
        typer.Option(metavar="RUN/TRIAL", help="End a trial after the epoch that it is in."),
    ] = None,
    pick: Annotated[
        str | None,
        typer.Option(
            metavar="TRIAL",
            help="With --resume of a finished sweep: train this trial's configuration instead of"
            " the winner's for the model that is kept; one more look at the test set.",
        ),
    ] = None,
    warm_start: Annotated[
        str | None,
        typer.Option(
            metavar="RUN[,RUN...]",
            help="Let the searcher know what other sweeps have found; auto: all beside this one.",
        ),
    ] = None,
    save_experiment: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the experiment, with what was --set, to a new file too."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Train the largest model for a step, estimate, and end."),
    ] = False,
    tensorboard: options.TensorBoard = False,
    tensorboard_port: options.TensorBoardPort = None,
    track: options.Track = None,
    status: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Show where a sweep or a training is, wherever it runs: its folder, or"
            " S/<its name>. Changes nothing.",
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="With --status: go on showing it until it is finished.")
    ] = False,
    as_json: options.AsJson = False,
    code: options.Code = None,
    changed_code: options.ChangedCode = False,
    verbose: options.Verbose = False,
) -> None:
    """Search hyperparameters on Ray Tune; train the winner; look at the test set once.

    Without EXPERIMENT: quickstart, on pictures drawn by code. EXPERIMENT auto looks at the images
    and the machine, and chooses one. A W&B sweep file is an experiment, too: what it is here is
    shown first.

    Example: inat-ray sweep auto --data ~/photos --time 1h
    """
    options.set_verbosity(verbose=verbose)
    name_code(code, changed=changed_code)
    if status is not None:
        allowed = {"status", "watch", "as_json", "verbose"}
        options.refuse(context, context.params.keys() - allowed, beside="--status")
        _show_status(status, watch=watch, as_json=as_json)
        return
    if watch:
        raise UserError("--watch: needs --status RUN")
    if pick is not None and resume is None:
        raise UserError(f"--pick {pick}: needs --resume RUN, a sweep that is finished")
    if stop is not None:
        options.refuse(context, context.params.keys() - {"stop", "verbose"}, beside="--stop")
        steer.stop_trial(stop)
        return
    options.say_reading("sweep", resume or extend or finish or experiment or QUICKSTART)
    port = options.tensorboard_port(wanted=tensorboard, port=tensorboard_port)
    given = options.given(data=data, seed=seed, track=track)
    plan: Plan | None
    if resume is extend is finish is None:
        new = given | options.given(trials=trials) | options.time_option(time)
        if out is not None:  # before auto looks at anything
            check_free(out, overwrite=overwrite)
        asked = asked_experiment(experiment, settings or [], new, shown=dry_run)
        if save_experiment is not None:
            asked.save(save_experiment)
        with options.loading("torch", "ray"):
            from inat_ray.tuning.plan import new_plan

        plan = new_plan(
            asked.source,
            settings=asked.settings,
            options=asked.given | options.storage_option(storage_path),
            out=out,
            overwrite=overwrite,
            warm_start=[Path(run) for run in warm_start.split(",")] if warm_start else [],
        )
    else:
        path = None if experiment is None else find_experiment(experiment)
        plan = _continued(context, out=out, path=path, settings=settings or [], options=given)
    if plan is None:  # the process that is at work on the run does it
        return
    if dry_run:
        run_rehearsal(plan, address=address, verbose=verbose)
        return
    _, result = run_sweep(
        plan, address=address, overwrite=overwrite, tensorboard_port=port, verbose=verbose
    )
    if as_json:
        options.print_json(result)


def _continued(
    context: typer.Context, *, out: Path | None, settings: list[str], **given: Any
) -> "Plan | None":
    """Returns the plan of --resume, --extend or --finish; None if a process that runs is asked."""
    with options.loading("torch", "ray"):
        from inat_ray.tuning.plan import resumed_plan

    names = [name for name in ("resume", "extend", "finish") if context.params[name] is not None]
    option, run = f"--{names[0]}", context.params[names[0]]
    unfit = {"overwrite", "warm_start", "storage_path", "save_experiment", "time", *names[1:]}
    options.refuse(context, unfit | ({"trials"} if option == "--finish" else set()), beside=option)
    if (pick := context.params["pick"]) is not None:
        options.refuse(context, {"trials", "dry_run"}, beside="--pick")
    if context.params["dry_run"] and is_storage(run):
        raise UserError(
            f"--dry-run: leaves no run here, and {run} would be brought from its storage;"
            " give the folder of a run on this machine"
        )
    trials = context.params["trials"]
    request, others = steer.request_of(run, option, settings=settings, trials=trials, pick=pick)
    if (place := steer.place_to_ask(run, request)) is not None:
        kept = {*names, "trials", "pick", "settings", "verbose"}
        options.refuse(context, context.params.keys() - kept, beside=f"{option} of what runs")
        steer.ask_and_tell(run, request, others, at=place)
        return None
    folder = run_here(run, out)
    return resumed_plan(folder, settings=others, request=request, option=option, **given)


def _show_status(run: str, *, watch: bool, as_json: bool) -> None:
    """Prints the status of a run, once or until it is finished."""
    from inat_ray.terminal.status import print_status, read_status, status_json, watch_status

    console = options.console()
    status = read_status(run)
    if watch:
        status = watch_status(console, run)
    print_status(console, status, with_view=not watch)
    if as_json:
        options.print_json(status_json(status))


def run_sweep(
    plan: "Plan",
    *,
    address: str | None = None,
    overwrite: bool = False,
    tensorboard_port: int | None = None,
    verbose: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """Carries the plan out, and returns the run's folder and its result."""
    from inat_ray.boards.trackers import check_trackers
    from inat_ray.data.sources import check_source

    config, console = plan.experiment, options.console()
    known = _known(plan)
    check_source(config.data)
    check_trackers(config)
    claim = claimed_or_reclaimed(plan.folder, config, is_new=plan.is_new, overwrite=overwrite)
    with claim as run, ExitStack() as at_work:
        with _processes(plan, address=address, verbose=verbose):
            from inat_ray.data.dataset import open_dataset
            from inat_ray.run.result import finish_run
            from inat_ray.run.split import keep_split
            from inat_ray.terminal.announcements import announce, show_next_steps, show_result
            from inat_ray.tuning.search import check_limits

            data = open_dataset(config.data, progress=True)
            of_winner = data.with_validation(config.final_validation_fraction)
            if plan.is_new:
                check_limits(config, plan.space, classes=len(data.classes))
                begin_run(run, config)
            keep_code(run, config)
            keep_split(run, data)
            # Until the run is finished, which it is after Ray has ended.
            at_work.enter_context(alive_in(run.storage))
            announce(console, run=run, data=data, of_winner=of_winner)
            winner, result = _search(plan, data=data, run=run, known=known, port=tensorboard_port)
        finish_run(run, result=result, model=winner)
        show_result(console, run=run, result=result)
        with waiting("drawing the report", console=console):
            # Imported only now: plots and forests take seconds to load, which no search waits for.
            from inat_ray.page.report import report_at_end

            report_at_end(console, run=run)
        show_next_steps(console, run=run)
    return run.path, result


@contextmanager
def _processes(plan: "Plan", *, address: str | None, verbose: bool) -> Iterator[None]:
    """Keeps Ray up while the context lasts, and names the waits for its start and its end.

    Tells the plan's notes. Raises UserError for a model, or resources, that no trial can have.
    """
    config, console = plan.experiment, options.console()
    with ExitStack() as at_its_end, ExitStack() as while_it_is_up:
        with waiting("starting the trials' processes, checking the models", console=console):
            from inat_ray.tuning.session import ray_session, trials_at_once

            trials = trials_at_once(config)
            # Ray takes seconds to start, in which this process imports what it needs next. No
            # daemon: the interpreter would crash if it ended amid that.
            Thread(target=import_module, args=("inat_ray.tuning.search",)).start()
            session = ray_session(address=address, verbose=verbose, trials=trials)
            while_it_is_up.enter_context(session)
            from inat_ray.tuning.cluster import final_resources, trial_resources

            notes = _notes(plan)
            trial_resources(config)
            final_resources(config)
        ending = waiting("ending the trials' processes", console=console)
        while_it_is_up.callback(at_its_end.enter_context, ending)
        for text in notes:
            note(console, text)
        yield


def _known(plan: "Plan") -> list[TrialKnown]:
    """Reads what other runs tell the plan's search, and says it."""
    known = warm_starts(plan.warm_start, plan.experiment, plan.space, out=plan.folder)
    if plan.warm_start:
        from inat_ray.terminal.announcements import announce_warm_start

        announce_warm_start(options.console(), known)
    return [trial for source in known for trial in source.trials]


def _notes(plan: "Plan") -> list[str]:
    """Returns the plan's notes. Raises UserError for weights or a model that no trial can use."""
    from inat_ray.models.build import check_models

    return [*plan.notes, *check_models(plan.experiment, plan.present or plan.space)]


def run_rehearsal(plan: "Plan", *, address: str | None = None, verbose: bool = False) -> "DryRun":
    """Says what the plan amounts to, and returns it; leaves no run."""
    from inat_ray.data.dataset import open_dataset
    from inat_ray.data.sources import check_source
    from inat_ray.terminal.announcements import announce, announce_dry_run
    from inat_ray.tuning.cluster import Slots, final_resources, trial_resources
    from inat_ray.tuning.dry_run import dry_run
    from inat_ray.tuning.session import ray_session

    config, console = plan.experiment, options.console()
    known = _known(plan)
    check_source(config.data)
    for text in _notes(plan):
        note(console, text)
    with (
        waiting("looking at the cluster", console=console),
        ray_session(address=address, verbose=verbose),
    ):
        resources = trial_resources(config)
        slots = Slots(resources)()
        final_resources(config)
    data = open_dataset(config.data, progress=True)
    of_winner = data.with_validation(config.final_validation_fraction)
    announce(console, data=data, of_winner=of_winner)
    space = plan.present or plan.space
    with waiting("training the largest model for a few steps", console=console):
        found = dry_run(config, space, data=data, resources=resources, slots=slots, known=known)
    announce_dry_run(console, found, slots=slots)
    return found


def _search(
    plan: "Plan",
    *,
    data: "DataSet",
    run: RunFolder,
    known: Sequence[TrialKnown],
    port: int | None,
) -> tuple[Experiment, dict[str, Any]]:
    """Searches, with the run's log; returns the winner's experiment and the result."""
    config, console = plan.experiment, options.console()
    with waiting("preparing the search", console=console):
        from inat_ray.boards.observed_log import observed_log
        from inat_ray.terminal.announcements import interruption_announced
        from inat_ray.training.device import resolve_device
        from inat_ray.tuning.final_training import finish_search
        from inat_ray.tuning.provision import provisioned
        from inat_ray.tuning.search import begin, carry_on, run_search

        # Of this process, for the look at the test set; a head may be without the workers' GPUs.
        device = resolve_device("cpu" if config.device == "cpu" else "auto")
    observed = observed_log(
        run,
        console,
        experiment=config,
        parameters=plan.space.parameters,
        resumed=run.events.exists(),
        tensorboard_port=port,
    )
    with (
        interruption_announced(console, run=run),
        provisioned(data, run=run, tell=partial(note, console)) as everywhere,
        observed as log,
        Requests(run, experiment=config, space=plan.space, tell=partial(note, console)) as requests,
    ):
        history, steering = log.history, list[Steering]()
        if plan.request != NOTHING:
            steering = answered(plan.request, experiment=config, space=plan.space, history=history)
        if history.started is None:
            begin(config, space=plan.space, log=log, known=known)
        else:
            carry_on(config, run=run, log=log, steering=steering)
        run_search(config, space=plan.space, data=everywhere, run=run, log=log, requests=requests)
        return finish_search(config, data=everywhere, run=run, log=log, device=device)


if __name__ == "__main__":
    options.run(main)
