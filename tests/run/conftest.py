import pytest

from inat_ray.config.experiment import Experiment


@pytest.fixture(params=["share", "bucket"])
def kept(request, tmp_path) -> Experiment:
    """An experiment whose runs are kept on a disk that all nodes share, or in a bucket."""
    address = (
        str(tmp_path / "share") if request.param == "share" else request.getfixturevalue("bucket")
    )
    return Experiment(resources={"storage_path": address})
