"""Photographs as people have them: odd modes, turned, damaged, absurd."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from inat_ray.data import decode
from inat_ray.data.decode import Fit, UndecodableError, decode_square


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def square(content: bytes, *, side: int = 32, fit: Fit = "crop") -> NDArray[np.uint8]:
    pixels = decode_square(content, side=side, fit=fit)
    assert pixels.shape == (side, side, 3)
    assert pixels.dtype == np.uint8
    return pixels


def thirds(width: int, height: int) -> Image.Image:
    """Red, green and blue, each a third of the longer side."""
    along = max(width, height)
    line = np.zeros((along, 3), dtype=np.uint8)
    for channel in range(3):
        line[channel * along // 3 : (channel + 1) * along // 3, channel] = 255
    across = line[None] if width >= height else line[:, None]
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(across, (height, width, 3))))


@pytest.mark.parametrize("size", [(96, 32), (32, 96)])
def test_crop_keeps_the_middle(size: tuple[int, int]) -> None:
    pixels = square(encoded(thirds(*size), "png"), fit="crop")
    assert (pixels.reshape(-1, 3).mean(axis=0).round() == [0, 255, 0]).all()


@pytest.mark.parametrize("size", [(96, 32), (32, 96)])
def test_squash_keeps_everything_and_fills_the_square(size: tuple[int, int]) -> None:
    pixels = square(encoded(thirds(*size), "png"), fit="squash")
    assert pixels.reshape(-1, 3).mean(axis=0) == pytest.approx([85, 85, 85], abs=3)


@pytest.mark.parametrize("size", [(96, 32), (32, 96)])
def test_pad_keeps_the_shape_between_gray_bars(size: tuple[int, int]) -> None:
    pixels = square(encoded(thirds(*size), "png"), side=48, fit="pad")
    gray = (pixels == 128).all(axis=2)
    assert gray.mean() == pytest.approx(2 / 3)
    assert gray[0, 0]
    assert gray[-1, -1]
    assert not gray[24, 24]


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_a_small_picture_is_enlarged(fit: Fit) -> None:
    pixels = square(encoded(Image.new("RGB", (5, 5), (10, 20, 30)), "png"), side=64, fit=fit)
    assert (pixels == [10, 20, 30]).all()


@pytest.mark.parametrize(
    ("mode", "color", "kind", "expected"),
    [
        ("L", 90, "png", (90, 90, 90)),
        ("1", 1, "png", (255, 255, 255)),
        ("P", 0, "png", (0, 0, 0)),
        ("P", 0, "gif", (0, 0, 0)),
        ("LA", (90, 255), "png", (90, 90, 90)),
        ("LA", (90, 0), "png", (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), "png", (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), "webp", (255, 255, 255)),
        ("I;16", 200 * 256, "png", (200, 200, 200)),
        ("I", 200 * 256, "tiff", (200, 200, 200)),
        ("CMYK", (0, 255, 255, 0), "tiff", (255, 0, 0)),
    ],
)
def test_odd_modes_become_rgb(mode: str, color: Any, kind: str, expected: Any) -> None:
    picture = Image.new(mode, (40, 40), color)
    assert (square(encoded(picture, kind)) == expected).all()


@pytest.mark.parametrize("highest", [5000, 16_384, 60_000, 65_535])
@pytest.mark.parametrize("kind", ["tiff", "png", "ppm"])
def test_gray_of_16_bits_is_as_bright_as_the_file_says(highest: int, kind: str) -> None:
    """Also beside darker pictures: one rule for all of a source."""
    line = np.linspace(0, highest, 40).astype(np.uint16)
    content = encoded(Image.fromarray(np.tile(line, (40, 1))), kind)
    assert (square(content, side=40)[5, :, 0] == line >> 8).all()


@pytest.mark.parametrize("highest", [200, 255, 3900])
@pytest.mark.parametrize("kind", ["tiff", "png"])
def test_gray_of_16_bits_that_fills_few_of_them_is_refused_and_not_black(
    highest: int, kind: str
) -> None:
    content = encoded(Image.fromarray(np.full((40, 40), highest, np.uint16)), kind)
    with pytest.raises(UndecodableError, match="16 bits a channel"):
        square(content)


@pytest.mark.parametrize(("value", "gray"), [(0, 0), (200, 12), (4095, 255)])
def test_a_tiff_of_12_bits_has_the_depth_that_it_names(value: int, gray: int) -> None:
    packed = int(f"{value:03x}" * 2, 16).to_bytes(3, "big") * 20 * 40
    tags = {256: 40, 257: 40, 258: 12, 259: 1, 262: 1, 273: 122, 277: 1, 278: 40, 279: len(packed)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, item) for tag, item in tags.items())
    content = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    content = content.ljust(122, b"\0") + packed
    assert (square(content) == gray).all()


@pytest.mark.parametrize("highest", [200, 254, 255, 3200, 4095, 60_000, 65_535])
def test_whole_numbers_of_32_bits_keep_their_range_whatever_bits_they_fill(highest: int) -> None:
    line = np.linspace(0, highest, 40).astype(np.int32)
    pixels = square(encoded(Image.fromarray(np.tile(line, (40, 1))), "tiff"), side=40)
    full = next(limit for limit in (255, 4095, 65_535) if highest <= limit)
    expected = np.linspace(0, 255 * highest / full, 40)
    assert pixels[5, :, 0].astype(float) == pytest.approx(expected, abs=1.5)


@pytest.mark.parametrize("values", [[0, 65_536], [-1, 200], [0, 2**31 - 1], [-5, -2]])
def test_whole_numbers_whose_range_is_not_known_are_refused(values: list[int]) -> None:
    content = encoded(Image.fromarray(np.tile(np.array(values, np.int32), (40, 20))), "tiff")
    with pytest.raises(UndecodableError, match="whose range is not known"):
        square(content)


def deep_png(value: int) -> bytes:
    """A PNG of one color, 16 bits a channel, which Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = (b"\0" + struct.pack(">H", value) * 3 * 40) * 40
    header = struct.pack(">IIBBBBB", 40, 40, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("value", [1, 254, 4095])
def test_colors_that_fill_few_of_16_bits_are_refused_and_not_black(value: int) -> None:
    with pytest.raises(UndecodableError, match="16 bits a channel"):
        square(deep_png(value))
    assert (square(deep_png(200 << 8)) == 200).all()


@pytest.mark.parametrize("kind", ["heif", "avif"])
def test_photographs_of_phones_are_read(kind: str) -> None:
    content = encoded(Image.new("RGB", (64, 48), (200, 100, 50)), kind)
    assert square(content)[16, 16] == pytest.approx([200, 100, 50], abs=6)


@pytest.mark.parametrize(("mode", "color"), [("CMYK", (0, 255, 255, 0)), ("YCbCr", (76, 85, 255))])
def test_jpegs_in_other_color_spaces_become_rgb(mode: str, color: Any) -> None:
    pixels = square(encoded(Image.new(mode, (40, 40), color), "jpeg"))
    assert pixels.reshape(-1, 3).mean(axis=0) == pytest.approx([255, 0, 0], abs=4)


def test_a_palette_with_transparency_is_white_where_it_is_clear() -> None:
    picture = Image.new("P", (40, 40), 1)
    picture.putpalette([0, 0, 0, 200, 100, 50])
    pixels = square(encoded(picture, "png", transparency=bytes([255, 0])))
    assert (pixels == 255).all()


@pytest.mark.parametrize(("orientation", "top"), [(1, 0), (3, 2), (6, None), (8, None)])
def test_exif_orientation_turns_the_picture_upright(orientation: int, top: int | None) -> None:
    """Red lies at the top as stored: upright at 1, below at 3, at a side at 6 and 8."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(thirds(47, 48), "jpeg", exif=exif, quality=95)
    pixels = square(content, side=48, fit="squash").astype(int)
    if top is None:
        side = 47 if orientation == 6 else 0
        assert pixels[24, side].argmax() == 0
    else:
        assert pixels[0, 24].argmax() == top


def test_damaged_exif_does_not_lose_the_picture() -> None:
    """Turned by its EXIF, whose width is the text "abc": Pillow fails to write it back."""
    entries = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack(
        ">HHI4s", 0x0100, 2, 4, b"abc"
    )
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2) + entries + bytes(4)
    content = encoded(Image.new("RGB", (40, 40), (0, 255, 0)), "jpeg", exif=exif)
    assert square(content)[16, 16].argmax() == 1


def test_a_jpeg_is_decoded_at_a_reduced_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    fit = decode.to_square

    def watched(picture: Image.Image, **options: Any) -> NDArray[np.uint8]:
        sizes.append(picture.size)
        return fit(picture, **options)

    monkeypatch.setattr(decode, "to_square", watched)
    square(encoded(thirds(800, 600), "jpeg"), side=70)
    assert sizes == [(100, 75)]


def test_only_the_first_picture_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue")]
    content = encoded(frames[0], "gif", save_all=True, append_images=frames[1:])
    assert square(content)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "gif", "bmp"])
def test_a_truncated_file_is_refused(kind: str) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
    content = encoded(picture, kind)
    with pytest.raises(UndecodableError):
        square(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"<html>no photograph</html>", "is not a picture")],
)
def test_what_is_no_picture_is_refused_by_name(content: bytes, reason: str) -> None:
    with pytest.raises(UndecodableError, match=reason):
        square(content)


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))
    with pytest.raises(UndecodableError, match="60000 x 60000 pixels"):
        square(content)


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "LARGE", 100)
    held = []
    fit = decode.to_square

    def watched(picture: Image.Image, **options: Any) -> NDArray[np.uint8]:
        held.append(decode._one_large_picture.locked())
        return fit(picture, **options)

    monkeypatch.setattr(decode, "to_square", watched)
    square(encoded(thirds(40, 40), "png"))
    square(encoded(thirds(9, 9), "png"))
    assert held == [True, False]


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(UndecodableError, match="floating-point"):
        square(encoded(Image.new("F", (40, 40), 0.5), "tiff"))
