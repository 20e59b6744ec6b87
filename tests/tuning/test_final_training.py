import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from ray.exceptions import NodeDiedError, WorkerCrashedError
from safetensors import safe_open

from inat_ray.config.errors import RunFailedError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.resources import Resources
from inat_ray.config.space import search_space
from inat_ray.data.dataset import open_dataset
from inat_ray.log.records import RunResumed, SearchEnded, TrialEnded, TrialPicked, TrialStarted
from inat_ray.log.run_log import RunLog, read_history
from inat_ray.page.reported_run import open_run
from inat_ray.run.checkpoints import BEGINNING, StartingPoint
from inat_ray.run.folder import RunFolder
from inat_ray.run.listing import read_run
from inat_ray.run.result import write_result
from inat_ray.search.steering import Request
from inat_ray.storage.place import Place
from inat_ray.sweep import run_sweep
from inat_ray.training.checkpoint import load_model
from inat_ray.training.loop import Job, Worker, train_to_the_end
from inat_ray.tuning import final_training
from inat_ray.tuning.final_training import finish_search, train_winner
from inat_ray.tuning.plan import resumed_plan
from inat_ray.tuning.search import begin
from tests.run.made_up_runs import create_run
from tests.search.histories import epoch_of

L4 = {"accelerator_type:L4": 1.0}


class Cluster:
    """In place of Ray: tasks that train in name alone, and die as they are told to."""

    def __init__(self, *deaths: tuple[int, Exception]) -> None:
        """`deaths`: of each task in turn, after which epoch and of what."""
        self.deaths, self.options, self.begun = list(deaths), [], []

    def nodes(self) -> list[dict]:
        kinds = [{"CPU": 16.0}, {"CPU": 4.0} | L4]
        return [{"Alive": True, "Resources": resources} for resources in kinds]

    def get(self, answer):
        if isinstance(answer, Exception):
            raise answer
        return answer

    def remote(self, _function):
        return SimpleNamespace(options=self._task)

    def _task(self, **options):
        self.options.append(options)
        return SimpleNamespace(remote=self._begin)

    def _begin(self, job: Job, start: StartingPoint, **_):
        self.begun.append((start.epochs_done, start.checkpoint))
        last, error = self.deaths.pop(0) if self.deaths else (4, None)
        for epoch in range(start.epochs_done + 1, last + 1):
            metrics = SimpleNamespace(epoch=epoch)
            yield SimpleNamespace(metrics=metrics, checkpoint=job.checkpoints / str(epoch))
        if error is not None:
            yield error


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Trains for four epochs on a cluster; returns the epochs that came."""

    def trained(cluster: Cluster, *, failures: int, start=BEGINNING, **resources) -> list[int]:
        for module in ("final_training", "cluster"):
            monkeypatch.setattr(f"inat_ray.tuning.{module}.ray", cluster)
        wanted = Resources(**resources)
        monkeypatch.setattr(final_training, "final_resources", lambda _: wanted)
        tree = {"recipe": {"epochs": 4}, "resources": {"max_failures": failures}}
        experiment = Experiment.model_validate(tree)
        job = Job(experiment, None, checkpoints=Place.at(tmp_path))
        return [done.metrics.epoch for done in train_winner(job, storage=None, start=start)]

    return trained


def test_a_node_that_is_lost_costs_an_epoch_and_not_the_sweep(trained, tmp_path):
    cluster = Cluster((2, NodeDiedError("gone")), (2, WorkerCrashedError()))
    assert trained(cluster, failures=2, gpus_per_worker=0) == [1, 2, 3, 4]
    again = (2, Place.at(tmp_path) / "2")
    assert cluster.begun == [(0, None), again, again]


def test_one_that_is_lost_too_often_ends_the_run_with_a_sentence(trained):
    cluster = Cluster((1, WorkerCrashedError()), (1, WorkerCrashedError()))
    with pytest.raises(RunFailedError, match=r"died 2 times at epoch 2.*resources\.max_failures"):
        trained(cluster, failures=1, gpus_per_worker=0)


def test_an_error_of_the_training_itself_is_not_tried_again(trained):
    cluster = Cluster((1, ValueError("no such thing")))
    with pytest.raises(ValueError, match="no such thing"):
        trained(cluster, failures=3, gpus_per_worker=0)
    assert len(cluster.begun) == 1


def test_a_single_worker_trains_the_winner_on_the_kind_of_gpu_that_was_asked_for(trained):
    cluster = Cluster()
    trained(cluster, failures=0, gpus_per_worker=1, accelerator_type="L4")
    assert cluster.options[0]["resources"] == {"accelerator_type:L4": 0.001}


def test_the_cpus_are_those_of_a_node_that_can_be_had(trained):
    for kind, cpus in ((None, 16), ("L4", 4)):
        cluster = Cluster()
        trained(cluster, failures=0, accelerator_type=kind)
        assert cluster.options[0]["num_cpus"] == cpus


CPU = torch.device("cpu")
A, B = 0.001, 0.003
"""Learning rates of two configurations."""


class KilledError(Exception):
    """In place of the end of the process."""


@pytest.fixture
def sweep(data_folder, small_settings, tmp_path, monkeypatch):
    """A search over seeds, whose trials are made up and whose winners are trained, without Ray."""
    settings = [
        *small_settings,
        f"data.source={data_folder}",
        "device=cpu",
        "search.method=random",
        f"search.parameters={{recipe.lr: {{values: [{A}, {B}]}}, seed: {{values: [0, 1, 2]}}}}",
    ]
    experiment = load_experiment(None, settings=settings)
    run = create_run(tmp_path / "run", experiment, overwrite=False)
    sweep = SimpleNamespace(experiment=experiment, run=run, data=open_dataset(experiment.data))
    sweep.trained, sweep.killed_after = [], None

    def train_winner(job, *, storage, start):
        sweep.trained.append(job.checkpoints.last_name)
        done, checkpoint = start.epochs_done, start.checkpoint
        worker = Worker(CPU)
        for epoch in train_to_the_end(job, worker, epochs_done=done, resume_from=checkpoint):
            yield epoch
            if epoch.metrics.epoch == sweep.killed_after:
                raise KilledError

    monkeypatch.setattr(final_training, "train_winner", train_winner)
    monkeypatch.setattr(final_training, "nodes_in_use", list)
    with RunLog(run.log) as log:
        begin(experiment, space=search_space(experiment), log=log)
    return sweep


def search(sweep, lr: float, seed: int, accuracy: float) -> None:
    """The search, or its extension, by a trial of this configuration."""
    with RunLog(sweep.run.log) as log:
        if log.history.searched:
            log.append(RunResumed(trials=9, extended=True))
        name = f"trial_{len(log.history.searched):04d}"
        parameters = {"recipe.lr": lr, "seed": seed}
        log.append(TrialStarted(trial_id=name, seed=seed, parameters=parameters, epochs=1))
        log.append(epoch_of(name, 1, accuracy))
        log.append(TrialEnded(trial_id=name, state="finished"))
        log.append(SearchEnded(reason="trials"))


def finish(sweep) -> dict:
    """What follows a search, and its result."""
    with RunLog(sweep.run.log) as log:
        _, result = finish_search(
            sweep.experiment, data=sweep.data, run=sweep.run, log=log, device=CPU
        )
    write_result(result, sweep.run.result)
    return result


def belong_together(sweep) -> bool:
    """Whether model and result are of one training, if there is a result."""
    run: RunFolder = sweep.run
    if not run.result.exists():
        return True
    result = json.loads(run.result.read_text())
    with safe_open(run.model, framework="pt") as file:
        about = file.metadata()
    found = load_model(run.model).evaluate(sweep.data, "validation", device=CPU)
    assert found.tally.accuracy == result["val_accuracy"]
    return (about["training"], int(about["epoch"])) == (result["training"], result["best_epoch"])


def test_a_model_and_its_result_belong_together_whichever_of_two_winners_comes_back(sweep):
    search(sweep, A, 0, 0.5)
    assert finish(sweep)["training"] == "winner"
    assert belong_together(sweep)
    search(sweep, B, 0, 0.6)
    assert finish(sweep)["training"] == "winner_2"
    assert belong_together(sweep)
    search(sweep, A, 1, 0.9)  # it has two seeds now, and the other one
    result = finish(sweep)
    assert (result["training"], result["test_looks"]) == ("winner", 3)
    assert belong_together(sweep)
    search(sweep, A, 2, 0.9)
    assert finish(sweep)["test_looks"] == 3
    assert sweep.trained == ["winner", "winner_2", "winner"]
    assert not read_history(sweep.run.log).unfinished


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_second_winner_that_is_cut_off_leaves_the_first_ones_model_and_result(sweep, epoch):
    search(sweep, A, 0, 0.5)
    finish(sweep)
    before = sweep.run.model.read_bytes()
    search(sweep, B, 0, 0.6)
    sweep.killed_after = epoch
    with pytest.raises(KilledError):
        finish(sweep)
    assert sweep.run.model.read_bytes() == before
    assert belong_together(sweep)
    assert read_run(sweep.run.path).state == "cut off"
    sweep.killed_after = None
    assert finish(sweep)["training"] == "winner_2"
    assert belong_together(sweep)
    assert read_run(sweep.run.path).state == "finished"


def test_a_winner_that_was_cut_off_does_not_leave_a_search_unfinished_that_found_another(sweep):
    search(sweep, A, 0, 0.5)
    sweep.killed_after = 1
    with pytest.raises(KilledError):
        finish(sweep)
    sweep.killed_after = None
    search(sweep, B, 0, 0.6)
    finish(sweep)
    assert not read_history(sweep.run.log).unfinished
    assert read_run(sweep.run.path).state == "finished"


def pick(sweep, trial: str) -> None:
    with RunLog(sweep.run.log) as log:
        log.append(RunResumed(trials=9))
        log.append(TrialPicked(trial_id=trial))


def test_a_picked_trial_is_trained_for_the_model_and_its_look_at_the_test_set_is_counted(sweep):
    search(sweep, A, 0, 0.5)
    search(sweep, B, 0, 0.6)
    assert finish(sweep)["test_looks"] == 1
    pick(sweep, "trial_0000")
    assert read_run(sweep.run.path).state == "cut off"
    result = finish(sweep)
    assert (result["training"], result["test_looks"]) == ("pick_2", 2)
    assert (result["search"]["winner"], result["search"]["picked"]) == ("trial_0001", "trial_0000")
    assert load_model(sweep.run.model).experiment.recipe.lr == A
    assert belong_together(sweep)
    assert finish(sweep) == result  # nothing is done again
    pick(sweep, "trial_0001")
    result = finish(sweep)
    assert (result["training"], result["test_looks"]) == ("winner", 3)
    assert load_model(sweep.run.model).experiment.recipe.lr == B
    search(sweep, A, 1, 0.9)
    assert "picked" not in finish(sweep)["search"]
    assert sweep.trained == ["winner", "pick_2", "winner", "pick_2"]
    assert read_run(sweep.run.path).state == "finished"


def test_a_sweep_that_picks_a_trial_says_so_in_every_place(sweep, monkeypatch, capsys):
    search(sweep, A, 0, 0.5)
    search(sweep, B, 0, 0.6)
    finish(sweep)
    monkeypatch.setattr("inat_ray.tuning.session.ray_session", lambda **_: nullcontext())
    monkeypatch.setattr(
        "inat_ray.tuning.provision.provisioned", lambda data, **_: nullcontext(data)
    )
    for name in ("trial_resources", "final_resources"):
        monkeypatch.setattr(f"inat_ray.tuning.cluster.{name}", lambda _: None)
    plan = resumed_plan(sweep.run.path, request=Request(pick="trial_0000"), options={})
    path, result = run_sweep(plan)
    assert (result["training"], result["test_looks"]) == ("pick_2", 2)
    assert load_experiment(path / "best.yaml").recipe.lr == A
    for text in (capsys.readouterr().err, (path / "report.html").read_text(encoding="utf-8")):
        told = " ".join(text.split())
        assert "trial_0000 is trained for the model instead of the winner" in told
        assert "2: the newest counts" in told


def test_a_pick_that_is_cut_off_leaves_the_winners_model_and_goes_on_when_resumed(sweep):
    search(sweep, A, 0, 0.5)
    search(sweep, B, 0, 0.6)
    finish(sweep)
    before = sweep.run.model.read_bytes()
    pick(sweep, "trial_0000")
    sweep.killed_after = 1
    with pytest.raises(KilledError):
        finish(sweep)
    assert sweep.run.model.read_bytes() == before
    assert read_run(sweep.run.path).state == "cut off"
    sweep.killed_after = None
    assert finish(sweep)["training"] == "pick_2"
    assert belong_together(sweep)
    assert read_run(sweep.run.path).state == "finished"


def test_a_result_that_does_not_tell_of_the_trials_of_an_extension_is_not_the_end(sweep):
    search(sweep, A, 0, 0.5)
    finish(sweep)
    search(sweep, A, 1, 0.5)
    assert read_run(sweep.run.path).state == "cut off"
    finish(sweep)
    assert read_run(sweep.run.path).state == "finished"


def test_a_winner_with_more_images_is_kept_and_evaluated_with_those_that_are_left(sweep):
    more = sweep.experiment.search.model_copy(update={"final_validation_fraction": 0.05})
    sweep.experiment = sweep.experiment.model_copy(update={"search": more})
    search(sweep, A, 0, 0.5)
    sweep.killed_after = 1
    with pytest.raises(KilledError):
        finish(sweep)
    sweep.killed_after = None
    result = finish(sweep)
    before, now = result["search"]["images"], result["data"]["images"]
    assert before == {name: len(sweep.data.subset(name)) for name in sweep.data.SUBSETS}
    moved = before["validation"] - now["validation"]
    assert moved > 0
    assert now == {**before, "train": before["train"] + moved, "validation": now["validation"]}
    assert (result["best_epoch"], result["test_images"]) == (result["epochs"], before["test"])
    model = load_model(sweep.run.model)
    assert model.experiment.data.validation_fraction == 0.05
    data = open_dataset(model.experiment.data)
    assert len(data.subset("validation")) == now["validation"]
    assert model.mean == data.mean != sweep.data.mean
    tally = model.evaluate(data, "validation", device=CPU).tally
    assert tally.accuracy == result["val_accuracy"]
    judged = open_run(sweep.run.path).data  # by the page, and by `check`
    assert judged.subset("validation").tolist() == data.subset("validation").tolist()
    assert finish(sweep)["test_looks"] == 1  # nothing is done again
