"""Checked with TensorBoard's own readers: its HParams backend, its server, its page."""

import gc
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import TENSORS
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, get_experiment, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.util.tensor_util import make_ndarray

from inat_ray.inspection.tensorboard import BEST, TensorBoardObserver
from inat_ray.search.run_log import RunLog, read_records

ALL_STATUSES = api_pb2.Status.values()

STATUS = {
    "trial_0000": api_pb2.STATUS_SUCCESS,
    "trial_0001": api_pb2.STATUS_SUCCESS,
    "trial_0002": api_pb2.STATUS_FAILURE,
    "trial_0003": api_pb2.STATUS_FAILURE,
    "trial_0004": api_pb2.STATUS_FAILURE,
    "trial_0005": api_pb2.STATUS_UNKNOWN,
}

FINAL_AND_BEST = {
    "trial_0000": (0.8, 0.9),
    "trial_0001": (0.25, 0.25),
    "trial_0002": (0.1, 0.1),
    "trial_0003": None,
    "trial_0004": (0.4, 0.4),
    "trial_0005": (0.6, 0.6),
}


def written(records, folder: Path) -> Path:
    observer = TensorBoardObserver(folder)
    for record in records:
        observer(record)
    observer.close()
    return folder


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


def test_the_experiment_declares_every_hyperparameter_with_its_type_and_both_metrics(
    sweep, tmp_path
):
    experiment = ask(get_experiment, api_pb2.GetExperimentRequest(), written(sweep, tmp_path))
    assert {info.name: info.type for info in experiment.hparam_infos} == {
        "recipe.lr": api_pb2.DATA_TYPE_FLOAT64,
        "model.batch_norm": api_pb2.DATA_TYPE_BOOL,
        "model.filters": api_pb2.DATA_TYPE_STRING,
        "seed": api_pb2.DATA_TYPE_FLOAT64,
    }
    assert [info.name.tag for info in experiment.metric_infos] == ["val/accuracy", BEST]


def test_a_seed_that_is_searched_is_declared_once_and_is_the_trials_own(study, tmp_path):
    folder = written(study({"none": [0.5, 0.6]}), tmp_path)
    experiment = ask(get_experiment, api_pb2.GetExperimentRequest(), folder)
    assert sorted(i.name for i in experiment.hparam_infos) == ["model.freeze", "recipe.lr", "seed"]
    seeds = {group.name: group.hparams["seed"].number_value for group in session_groups(folder)}
    assert seeds == {"trial_0000": 10, "trial_0001": 11}


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
        "seed": 0.0,
    }
    assert found["trial_0002"]["recipe.lr"] == 1.0
    assert found["trial_0002"]["model.filters"] == "null"
    assert found["trial_0003"]["model.filters"] == "auto"
    types = [{name: type(value) for name, value in trial.items()} for trial in found.values()]
    assert types == types[:1] * 6


def test_the_metrics_of_a_session_are_its_final_and_its_best_accuracy(sweep, tmp_path):
    for group in session_groups(written(sweep, tmp_path)):
        values = {metric.name.tag: metric.value for metric in group.metric_values}
        expected = FINAL_AND_BEST[group.name]
        assert values == ({} if expected is None else pytest.approx(_by_tag(expected)))


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
    assert {name: plain(value) for name, value in group.hparams.items()} == {"seed": 0.0}
    assert scalars(folder, "train", "val/accuracy") == [(1, 0.5)]


def test_scalars_stand_at_their_epochs(sweep, tmp_path):
    folder = written(sweep, tmp_path)
    loss = scalars(folder, "trial_0000", "train/loss")
    assert loss == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]
    best = scalars(folder, "trial_0000", BEST)
    assert best == [(1, 0.5), (2, pytest.approx(0.9)), (3, pytest.approx(0.9))]
    assert set(multiplexer(folder).Runs()["trial_0000"][TENSORS]) >= {
        "train/loss",
        "train/accuracy",
        "val/loss",
        "val/accuracy",
        "lr",
        "images_per_second",
    }


def test_a_loss_that_is_no_number_is_shown_as_such(sweep, tmp_path):
    ((step, loss),) = scalars(written(sweep, tmp_path), "trial_0002", "train/loss")
    assert step == 1
    assert math.isnan(loss)


def test_what_happened_is_readable_before_the_file_is_closed(sweep, tmp_path):
    observer = TensorBoardObserver(tmp_path)
    for record in sweep[:4]:  # the run, its first trial, two epochs
        observer(record)
    (group,) = session_groups(tmp_path)
    assert group.name == "trial_0000"
    assert [step for step, _ in scalars(tmp_path, "trial_0000", "val/accuracy")] == [1, 2]
    observer.close()


def test_a_log_on_disk_gives_the_same_files_as_the_run_that_wrote_it(sweep, tmp_path):
    live = TensorBoardObserver(tmp_path / "live")
    with RunLog(tmp_path / "log", [live]) as log:
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


def _by_tag(final_and_best: tuple[float, float]) -> dict[str, float]:
    return dict(zip(("val/accuracy", BEST), final_and_best, strict=True))


@pytest.fixture
def served(sweep, tmp_path):
    """The address of a real TensorBoard that shows the made-up sweep."""
    written(sweep, tmp_path)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    address = next(found[0] for line in lines if (found := re.search(r"http://[\d.:]+/", line)))
    yield address
    process.terminate()
    process.communicate(timeout=30)


def fetch(url: str, body: dict | None = None):
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data=data, headers={"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def loaded(address: str) -> list[dict]:
    """The session groups, once the server has read every run."""
    statuses = [api_pb2.Status.Name(status) for status in ALL_STATUSES]
    request = {"allowedStatuses": statuses, "sliceSize": 100}
    for _ in range(120):
        answer = fetch(f"{address}data/plugin/hparams/session_groups", request)
        if len(groups := answer.get("sessionGroups", [])) == len(STATUS):
            return groups
        time.sleep(0.25)
    raise AssertionError(f"TensorBoard showed {len(groups)} trials of {len(STATUS)}")


def test_a_served_tensorboard_shows_every_trial_its_hyperparameters_and_its_scores(served):
    for group in loaded(served):
        assert set(group["hparams"]) == {
            "recipe.lr",
            "model.batch_norm",
            "model.filters",
            "seed",
        }
        shown = {m["name"]["tag"]: m["value"] for m in group.get("metricValues", [])}
        expected = FINAL_AND_BEST[group["name"]]
        assert shown == ({} if expected is None else pytest.approx(_by_tag(expected)))
    points = fetch(f"{served}data/plugin/scalars/scalars?run=trial_0000&tag=val/accuracy")
    assert [(step, value) for _, step, value in points] == [
        (1, 0.5),
        (2, pytest.approx(0.9)),
        (3, pytest.approx(0.8)),
    ]


CELLS = """(() => {
  const within = (root) => [...root.querySelectorAll("*")].flatMap(
    (element) => [element, ...(element.shadowRoot ? within(element.shadowRoot) : [])]);
  return within(document)
    .filter((element) => element.localName === "vaadin-grid-cell-content")
    .map((element) => element.innerText.trim());
})()"""
"""JavaScript: the texts of the HParams table, which lies in shadow trees of shadow trees."""

CHROMIUM_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--remote-debugging-pipe",
)


@pytest.fixture
def browser(tmp_path_factory):
    """Sends a command of the Chrome DevTools Protocol to a headless Chromium; gives its result.

    Needs Chromium: `apt-get install chromium` on Debian.
    """
    program = shutil.which("chromium")
    assert program, "this test needs Chromium: apt-get install chromium"
    to_browser, commands = os.pipe()
    answers, from_browser = os.pipe()
    # Chromium reads commands from file descriptor 3 and answers on 4.
    with_pipes = ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash"]
    profile = tmp_path_factory.mktemp("chromium")
    process = subprocess.Popen(
        [*with_pipes, program, *CHROMIUM_OPTIONS, f"--user-data-dir={profile}"],
        pass_fds=(to_browser, from_browser),
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    numbers = itertools.count(1)
    with os.fdopen(commands, "wb", buffering=0) as out, os.fdopen(answers, "rb") as back:

        def send(method: str, session: str | None = None, **parameters):
            number = next(numbers)
            message = {"id": number, "method": method, "params": parameters}
            if session:
                message["sessionId"] = session
            out.write(json.dumps(message).encode() + b"\0")
            while (answer := json.loads(_until_zero(back))).get("id") != number:
                pass
            return answer["result"]

        yield send
        send("Browser.close")
    process.wait(timeout=30)


def _until_zero(stream) -> bytes:
    return b"".join(iter(lambda: stream.read(1).rstrip(b"\0"), b""))


@pytest.mark.slow
def test_the_hparams_page_shows_a_row_a_trial_in_a_browser(served, browser):
    loaded(served)
    target = browser("Target.createTarget", url=f"{served}#hparams")["targetId"]
    session = browser("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    cells: list[str] = []
    for _ in range(60):
        answer = browser("Runtime.evaluate", session, expression=CELLS, returnByValue=True)
        cells = answer["result"]["value"]
        if set(STATUS) <= set(cells):
            break
        time.sleep(0.5)
    assert {"recipe.lr", "model.batch_norm", "model.filters", "seed"} <= set(cells)
    assert {"final val accuracy", "best val accuracy"} <= set(cells)
    assert [cell for cell in sorted(cells) if cell.startswith("trial_")] == list(STATUS)
    assert {"[32, 64]", "null", "auto", "true", "false", "0.80000", "0.90000"} <= set(cells)
