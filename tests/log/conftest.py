import pytest

from inat_ray.log.records import LookAtTest
from tests.log.made_up_logs import RUN, ended, epoch, started


@pytest.fixture
def run_records():
    look = LookAtTest(model="best.safetensors", accuracy=0.9, loss=0.4, images=50, predictions="p")
    return [
        RUN,
        started("a"),
        epoch("a", 1, checkpoint="checkpoints/a/epoch_0001.pt"),
        epoch("a", 2, accuracy=0.7),
        ended("a"),
        started("b"),
        ended("b", "failed", "out of memory"),
        look,
    ]
