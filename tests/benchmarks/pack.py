"""How fast a pack is built, what it costs to open, and what a second process pays for it.

    python -m tests.benchmarks.pack --data ~/photos

The limit is Pillow on every core, a process each: photographs that are in memory already are
decoded at the scale that the square needs and resized, and nothing is kept. The pack is built
from the files, with all that belongs to it: digests, statistics, the write to the file; the disk
has it a little later, which nobody waits for. Both with the photographs as they are and with the
same enlarged to iNaturalist's size.
"""

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from inat_ray.config.experiment import DataConfig
from inat_ray.data.decode import decode_square
from inat_ray.data.pack import open_pack
from inat_ray.data.walk import images_below
from tests.benchmarks.comparison import Data, Part, Rounds, Short, alternate
from tests.benchmarks.copies import LARGE, enlarged

READ_ALL = """
import sys, time
begin = time.perf_counter()
from inat_ray.config.experiment import DataConfig
from inat_ray.data.pack import open_pack
imported = time.perf_counter()
pack = open_pack(DataConfig.model_validate_json(sys.argv[1]))
opened = time.perf_counter()
int(pack.images.max())
# Pages of its own: those of the pack it shares with every other process.
own = [line for line in open("/proc/self/smaps_rollup") if line.startswith("Private")]
print(opened - imported, sum(int(line.split()[1]) for line in own) / 1024)
"""


def build(config: DataConfig) -> float:
    """Seconds from photographs to a pack on the disk."""
    shutil.rmtree(Path(config.cache), ignore_errors=True)
    begin = time.perf_counter()
    open_pack(config)
    return time.perf_counter() - begin


def decode_alone(
    pool: ProcessPoolExecutor, shares: Sequence[Sequence[Path]], config: DataConfig
) -> float:
    """Seconds of decoding and resizing every photograph, a share to each core."""
    return max(pool.map(partial(_decode_share, config), shares))


def _shares(config: DataConfig) -> list[list[Path]]:
    photographs, cores = list(images_below(Path(config.source).expanduser())), os.cpu_count() or 1
    return [photographs[core::cores] for core in range(cores)]


def _decode_share(config: DataConfig, photographs: Sequence[Path]) -> float:
    contents = [photograph.read_bytes() for photograph in photographs]
    begin = time.perf_counter()
    for content in contents:
        decode_square(content, side=config.pack_side, fit=config.fit)
    return time.perf_counter() - begin


def second_process(config: DataConfig) -> tuple[float, float]:
    """(seconds to open the pack, MB of its own after reading all of it) of a new process."""
    line = [sys.executable, "-c", READ_ALL, config.model_dump_json()]
    told = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return float(told[0]), float(told[1])


def main(
    data: Data,
    image_size: Annotated[int, typer.Option(help="In pixels.")] = 64,
    rounds: Rounds = 3,
    short: Short = False,
    out: Path | None = None,
) -> None:
    rounds = 1 if short else rounds
    given, part = Path(data), Part("pack", out=out)
    with tempfile.TemporaryDirectory(prefix="inat_ray-benchmark-") as cache:
        for size, folder in {"as given": given, LARGE: enlarged(given)}.items():
            config = DataConfig(source=str(folder), image_size=image_size, cache=cache)
            _compare_with_decoding(part, config, size=size, rounds=rounds)
        pack = open_pack(config)
        int(pack.images.max())  # what both processes have mapped is no longer one's own
        others = [second_process(config) for _ in range(rounds)]
        part.add("a second process opens it", [1000 * s for s, _ in others], unit="ms")
        part.add("memory of its own", [mb for _, mb in others], unit="MB")
        part.add("size", [pack.path.stat().st_size / 1e6], unit="MB")
    part.tell()


def _compare_with_decoding(part: Part, config: DataConfig, *, size: str, rounds: int) -> None:
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("forkserver")) as pool:
        shares = _shares(config)
        ways = {
            "build": lambda _: build(config),
            "limit": lambda _: decode_alone(pool, shares, config),
        }
        seconds = alternate(ways, rounds=rounds)
    count = len(open_pack(config).names)
    speeds = {name: [count / each for each in values] for name, values in seconds.items()}
    part.add(f"build, {size}", speeds["build"], unit="images/s")
    part.add(f"limit: decoding on all cores, {size}", speeds["limit"], unit="images/s")
    name = "pack_over_decode" if size == LARGE else "pack_over_decode_as_given"
    part.compare(name, speeds["build"], speeds["limit"])


if __name__ == "__main__":
    typer.run(main)
