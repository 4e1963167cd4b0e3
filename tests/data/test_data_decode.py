"""Every kind of file comes out as the right RGB; every kind of damage as a plain reason."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.decode import MAX_PIXELS, UnreadableError, check_fit, decode_file, fit_square, quiet_pillow
from headstart.errors import ConfigError

RAMP = np.linspace(0, 255, 16).round().astype(np.uint8)
GREY = np.tile(RAMP, (16, 1))
COLOUR = np.stack([GREY, GREY.T, 255 - GREY], axis=-1)


def decoded(path: Path, size: int = 16, fit: str = "squash") -> np.ndarray:
    with quiet_pillow():
        return decode_file(path, size, fit).pixels


def mode(path: Path) -> str:
    with Image.open(path) as image:
        return image.mode


def reason(path: Path) -> str:
    with quiet_pillow(), pytest.raises(UnreadableError) as caught:
        decode_file(path, 16)
    return str(caught.value)


def rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)


def test_plain_rgb_is_unchanged(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decoded(tmp_path / "a.png"), COLOUR)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "gif", "pgm"])
def test_grey_gives_three_equal_channels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(GREY).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(decoded(path), rgb(GREY))


def test_one_bit(tmp_path: Path) -> None:
    Image.fromarray(GREY > 100).save(tmp_path / "a.png")
    assert mode(tmp_path / "a.png") == "1"
    np.testing.assert_array_equal(decoded(tmp_path / "a.png"), rgb(np.where(GREY > 100, 255, 0).astype(np.uint8)))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    deep = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(deep).save(path)
    assert mode(path).startswith("I")
    expected = np.rint(deep / 257).astype(np.uint8)
    np.testing.assert_array_equal(decoded(path), rgb(expected))
    assert expected.max() == 255
    assert len(np.unique(expected)) == 256


def test_big_endian_sixteen_bit_tiff(tmp_path: Path) -> None:
    deep = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    header = struct.pack(">2sHI", b"MM", 42, 8)
    entries = [(256, 16), (257, 16), (258, 16), (259, 1), (262, 1), (273, 8 + 2 + 12 * 8 + 4), (278, 16), (279, 512)]
    body = struct.pack(">H", len(entries))
    for tag, value in entries:
        body += struct.pack(">HHII", tag, 4, 1, value)
    (tmp_path / "a.tif").write_bytes(header + body + struct.pack(">I", 0) + deep.astype(">u2").tobytes())
    np.testing.assert_array_equal(decoded(tmp_path / "a.tif"), rgb((deep // 257).astype(np.uint8)))


def test_float_tiff_from_0_to_1_is_read_and_other_ranges_are_refused(tmp_path: Path) -> None:
    Image.fromarray((GREY / 255).astype(np.float32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(decoded(tmp_path / "a.tif"), rgb(GREY))
    Image.fromarray(GREY.astype(np.float32) * 1000).save(tmp_path / "b.tif")
    assert "what is white is unknown" in reason(tmp_path / "b.tif")


def _on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    a = alpha[..., None].astype(np.float64) / 255
    return colour * a + 255 * (1 - a)


def test_alpha_is_composited_on_white(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([COLOUR, GREY])).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([GREY.T, GREY])).save(tmp_path / "la.png")
    assert mode(tmp_path / "la.png") == "LA"
    assert np.abs(decoded(tmp_path / "rgba.png") - _on_white(COLOUR, GREY)).max() <= 1
    assert np.abs(decoded(tmp_path / "la.png") - _on_white(rgb(GREY.T), GREY)).max() <= 1


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (16, 16))
    image.putpalette([200, 10, 20, 0, 90, 250])
    image.paste(1, (8, 0, 16, 16))
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "one.png", transparency=1)
    image.save(tmp_path / "bytes.png", transparency=bytes([255, 0]))  # Pillow would warn about this kind
    expected = np.empty((16, 16, 3), np.uint8)
    expected[:, :8], expected[:, 8:] = (200, 10, 20), (0, 90, 250)
    np.testing.assert_array_equal(decoded(tmp_path / "plain.png"), expected)
    expected[:, 8:] = 255
    for name in ("one.png", "bytes.png"):
        np.testing.assert_array_equal(decoded(tmp_path / name), expected)


def test_transparent_colour_of_an_rgb_or_grey_png(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (10, 20, 30)).save(tmp_path / "a.png", transparency=(10, 20, 30))
    Image.new("L", (16, 16), 40).save(tmp_path / "b.png", transparency=40)
    assert (decoded(tmp_path / "a.png") == 255).all()
    assert (decoded(tmp_path / "b.png") == 255).all()


def test_cmyk(tmp_path: Path) -> None:
    """C M Y K each darken: R = 255 (1 - C)(1 - K), up to JPEG's loss."""
    for name, cmyk, expected in (("a", (0, 0, 0, 0), (255, 255, 255)), ("b", (255, 0, 0, 0), (0, 255, 255)),
                                 ("c", (0, 0, 0, 255), (0, 0, 0)), ("d", (0, 255, 255, 0), (255, 0, 0))):  # fmt: skip
        Image.new("CMYK", (16, 16), cmyk).save(tmp_path / f"{name}.jpg", quality=95)
        assert np.abs(decoded(tmp_path / f"{name}.jpg").astype(int) - expected).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_brings_the_picture_upright(tmp_path: Path, orientation: int) -> None:
    """Stored turned, tagged with how to turn it back (EXIF 2.32, tag 0x0112: where row 0 and column 0 are)."""
    upright = np.asarray(Image.fromarray(COLOUR).resize((32, 16)))
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1), 7: np.rot90(upright, 2).transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    with quiet_pillow():
        picture = decode_file(tmp_path / "a.png", 16)
    assert (picture.width, picture.height) == (32, 16)
    np.testing.assert_array_equal(picture.pixels, fit_square(upright, 16))


def test_damaged_exif_does_not_spoil_the_picture(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff broken")
    np.testing.assert_array_equal(decoded(tmp_path / "a.png"), COLOUR)


def test_draft_changes_a_large_jpeg_little(tmp_path: Path) -> None:
    big = Image.fromarray(COLOUR).resize((800, 640), Image.Resampling.BICUBIC)
    big.save(tmp_path / "a.jpg", quality=95)
    big.save(tmp_path / "a.png")
    with quiet_pillow():
        drafted, whole = decode_file(tmp_path / "a.jpg", 32), decode_file(tmp_path / "a.png", 32)
    assert (drafted.width, drafted.height) == (800, 640)
    assert np.abs(drafted.pixels.astype(int) - whole.pixels).mean() < 1.5


def test_identical_pictures_in_different_files_have_one_digest(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    Image.fromarray(COLOUR).save(tmp_path / "b.webp", lossless=True)
    Image.fromarray(COLOUR).save(tmp_path / "c.png", compress_level=1, optimize=False)
    other = COLOUR.copy()
    other[0, 0, 0] ^= 1
    Image.fromarray(other).save(tmp_path / "d.png")
    a, b, c, d = (decode_file(tmp_path / n, 8).digest for n in ("a.png", "b.webp", "c.png", "d.png"))
    assert a == b == c
    assert a != d


def test_shrinking_averages_what_it_covers() -> None:
    """Antialiased: a fine chequerboard becomes its mean, not a moire of 0 and 255."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = fit_square(rgb(board), 8)
    assert np.abs(small.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
def test_fit_keeps_what_it_says(shape: tuple[int, int]) -> None:
    """Red ends, green middle third of a 3 : 1 picture."""
    width, height = shape
    image = Image.new("RGB", shape, (255, 0, 0))
    third = (20, 0, 40, 20) if width > height else (0, 20, 20, 40)
    image.paste((0, 255, 0), third)
    squash, pad, crop = (fit_square(np.asarray(image), 30, f).astype(int) for f in ("squash", "pad", "crop"))
    if height > width:
        squash, pad, crop = (a.transpose(1, 0, 2) for a in (squash, pad, crop))
    assert squash[15, 2].tolist() == squash[15, 27].tolist() == [255, 0, 0]
    assert squash[2, 15].tolist() == squash[27, 15].tolist() == [0, 255, 0]
    assert crop[15, 15].tolist() == [0, 255, 0]
    assert (crop[15, 3:-3] == [0, 255, 0]).all()
    assert pad[15, 2].tolist() == pad[15, 27].tolist() == [255, 0, 0]
    assert np.abs(pad[2, 15] - [170, 85, 0]).max() <= 2, "the ground is the picture's mean colour"


def test_small_pictures_are_enlarged_smoothly() -> None:
    small = Image.fromarray(np.array([[0, 255], [0, 255]], np.uint8)).convert("RGB")
    row = fit_square(np.asarray(small), 16)[8, :, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert len(set(row.tolist())) > 4


@pytest.mark.parametrize("shape", [(375, 500), (224, 500), (500, 225), (1000, 300)])
def test_shrinking_is_pillows_to_a_grey_level(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    pillow = np.asarray(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BILINEAR)).astype(int)
    apart = np.abs(fit_square(pixels, 224) - pillow)
    assert apart.max() <= 1
    assert apart.mean() < 0.25


def test_unknown_fit_and_size_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"fit='stretch'.*squash, pad, crop"):
        check_fit(32, "stretch")
    with pytest.raises(ConfigError, match="size=0"):
        check_fit(0, "pad")


def _png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_bombs_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bomb.png").write_bytes(_png_of(60_000, 60_000))
    assert f"{MAX_PIXELS} pixels" in reason(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as some programs do; our own limit holds
    assert f"limit of {MAX_PIXELS}" in reason(tmp_path / "bomb.png")


def test_large_but_allowed_raises_no_warning(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(_png_of(10_000, 10_000))
    assert "truncated" in reason(tmp_path / "large.png")


def test_every_kind_of_damage_has_a_plain_reason(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(whole)
    data = whole.read_bytes()
    (tmp_path / "half.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("this is no picture")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "ps.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.jpg"))
        assert "never opened" in reason(tmp_path / "s.jpg")
    assert "truncated" in reason(tmp_path / "half.jpg")
    assert "0 bytes" in reason(tmp_path / "empty.jpg")
    assert "not a picture" in reason(tmp_path / "text.jpg")
    assert "not a picture" in reason(tmp_path / "ps.jpg")
    assert "folder" in reason(tmp_path / "folder.jpg")
    assert "never opened" in reason(tmp_path / "pipe.jpg")
    assert "does not exist" in reason(tmp_path / "gone.jpg")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    if os.geteuid() == 0:  # root reads everything: refuse in its place

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("builtins.open", refuse)
    assert reason(tmp_path / "a.png") == "cannot be read: Permission denied"


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tif"])
def test_flipped_bytes_never_raise_anything_else(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOUR).save(path)
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(7)
    with quiet_pillow():
        for _ in range(60):
            broken = bytearray(whole)
            for place in rng.integers(0, len(whole), 4):
                broken[place] = rng.integers(0, 256)
            path.write_bytes(broken[: rng.integers(1, len(whole) + 1)])
            with contextlib.suppress(UnreadableError):
                assert decode_file(path, 16).pixels.shape == (16, 16, 3)
