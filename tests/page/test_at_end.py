import io

from rich.console import Console

from inat_ray.config.experiment import Experiment
from inat_ray.page.at_end import report
from tests.run.made_up_runs import create_run


def test_a_report_that_cannot_be_written_is_a_note_and_no_failure_of_the_run(
    tmp_path, data_folder, pack_cache
):
    data = {"source": str(data_folder), "cache": str(pack_cache)}
    experiment = Experiment.model_validate({"data": data})
    run = create_run(tmp_path / "run", experiment, overwrite=False)
    run.report.mkdir()
    console = Console(file=io.StringIO(), width=300)
    report(console, run=run)
    said = console.file.getvalue()
    assert "there is no report (IsADirectoryError" in said
    assert "inat-ray report" in said
