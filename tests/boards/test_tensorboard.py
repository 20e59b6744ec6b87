"""Checked with TensorBoard's own readers: its HParams backend, its server, its page."""

import gc
import io
import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import TENSORS
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, get_experiment, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.util.tensor_util import make_ndarray

from inat_ray.boards.tensorboard import BEST, SCORE, TensorBoardObserver
from inat_ray.log.records import LOG_VERSION
from inat_ray.log.run_log import RunLog, read_records
from inat_ray.training.snapshot import Mistakes, Snapshot
from tests.boards.shown import (
    ALL_STATUSES,
    FINAL_AND_BEST,
    STATUS,
    by_tag,
    snapshot_of,
    written,
)
from tests.made_up_sweep import renamed


def multiplexer(folder: Path) -> EventMultiplexer:
    loaded = EventMultiplexer(tensor_size_guidance={"scalars": 0})
    loaded.AddRunsFromDirectory(str(folder))
    loaded.Reload()
    return loaded


def ask(handler, request, folder: Path):
    """What a handler of TensorBoard's HParams backend answers."""
    provider = MultiplexerDataProvider(multiplexer(folder), str(folder))
    backend = Context(TBContext(data_provider=provider, logdir=str(folder)))
    return handler.Handler(RequestContext(), backend, "", request).run()


def session_groups(folder: Path) -> list:
    request = api_pb2.ListSessionGroupsRequest(allowed_statuses=ALL_STATUSES, slice_size=100)
    return list(ask(list_session_groups, request, folder).session_groups)


def scalars(folder: Path, run: str, tag: str) -> list[tuple[int, float]]:
    events = multiplexer(folder).Tensors(run, tag)
    return [(event.step, make_ndarray(event.tensor_proto).item()) for event in events]


def plain(value):
    return getattr(value, value.WhichOneof("kind"))


def test_the_experiment_declares_every_hyperparameter_with_its_type_and_all_metrics(
    sweep, tmp_path
):
    experiment = ask(get_experiment, api_pb2.GetExperimentRequest(), written(sweep, tmp_path))
    assert {info.name: info.type for info in experiment.hparam_infos} == {
        "recipe.lr": api_pb2.DATA_TYPE_FLOAT64,
        "model.batch_norm": api_pb2.DATA_TYPE_BOOL,
        "model.filters": api_pb2.DATA_TYPE_STRING,
        "seed": api_pb2.DATA_TYPE_STRING,
    }
    assert [info.name.tag for info in experiment.metric_infos] == ["accuracy/val", BEST, SCORE]


def test_the_learning_rate_and_what_tells_most_by_the_end_are_ticked_at_first(sweep, tmp_path):
    names = [f"model.{letter}" for letter in "abcdefg"]
    kinds = dict.fromkeys([*names, "recipe.lr"], "number")
    records = [sweep[0].model_copy(update={"parameters": kinds})]
    rng = np.random.default_rng(0)
    for number in range(12):
        point = dict(zip(kinds, rng.random(8).tolist(), strict=True)) | {"model.g": number}
        start, epoch = renamed(sweep[1:3], f"t{number}", parameters=point)
        records += [start, epoch.model_copy(update={"val_accuracy": number / 20})]

    def ticked() -> list[str]:
        experiment = ask(get_experiment, api_pb2.GetExperimentRequest(), tmp_path)
        return [info.name for info in experiment.hparam_infos if info.differs]

    observer = TensorBoardObserver(tmp_path)
    for record in records:
        observer(record)
    assert sorted(ticked()) == [*names[:4], "recipe.lr"]  # as the experiment has them
    observer.close()
    assert len(ticked()) == 5
    assert {"model.g", "recipe.lr"} < set(ticked())


def test_the_score_of_a_session_is_its_best_stretch(sweep, tmp_path):
    records = [sweep[0].model_copy(update={"version": LOG_VERSION}), *sweep[1:]]
    groups = {group.name: group for group in session_groups(written(records, tmp_path))}
    scores = {m.name.tag: m.value for m in groups["trial_0000"].metric_values}
    assert scores[SCORE] == pytest.approx((0.5 + 0.9 + 0.8) / 3)


def test_a_seed_that_is_searched_is_declared_once_and_is_the_trials_own(study, tmp_path):
    folder = written(study({"none": [0.5, 0.6]}), tmp_path)
    experiment = ask(get_experiment, api_pb2.GetExperimentRequest(), folder)
    assert sorted(i.name for i in experiment.hparam_infos) == ["model.freeze", "recipe.lr", "seed"]
    seeds = {group.name: group.hparams["seed"].string_value for group in session_groups(folder)}
    assert seeds == {"trial_0000": "10", "trial_0001": "11"}


def test_every_trial_is_a_session_group_whatever_way_it_ended(sweep, tmp_path):
    groups = session_groups(written(sweep, tmp_path))
    assert {group.name: group.sessions[0].status for group in groups} == STATUS


def test_a_session_has_the_times_of_its_trial(sweep, tmp_path):
    first = session_groups(written(sweep, tmp_path))[0].sessions[0]
    assert first.start_time_secs == sweep[1].time
    assert first.end_time_secs == sweep[5].time


def test_hyperparameters_have_the_same_names_and_types_in_every_trial(sweep, tmp_path):
    groups = session_groups(written(sweep, tmp_path))
    found = {g.name: {name: plain(value) for name, value in g.hparams.items()} for g in groups}
    assert found["trial_0000"] == {
        "recipe.lr": 0.003,
        "model.batch_norm": True,
        "model.filters": "[32, 64]",
        "seed": "0",
    }
    assert found["trial_0002"]["recipe.lr"] == 1.0
    assert found["trial_0002"]["model.filters"] == "null"
    assert found["trial_0003"]["model.filters"] == "auto"
    types = [{name: type(value) for name, value in trial.items()} for trial in found.values()]
    assert types == types[:1] * 6


def test_a_session_has_its_final_and_its_best_accuracy_and_its_score(sweep, tmp_path):
    for group in session_groups(written(sweep, tmp_path)):
        values = {metric.name.tag: metric.value for metric in group.metric_values}
        expected = FINAL_AND_BEST[group.name]
        assert values == ({} if expected is None else pytest.approx(by_tag(expected)))


def test_trials_sort_by_hyperparameters_and_metrics_with_missing_values_among_them(sweep, tmp_path):
    folder = written(sweep, tmp_path)
    columns = [{"hparam": name} for name in ("recipe.lr", "model.batch_norm", "model.filters")]
    columns.append({"metric": api_pb2.MetricName(tag=BEST)})
    orders = []
    for column in columns:
        request = api_pb2.ListSessionGroupsRequest(
            allowed_statuses=ALL_STATUSES,
            slice_size=100,
            col_params=[api_pb2.ColParams(order=api_pb2.ORDER_DESC, **column)],
        )
        groups = ask(list_session_groups, request, folder).session_groups
        orders.append([group.name[-1] for group in groups])
    assert orders[0] == ["2", "5", "4", "3", "0", "1"]
    assert orders[3] == ["0", "5", "4", "1", "2", "3"]


def test_the_winners_own_training_is_a_session_too(sweep, tmp_path):
    start = sweep[1].model_copy(update={"trial_id": "winner", "purpose": "final"})
    groups = session_groups(written([*sweep, start], tmp_path))
    assert [group.name for group in groups] == [*STATUS, "winner"]


def test_a_single_training_has_scalars_and_a_session(sweep, tmp_path):
    run = sweep[0].model_copy(update={"method": "train", "parameters": {}, "trials": 1})
    start = sweep[1].model_copy(update={"trial_id": "train", "parameters": {}})
    epoch = sweep[2].model_copy(update={"trial_id": "train"})
    folder = written([run, start, epoch], tmp_path)
    (group,) = session_groups(folder)
    assert {name: plain(value) for name, value in group.hparams.items()} == {"seed": "0"}
    assert scalars(folder, "train", "accuracy/val") == [(1, 0.5)]


def test_scalars_stand_at_their_epochs(sweep, tmp_path):
    folder = written(sweep, tmp_path)
    loss = scalars(folder, "trial_0000", "loss/train")
    assert loss == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]
    best = scalars(folder, "trial_0000", BEST)
    assert best == [(1, 0.5), (2, pytest.approx(0.9)), (3, pytest.approx(0.9))]
    assert set(multiplexer(folder).Runs()["trial_0000"][TENSORS]) >= {
        "loss/train",
        "accuracy/train",
        "loss/val",
        "accuracy/val",
        "metrics/val_ece",
        "lr",
        "work/images_per_second",
    }


IMAGES = ("training images", "confusion matrix", "first filters", "worst mistakes")


def images(folder: Path, run: str) -> dict[str, list[tuple[int, tuple[int, int]]]]:
    """By tag: (step, size) of each."""
    loaded = multiplexer(folder)
    tags = [tag for tag in loaded.Runs()[run][TENSORS] if tag.startswith("view/")]
    found = {}
    for tag in tags:
        events = loaded.Tensors(run, tag)
        values = [(event.step, make_ndarray(event.tensor_proto)) for event in events]
        found[tag] = [
            (step, Image.open(io.BytesIO(value[2])).size)
            for step, value in values
            if value[:2].astype(int).tolist() == list(Image.open(io.BytesIO(value[2])).size)
        ]
    return found


def test_a_trial_that_ended_has_the_images_of_its_snapshot_at_its_epoch(sweep, tmp_path):
    folder = written(sweep, tmp_path, snapshots=snapshot_of)
    for trial_id in ("trial_0000", "trial_0001", "trial_0002", "trial_0004"):
        found = images(folder, trial_id)
        assert set(found) == {f"view/{name}" for name in IMAGES}
        assert [len(shown) for shown in found.values()] == [1] * 4
        assert {step for shown in found.values() for step, _ in shown} == {2}


def test_a_trial_without_a_snapshot_or_an_end_has_no_images(sweep, tmp_path):
    folder = written(sweep, tmp_path, snapshots=snapshot_of)
    assert images(folder, "trial_0003") == {}
    assert images(folder, "trial_0005") == {}


def test_a_network_without_mistakes_has_no_picture_of_them(sweep, tmp_path):
    def flawless(trial_id: str) -> Snapshot:
        snapshot = snapshot_of("trial_0000")
        none = {name: column[:0] for name, column in vars(snapshot.mistakes).items()}
        return replace(snapshot, mistakes=Mistakes(**none))

    found = images(written(sweep, tmp_path, snapshots=flawless), "trial_0000")
    assert set(found) == {f"view/{name}" for name in IMAGES[:-1]}


def test_the_same_log_and_snapshots_give_the_same_files(sweep, tmp_path):
    once = contents(written(sweep, tmp_path / "once", snapshots=snapshot_of))
    assert contents(written(sweep, tmp_path / "again", snapshots=snapshot_of)) == once


def test_the_search_has_a_point_for_each_trial_its_best_so_far_and_what_it_has_cost(
    sweep, tmp_path
):
    folder = written(sweep, tmp_path)
    score = scalars(folder, "search", "search/score")
    assert dict(score) == pytest.approx({1: 0.9, 2: 0.25, 3: 0.1})
    best = scalars(folder, "search", "search/best_score")
    assert dict(best) == pytest.approx(dict.fromkeys(range(1, 5), 0.9))
    # Trial 4 was cut off: it is not over.
    spent = scalars(folder, "search", "search/epochs_spent")
    assert spent == [(1, 3), (2, 4), (3, 5), (4, 5)]


def test_a_search_that_minimizes_shows_its_metric_as_it_is(sweep, tmp_path):
    run = sweep[0].model_copy(update={"metric": "val_loss", "goal": "minimize"})
    folder = written([run, *sweep[1:6]], tmp_path)
    assert scalars(folder, "search", "search/best_score") == [(1, 1.5)]


def test_a_loss_that_is_no_number_is_shown_as_such(sweep, tmp_path):
    ((step, loss),) = scalars(written(sweep, tmp_path), "trial_0002", "loss/train")
    assert step == 1
    assert math.isnan(loss)


def test_what_happened_is_readable_before_the_file_is_closed(sweep, tmp_path):
    observer = TensorBoardObserver(tmp_path)
    for record in sweep[:4]:  # the run, its first trial, two epochs
        observer(record)
    (group,) = session_groups(tmp_path)
    assert group.name == "trial_0000"
    assert [step for step, _ in scalars(tmp_path, "trial_0000", "accuracy/val")] == [1, 2]
    observer.close()


def test_a_log_on_disk_gives_the_same_files_as_the_run_that_wrote_it(sweep, tmp_path):
    live = TensorBoardObserver(tmp_path / "live")
    with RunLog(tmp_path / "log") as log:
        log.watch(live)
        for record in sweep:
            log.append(record)
    live.close()
    replayed = read_records(log.path)
    written(replayed, tmp_path / "replayed")
    assert contents(tmp_path / "replayed") == contents(tmp_path / "live")


def test_replaying_into_the_same_folder_changes_nothing(sweep, tmp_path):
    once = contents(written(sweep, tmp_path))
    assert contents(written(sweep, tmp_path)) == once


def test_a_trial_that_ended_leaves_no_file_open(sweep, tmp_path):
    observer = TensorBoardObserver(tmp_path)
    for record in sweep[:6]:
        observer(record)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        del observer
        gc.collect()
    assert not [warning for warning in caught if "/trial_" in str(warning.message)]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
