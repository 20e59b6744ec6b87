import shutil
from pathlib import Path

import pytest
import ray

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.space import search_space
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.log.history import History
from inat_ray.log.records import EpochEnded, TrialResumed
from inat_ray.log.run_log import EVENTS, RunLog, read_history, read_records
from inat_ray.run.fetch import run_here
from inat_ray.run.folder import RunFolder
from inat_ray.search.steering import Request, answered
from inat_ray.search.study import configurations
from inat_ray.tuning.cluster import Slots, trial_resources
from inat_ray.tuning.provision import provisioned
from inat_ray.tuning.search import begin, carry_on, run_search
from tests.run.made_up_runs import create_run

pytestmark = [
    pytest.mark.usefixtures("ray_instance"),
    # Ray Train loads Ray Data, which warns of itself.
    pytest.mark.filterwarnings("ignore:.use_.*is deprecated:DeprecationWarning"),
]

PARAMETERS = "search.parameters.recipe.lr={values: [0.001, 0.003]}"

ALONE = "resources.max_concurrent=1"
"""One process, where a test needs no two: each takes seconds to start."""

GRID = (
    "search.method=grid",
    "search.parameters.seed={values: [5, 3]}",
    "search.early_stopping={kind: none}",
)


@pytest.fixture
def data(data_folder, small_settings) -> DataSet:
    return open_dataset(small_experiment(data_folder, small_settings).data)


def small_experiment(data_folder: Path, small_settings, *more: str) -> Experiment:
    return load_experiment(
        None,
        settings=[
            *small_settings,
            f"data.source={data_folder}",
            PARAMETERS,
            "resources.max_concurrent=2",  # each process costs seconds of both cores to start
            *more,
        ],
    )


def search(experiment: Experiment, data: DataSet, folder: Path) -> tuple[History, RunFolder]:
    run = create_run(folder, experiment, overwrite=False)
    with RunLog(run.log) as log:
        space = search_space(experiment)
        begin(experiment, space=space, log=log)
        run_search(experiment, space=space, data=data, run=run, log=log)
        return log.history, run


@pytest.fixture(scope="module")
def grid(data_folder, small_settings, ray_instance, tmp_path_factory) -> tuple[History, RunFolder]:
    """A search over two learning rates with two seeds each."""
    experiment = small_experiment(
        data_folder,
        small_settings,
        *GRID,
    )
    folder = tmp_path_factory.mktemp("grid") / "run"
    return search(experiment, open_dataset(experiment.data), folder)


def test_every_trial_runs_to_its_end_and_leaves_no_checkpoint(grid):
    history, run = grid
    assert [t.state for t in history.searched] == ["finished"] * 4
    assert [len(t.epochs) for t in history.searched] == [2] * 4
    assert history.ended == "trials"
    assert run.checkpoints.names() == []


def test_a_grid_over_seeds_runs_every_point_once_with_the_seed_of_the_point(grid):
    history, _ = grid
    assert history.run.trials == 4
    trials = sorted(history.searched, key=lambda trial: trial.trial_id)
    points = [(0.001, 5), (0.001, 3), (0.003, 5), (0.003, 3)]
    assert [(t.parameters["recipe.lr"], t.parameters["seed"]) for t in trials] == points
    assert [t.seed for t in trials] == [5, 3, 5, 3]
    found = [(c.parameters["recipe.lr"], c.n) for c in configurations(history)]
    assert sorted(found) == [(0.001, 2), (0.003, 2)]


def test_a_search_that_was_interrupted_goes_on_on_another_machine_and_can_be_extended(
    grid, data_folder, small_settings, data, tmp_path, bucket
):
    """From its storage: the folder of the first machine is lost, and one trial's checkpoint."""
    experiment = small_experiment(
        data_folder,
        small_settings,
        *GRID,
        "search.trials=3",
        f"resources.storage_path={bucket}/runs",
    )
    space = search_space(experiment)
    run = create_run(tmp_path / "run", experiment, overwrite=False)

    def ctrl_c(record) -> None:
        if isinstance(record, EpochEnded) and len(log.history.trials) == 3:
            raise KeyboardInterrupt

    with RunLog(run.log, storage=run.storage) as log:
        log.watch(ctrl_c)
        begin(experiment, space=space, log=log)
        with (
            provisioned(data, run=run, tell=print) as everywhere,
            pytest.raises(KeyboardInterrupt),
        ):
            run_search(experiment, space=space, data=everywhere, run=run, log=log)
    interrupted = read_history(run.log)
    assert "interrupted" in {trial.state for trial in interrupted.searched}
    done = {trial.trial_id: len(trial.epochs) for trial in interrupted.searched}
    assert not (run.path / "checkpoints").exists()
    stored = run.storage
    assert stored is not None
    shutil.rmtree(run.path)
    checkpoints = stored / "checkpoints"
    (checkpoints / checkpoints.names()[0]).remove()
    here = RunFolder(run_here(stored.address, tmp_path / "elsewhere"))
    for more in (0, 1):
        with RunLog(here.log, storage=here.storage) as log:
            if more == 0:
                assert {t.trial_id: len(t.epochs) for t in log.history.searched} == done
            request = Request(trials=3 + more) if more else Request()
            asked = answered(request, experiment=experiment, space=space, history=log.history)
            carry_on(experiment, run=here, log=log, steering=asked)
            run_search(experiment, space=space, data=data, run=here, log=log)
    assert losses(read_history(here.log)) == losses(grid[0])
    assert here.checkpoints.names() == []


def test_a_trial_whose_end_was_not_noted_before_its_process_died_is_not_trained_on(
    data_folder, small_settings, data, tmp_path
):
    experiment = small_experiment(data_folder, small_settings, *GRID, "search.trials=1")
    history, run = search(experiment, data, tmp_path / "run")
    [*_, last_epoch, ended, over] = (run.log / EVENTS).read_bytes().splitlines(keepends=True)
    assert (b"epoch_ended" in last_epoch, b"trial_ended" in ended) == (True, True)
    whole = (run.log / EVENTS).read_bytes()
    (run.log / EVENTS).write_bytes(whole.removesuffix(ended + over))
    with RunLog(run.log) as log:
        assert log.history.searched[0].state == "running"
        carry_on(experiment, run=run, log=log)
        space = search_space(experiment)
        run_search(experiment, space=space, data=data, run=run, log=log)
        assert log.history.searched[0].state == "finished"
        assert losses(log.history) == losses(history)
    assert not [r for r in read_records(run.log / EVENTS) if isinstance(r, TrialResumed)]


def losses(history: History) -> dict[str, list[float]]:
    return {trial.trial_id: trial.values("train_loss") for trial in history.searched}


def test_a_trial_that_fails_is_recorded_with_its_error_and_the_others_go_on(
    data_folder, small_settings, data, tmp_path
):
    """Each value is allowed, but one pair of them leaves the schedule no room."""
    experiment = small_experiment(
        data_folder,
        small_settings,
        ALONE,
        "recipe.epochs=1",
        "search.trials=3",
        "search.first=[{recipe.schedule: warmup_stable_decay, recipe.warmup_fraction: 0.9}]",
        "search.parameters.recipe.schedule={values: [cosine, warmup_stable_decay]}",
        "search.parameters.recipe.warmup_fraction={values: [0.1, 0.9]}",
    )
    history, run = search(experiment, data, tmp_path / "run")
    failed = [t for t in history.searched if t.state == "failed"]
    assert 0 < len(failed) < len(history.searched) == 3
    assert {t.state for t in history.searched} == {"failed", "finished"}
    assert sorted(t.seed for t in history.searched) == [0, 1, 2]
    for trial in failed:
        assert trial.parameters["recipe.warmup_fraction"] == 0.9
        assert trial.error is not None
        assert "must not exceed 1" in trial.error
    # The same would fail again: nobody has tried.
    assert not [r for r in read_records(run.log / EVENTS) if isinstance(r, TrialResumed)]


@pytest.mark.slow
def test_a_trial_that_finds_no_memory_ends_as_such_and_the_others_go_on(
    data_folder, small_settings, tmp_path
):
    """One of the dense layers would take 275 GB."""
    experiment = small_experiment(
        data_folder,
        small_settings,
        "data.image_size=512",
        "model.filters=[4, 4, 4, 4, 4096]",
        "recipe.epochs=1",
        "search.method=grid",
        "search.parameters.recipe.lr={value: 0.001}",
        "search.parameters.model.dense={values: [65536, 8]}",
    )
    history, _ = search(experiment, open_dataset(experiment.data), tmp_path / "run")
    states = {trial.parameters["model.dense"]: trial.state for trial in history.searched}
    assert states == {65536: "out_of_memory", 8: "finished"}
    assert "allocate" in history.trials["trial_0000"].error


def test_a_search_with_bad_rates_ends_with_a_diverged_trial(
    data_folder, small_settings, data, tmp_path
):
    experiment = small_experiment(
        data_folder,
        small_settings,
        ALONE,
        "recipe.optimizer=sgd",
        "recipe.schedule=constant",
        "recipe.weight_decay=10",
        "recipe.epochs=8",
        "model.batch_norm=false",
        "search.parameters.recipe.lr={values: [10.0, 9.0]}",
        "search.early_stopping={kind: none}",
    )
    history, _ = search(experiment, data, tmp_path / "run")
    assert [trial.state for trial in history.searched] == ["diverged", "diverged"]
    assert all(len(trial.epochs) < 8 for trial in history.searched)


def test_more_than_the_cluster_has_is_refused(data_folder, small_settings):
    experiment = small_experiment(data_folder, small_settings, "resources.cpus_per_worker=4096")
    with pytest.raises(UserError, match="the cluster has"):
        trial_resources(experiment)


def test_a_trial_without_gpus_gets_what_it_asks_for(data_folder, small_settings):
    experiment = small_experiment(data_folder, small_settings, "device=cpu", ALONE)
    resources = trial_resources(experiment)
    assert (resources.cpus_per_worker, resources.gpus_per_worker) == (1, 0.0)
    assert Slots(resources)() == 1


@pytest.mark.slow
def test_trials_of_two_workers_run_one_after_another_and_give_everything_back(
    data_folder, small_settings, data, tmp_path
):
    """Trials are paused at a rung and some promoted; the workers go on from trial to trial."""
    experiment = small_experiment(
        data_folder,
        small_settings,
        "search.trials=4",
        "search.parameters.recipe.lr={values: [0.00001, 0.003, 0.001, 0.0001]}",
        "resources.workers_per_trial=2",
        ALONE,
    )
    history, run = search(experiment, data, tmp_path / "run")
    states = [trial.state for trial in history.searched]
    assert len(states) == 4
    assert set(states) <= {"finished", "stopped"}
    assert "finished" in states
    assert ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"]
    assert not [path for path in run.path.iterdir() if path.name.startswith("workers")]


def test_more_workers_than_the_cluster_holds_are_refused(data_folder, small_settings):
    experiment = small_experiment(
        data_folder, small_settings, "resources.workers_per_trial=7", "recipe.batch_size=8"
    )
    with pytest.raises(UserError, match=r"7 workers of 1 CPU wanted.*has room for 3"):
        trial_resources(experiment)


def test_a_device_that_no_node_has_is_refused(data_folder, small_settings):
    experiment = small_experiment(data_folder, small_settings, "device=cuda")
    if ray.cluster_resources().get("GPU"):
        pytest.skip("this machine has GPUs")
    with pytest.raises(UserError, match="device: cuda: Ray sees no GPU in this cluster"):
        trial_resources(experiment)


def test_a_kind_of_gpu_that_no_node_has_is_refused(data_folder, small_settings):
    experiment = small_experiment(data_folder, small_settings, "resources.accelerator_type=L4")
    with pytest.raises(UserError, match=r"of the kind L4 wanted.*has room for 0"):
        trial_resources(experiment)


def test_a_gpu_asked_for_where_there_is_none_is_refused(data_folder, small_settings):
    experiment = small_experiment(data_folder, small_settings, "resources.gpus_per_worker=1")
    if ray.cluster_resources().get("GPU"):
        pytest.skip("this machine has GPUs")
    with pytest.raises(UserError, match=r"1 worker of 1 CPU and 1 GPU wanted.*now it has.*0 GPUs"):
        trial_resources(experiment)
