"""Decodes a photograph to a square of pixels."""

import io
import threading
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError, features

Fit = Literal["crop", "squash", "pad"]
Square = NDArray[np.uint8]
"""(side, side, 3), RGB."""

MAX_PIXELS = 178_956_970
"""Larger pictures count as decompression bombs: Pillow's own limit, 0.7 GB as RGBA."""

LARGE = MAX_PIXELS // 10
"""Pictures of more pixels are decoded one at a time, so that memory does not grow with cores."""

MAX_CHUNK = 1 << 20
"""Bytes that a decoder gets at once; before each chunk a thread waits for the GIL. With
Pillow's 64 KB a JPEG of 800 x 600 took 4 % longer."""

PAD_GRAY = (128, 128, 128)

HEIC = find_spec("pillow_heif") is not None
"""Whether HEIC, the format of many phones, can be read: needs the extra `heic`."""

AVIF = features.check("avif")
"""Whether AVIF can be read: needs Pillow 11.3."""

if HEIC:
    from pillow_heif import register_heif_opener

    register_heif_opener()

# Pillow would warn at half of the limit; `_open` checks the header itself, before any pixel.
Image.MAX_IMAGE_PIXELS = None

_one_large_picture = threading.Lock()

leaves_large = False
"""Whether this process leaves large pictures to another one, whose lock it does not know."""


class UndecodableError(ValueError):
    """The bytes are not a picture that can be used; the message says why."""


class LargePictureError(Exception):
    """A picture is for the process that decodes large ones: see `leaves_large`."""


def decode_square(content: bytes, *, side: int, fit: Fit) -> Square:
    """Decodes the picture in `content` (a whole file) to an upright RGB square.

    A JPEG is decoded at a reduced scale if that still covers the square. Gray, palette,
    CMYK and 16-bit pictures become RGB; transparent parts become white; of an animation the
    first picture counts.

    Raises UndecodableError with the reason.
    """
    try:
        picture = _open(content, side)
        large = picture.width * picture.height > LARGE
        if large and leaves_large:
            raise LargePictureError
        depth, upper_half = _depth(picture), ";16" in str(picture.tile)
        with _one_large_picture if large else nullcontext():
            rgb = _as_rgb(_upright(picture), depth=depth)
            if upper_half:
                _check_upper_bits(rgb)
            return to_square(rgb, side=side, fit=fit)
    except (UndecodableError, LargePictureError):
        raise
    except UnidentifiedImageError:
        reason = "is not a picture of a kind that can be read" if content else "is empty"
        raise UndecodableError(reason) from None
    except Exception as error:
        # Decoders raise errors of many kinds on a damaged file, and one file must not end a build.
        raise UndecodableError(f"{type(error).__name__}: {error}") from error


def to_square(picture: Image.Image, *, side: int, fit: Fit) -> Square:
    """Makes a square of an RGB picture: its middle, or all of it distorted or padded."""
    size = (side, side)
    resample = Image.Resampling.BILINEAR  # Pillow widens the filter when it shrinks: no aliasing
    if fit == "crop":
        picture = ImageOps.fit(picture, size, method=resample)
    elif fit == "squash":
        picture = picture.resize(size, resample)
    else:
        picture = ImageOps.pad(picture, size, method=resample, color=PAD_GRAY)
    return np.asarray(picture, dtype=np.uint8)


def _open(content: bytes, side: int) -> ImageFile.ImageFile:
    """Opens the picture without decoding it, at a scale that still has `side` pixels each way."""
    picture = Image.open(io.BytesIO(content))
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise UndecodableError(f"{width} x {height} pixels, more than {MAX_PIXELS:,}")
    picture.draft("RGB", (side, side))
    picture.decodermaxblock = MAX_CHUNK
    return picture


def _upright(picture: Image.Image) -> Image.Image:
    """Decodes a picture, and turns it as its EXIF orientation says."""
    picture.load()
    try:
        if picture.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return picture  # exif_transpose would copy it, and hold the GIL meanwhile
        return ImageOps.exif_transpose(picture)
    except Exception:
        # Damaged EXIF is common and raises errors of many kinds; the pixels are whole.
        return picture


def _depth(picture: ImageFile.ImageFile) -> int | None:
    """Returns the bits of a whole-number pixel as the file says; None for 32, seldom all used."""
    stored = str(picture.tile)
    if picture.mode == "I" and ";16" not in stored and picture.format != "PPM":
        return None
    return 12 if ";12" in stored else 16  # Pillow scales a PPM or JPEG 2000 of fewer to 16


def _as_rgb(picture: Image.Image, *, depth: int | None) -> Image.Image:
    if picture.mode == "F":
        raise UndecodableError("has floating-point pixels, whose range is not known")
    if picture.mode.startswith("I"):  # 12 to 32 bits a pixel, under several names
        picture = Image.fromarray(_eight_bits(np.asarray(picture), depth=depth))
    if picture.has_transparency_data:
        opaque = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(opaque, picture.convert("RGBA")).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _eight_bits(values: NDArray[Any], *, depth: int | None) -> Square:
    """Reduces whole numbers to 8 bits; an unknown depth is the least of 8, 12 and 16 that fits."""
    low, high = int(values.min()), int(values.max())
    depths = (depth,) if depth else (8, 12, 16)
    fitting = next((bits for bits in depths if high < 2**bits), None)
    if low < 0 or fitting is None:
        raise UndecodableError(
            f"has whole-number pixels from {low:,} to {high:,}, whose range is not known;"
            " 0 to 65,535 is allowed"
        )
    return (values >> (fitting - 8)).astype(np.uint8)


def _check_upper_bits(picture: Image.Image) -> None:
    """Raises UndecodableError if pixels of 16 bits fill 12 at most.

    Only the upper eight are kept, so nothing or next to nothing would be left.
    """
    if np.asarray(picture).max() < 16:
        raise UndecodableError(
            "has 16 bits a channel and values below 4,096, which leaves it black"
        )
