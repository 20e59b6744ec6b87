"""A bucket that all hosts reach: a server that speaks S3, on the laptop's side of the bridge."""

import logging
from typing import Any

import requests

from inat_ray.storage.place import Place
from tests.cluster.hosts import LAPTOP_ADDRESS

PORT = 5005
BUCKET = "runs"
KEYS = "[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n"
"""For ~/.aws/credentials of every host: where a host of one's own has them."""


class BucketServer:
    """Holds what is written to it also while it is stopped."""

    def __init__(self) -> None:
        self._server: Any = None

    @property
    def address(self) -> str:
        """What `--storage-path` takes."""
        return f"s3://{BUCKET}/inat_ray?scheme=http&endpoint_override={LAPTOP_ADDRESS}:{PORT}"

    def run(self, name: str) -> Place:
        """Where the run of that name is kept."""
        return Place.at(self.address) / name

    def start(self) -> None:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(LAPTOP_ADDRESS, PORT, verbose=False)
        self._server.start()

    def make_bucket(self) -> None:
        made = requests.put(f"http://{LAPTOP_ADDRESS}:{PORT}/{BUCKET}", timeout=10)
        made.raise_for_status()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None
