"""The same photographs, enlarged to the size at which iNaturalist-12K has them."""

import hashlib
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image, ImageOps

from inat_ray.data.sources import images_below

SIZE = (800, 600)
LARGE = "800 x 600"
QUALITY = 90


def enlarged(folder: Path) -> Path:
    """A copy of `folder` whose photographs are JPEGs of 800 x 600 pixels; made once."""
    photographs = list(images_below(folder))
    listing = "".join(f"{path} {path.stat().st_size}\n" for path in photographs)
    name = hashlib.sha256(listing.encode()).hexdigest()[:16]
    into = Path(tempfile.gettempdir()) / "inat_ray-800x600" / name
    done = into / ".complete"
    if not done.exists():
        with ProcessPoolExecutor() as pool:
            write = partial(_write, folder=folder, into=into)
            list(pool.map(write, photographs, chunksize=64))
        done.touch()
    return into


def _write(photograph: Path, *, folder: Path, into: Path) -> None:
    target = (into / photograph.relative_to(folder)).with_suffix(".jpg")
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(photograph) as picture:
        size = SIZE if picture.width >= picture.height else SIZE[::-1]
        ImageOps.fit(picture.convert("RGB"), size).save(target, quality=QUALITY)
