"""One picture: opened safely, turned the right way up, made RGB, fitted to a square.

What comes out for each kind of file. Grey and 1-bit: three equal channels. Palette, with or without transparency, and
everything with an alpha channel: composited on white. CMYK: Pillow's plain conversion, without colour profiles. 16-bit
grey: divided by 257 and rounded, so that 65535 becomes 255. EXIF rotation: applied. Animations: the first frame.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch.nn import functional as F

from headstart.errors import ConfigError

DECODER_VERSION = 3
"""Raised whenever what is made from the same file changes, so that no cache of the older ones is used."""

MAX_PIXELS = 178_956_970
"""Larger pictures are refused before they are decoded (twice Pillow's own warning limit; 0.7 GB once decoded)."""

_LARGE = 1 << 24  # above this many pixels only one picture is decoded at a time, to bound memory
_one_large = threading.Lock()

# Pillow would start an external interpreter for some other kinds (EPS); a picture never needs that.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA", "ICO")

_SUFFIXES = (
    ".jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .dib .tif .tiff .ppm .pgm .pbm .pnm .avif .heic .heif .jp2 .tga"
)
SUFFIXES = frozenset(_SUFFIXES.split())
"""A file with one of these suffixes is always tried; others are listed as ignored."""

Fit = Literal["squash", "pad", "crop"]
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
THUMB = 32


class UnreadableError(Exception):
    """One picture cannot be used; `str()` is the reason in plain words. Never leaves `data/`: the file is set aside."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture.

    pixels         `[size, size, 3]` uint8
    width, height  of the file, after EXIF rotation
    mode           Pillow's name of the file's pixel format (`RGB`, `L`, `P`, `CMYK`, `I;16`, ...)
    digest         16 bytes of the decoded picture, before and after it was fitted: identical pictures in two files have the
                   same
    thumb          `[32, 32]` uint8 grey, for the perceptual hash
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    mode: str
    digest: bytes
    thumb: NDArray[np.uint8]


def check_fit(size: int, fit: str) -> None:
    """Raise `ConfigError` unless `size` and `fit` can be used."""
    if fit not in get_args(Fit):
        raise ConfigError(f"fit={fit!r} is unknown; choose one of {', '.join(get_args(Fit))}")
    if not 1 <= size <= 4096:
        raise ConfigError(f"size={size} is not a usable side in pixels; choose 1 to 4096")


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings about odd files from leaking: what matters of them is checked here and said in a `BadFile`.

    Python's warning filters belong to the process, so this stands around a whole pass, in the thread that starts it.
    """
    Image.init()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def decode_file(path: str | os.PathLike[str], size: int, fit: str = "squash") -> Picture:
    """The picture in the file `path`. Raises `UnreadableError` with the reason; opens nothing but regular files."""
    try:
        _check_regular(path)
        with open(path, "rb") as handle, Image.open(handle, formats=_known_formats()) as image:
            return render(image, size, fit)
    except UnreadableError:
        raise
    except Exception as problem:  # Pillow's readers raise nearly anything on a damaged file
        raise UnreadableError(_reason(problem)) from problem


def render(image: Image.Image, size: int, fit: str = "squash") -> Picture:
    """The picture in an opened, perhaps not yet loaded, Pillow image."""
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableError(f"{image.width} x {image.height} pixels, more than the limit of {MAX_PIXELS}")
    if not image.width or not image.height:
        raise UnreadableError("has no pixels")
    mode, (width, height) = image.mode, image.size
    turn = _TURN.get(_orientation(image))
    if turn is not None and turn >= Image.Transpose.ROTATE_90 and turn != Image.Transpose.ROTATE_180:
        width, height = height, width
    if hasattr(image, "draft"):
        image.draft(None, (size, size))  # a JPEG is decoded at 1/2, 1/4 or 1/8 where that is still large enough
    with _gate(image):
        upright = to_rgb(image)
        whole = np.asarray(upright if turn is None else upright.transpose(turn))
        fitted = fit_square(whole, size, fit)
        # the checksum tells pictures apart that differ only in what fitting averages out, at a third of a hash's price
        checked = struct.pack("<3I", width, height, zlib.crc32(whole.data))
    digest = hashlib.sha256(checked)
    digest.update(fitted.data)
    return Picture(fitted, width, height, mode, digest.digest()[:16], _thumb(fitted))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any image as mode `RGB`, as the module describes."""
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image).astype(np.float32) / 257)
    if image.mode == "I":
        return _grey(_within(np.asarray(image), 65535, "32-bit whole numbers") / 257)
    if image.mode == "F":
        return _grey(_within(np.asarray(image), 1, "floating-point numbers") * 255)
    if image.mode == "LAB":
        raise UnreadableError("LAB colours are not supported; save it as an RGB picture")
    if image.has_transparency_data:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def fit_square(pixels: NDArray[np.uint8], size: int, fit: str = "squash") -> NDArray[np.uint8]:
    """Bring an RGB image `[H, W, 3]` to `[size, size, 3]`.

    squash  the whole image, squeezed: nothing is lost, proportions change
    pad     the whole image in proportion, on a ground of its own mean colour
    crop    the largest centred square; what lies outside is lost
    """
    high, wide = pixels.shape[:2]
    if fit == "squash" or wide == high:
        return _resized(pixels, size, size)
    if fit == "crop":
        side = min(wide, high)
        top, left = (high - side) // 2, (wide - side) // 2
        return _resized(pixels[top : top + side, left : left + side], size, size)
    scale = size / max(wide, high)
    inner = max(1, round(high * scale)), max(1, round(wide * scale))
    small = _resized(pixels, *inner)
    square = np.empty((size, size, 3), np.uint8)
    square[:] = np.rint(small.mean((0, 1)))
    top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
    square[top : top + inner[0], left : left + inner[1]] = small
    return square


def _resized(pixels: NDArray[np.uint8], high: int, wide: int) -> NDArray[np.uint8]:
    """Antialiased: the filter widens by the factor of reduction. Bicubic where it enlarges, which keeps edges.

    PyTorch shrinks within one grey level of Pillow, in a third of the time.
    """
    if pixels.shape[:2] == (high, wide):
        return np.ascontiguousarray(pixels)
    if high > pixels.shape[0] or wide > pixels.shape[1]:
        image = Image.fromarray(np.ascontiguousarray(pixels)).resize((wide, high), Image.Resampling.BICUBIC)
        return np.asarray(image)
    # A copy where need be: Pillow's own memory cannot be written to, and a part of an array has gaps.
    planes = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)[None]
    small = F.interpolate(planes, (high, wide), mode="bilinear", antialias=True)[0].numpy()
    # Plane by plane is four times as fast as one strided copy; torch's would wake a team of threads for every picture.
    out = np.empty((high, wide, 3), np.uint8)
    for colour in range(3):
        out[..., colour] = small[colour]
    return out


def _thumb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(pixels).convert("L")
    kind = Image.Resampling.BOX if image.width >= THUMB else Image.Resampling.BILINEAR
    return np.asarray(image.resize((THUMB, THUMB), kind))


def _grey(values: NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")


def _within(values: NDArray[Any], top: int, what: str) -> NDArray[np.float32]:
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > top:
        raise UnreadableError(f"{what} outside 0 to {top}, so what is white is unknown; save it as an 8- or 16-bit picture")
    return values.astype(np.float32)


def _on_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data says nothing about the pixels
        return 1


def _gate(image: Image.Image) -> AbstractContextManager[Any]:
    return _one_large if image.width * image.height > _LARGE else nullcontext()


def _known_formats() -> list[str]:
    Image.init()  # Pillow learns its readers on first use; before that the list is short
    return [name for name in _FORMATS if name in Image.OPEN]


def _check_regular(path: str | os.PathLike[str]) -> None:
    """Raise unless `path` is a regular file with content. A pipe would block for ever and a device may never end."""
    info = os.stat(path)
    if stat.S_ISDIR(info.st_mode):
        raise UnreadableError("is a folder, not a picture")
    if not stat.S_ISREG(info.st_mode):
        raise UnreadableError("is a pipe, socket or device, which is never opened")
    if info.st_size == 0:
        raise UnreadableError("is empty (0 bytes)")


def _reason(problem: Exception) -> str:
    """What went wrong, without Python's vocabulary."""
    if isinstance(problem, Image.DecompressionBombError):
        return f"has more than the limit of {MAX_PIXELS} pixels"
    if isinstance(problem, UnidentifiedImageError):
        return "is not a picture in a format that can be read"
    if isinstance(problem, FileNotFoundError):
        return "does not exist, or is a link to a file that does not"
    if isinstance(problem, MemoryError):
        return "is too large for the memory of this machine"
    if isinstance(problem, OSError) and problem.errno is not None:
        return f"cannot be read: {problem.strerror}"
    if "truncated" in str(problem) or isinstance(problem, (EOFError, struct.error)):
        return "is truncated: the file ends before the picture does"
    if isinstance(problem, (OSError, SyntaxError, ValueError, zlib.error)) and str(problem):
        return f"is damaged: {problem}"
    return f"is damaged ({type(problem).__name__} while decoding)"
