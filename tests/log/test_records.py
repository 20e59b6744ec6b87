import json
import math

from inat_ray.log.run_log import read_records
from tests.log.made_up_logs import RUN, ended, epoch, started, written


def test_numbers_that_are_none_survive_the_disk(tmp_path):
    record = epoch("a", 1, loss=math.nan).model_copy(update={"val_loss": math.inf})
    *_, read = read_records(written(tmp_path, RUN, started("a"), record))
    assert math.isnan(read.train_loss)
    assert read.val_loss == math.inf


def test_names_and_errors_in_any_script_and_with_line_breaks_survive_the_disk(tmp_path):
    record = ended("a", "failed", 'line one\nline two: "größe" 画像 }')
    assert list(read_records(written(tmp_path, RUN, started("a"), record)))[2:] == [record]


def test_the_fields_of_a_line_have_an_order_that_logs_keep_from_version_to_version():
    assert list(json.loads(epoch("a", 1).model_dump_json())) == [
        "time", "kind", "trial_id", "epoch", "train_loss", "train_accuracy", "val_loss",
        "val_accuracy", "val_balanced_accuracy", "lr", "seconds", "images_per_second",
        "peak_memory", "checkpoint",
    ]  # fmt: skip
    assert list(json.loads(started("a").model_dump_json()))[:4] == [
        "time", "kind", "trial_id", "purpose",
    ]  # fmt: skip
