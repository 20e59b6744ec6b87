import io

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.inspection.observed import observed_log
from inat_ray.search.run_folder import RunFolder


def test_a_run_leaves_its_tables_and_its_tensorboard_however_it_ends(sweep, tmp_path):
    def interrupted_run() -> None:
        with observed_log(run, console, experiment=Experiment()) as log:
            for record in sweep:
                log.append(record)
            raise KeyboardInterrupt

    run, console = RunFolder(tmp_path), Console(file=io.StringIO())
    with pytest.raises(KeyboardInterrupt):
        interrupted_run()
    assert pq.read_table(tmp_path / "trials.parquet").num_rows == 6
    assert {path.name for path in run.tensorboard.iterdir() if path.is_dir()} == {
        f"trial_{number:04d}" for number in range(6)
    }
    assert "trial_0000 finished" in console.file.getvalue()


def test_a_run_that_another_process_is_at_work_on_keeps_its_tensorboard(sweep, tmp_path):
    def second() -> None:
        with observed_log(run, console, experiment=Experiment(), resumed=True):
            raise AssertionError("two processes at once")

    run, console = RunFolder(tmp_path), Console(file=io.StringIO())
    with observed_log(run, console, experiment=Experiment()) as log:
        for record in sweep:
            log.append(record)
        files = sorted(run.tensorboard.rglob("*"))
        with pytest.raises(UserError, match="another process is at work"):
            second()
        assert sorted(run.tensorboard.rglob("*")) == files
        assert len(files) > len(sweep) // 4
