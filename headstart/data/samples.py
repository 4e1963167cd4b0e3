"""Where samples come from, one at a time: files, arrays in memory, or a Dataset of the user's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from headstart.data.decode import Picture, UnreadableError, decode_file, render
from headstart.errors import DataError


class ImageFile(NamedTuple):
    """A file on disk: its path, how it is shown, and what changes when it is edited or replaced.

    The time of its content can be set by whoever writes it (archives with fixed times do); `ctime_ns` and `inode` cannot.
    """

    path: str
    name: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Samples(Protocol):
    """Pictures that can be read by position.

    parallel  several threads may read at once
    """

    @property
    def parallel(self) -> bool: ...

    def __len__(self) -> int: ...

    def key(self) -> str | None:
        """What identifies the pictures without decoding them; None when that cannot be known, so that nothing is reused."""
        ...

    def read(self, place: int, size: int, fit: str) -> tuple[Picture, Any]:
        """The picture at `place` and the label that came with it (None when labels are known apart from the pictures).

        Raises `UnreadableError`.
        """
        ...


@dataclass(frozen=True, eq=False)
class FileSamples:
    """Pictures in files."""

    files: Sequence[ImageFile]
    parallel: bool = True

    def __len__(self) -> int:
        return len(self.files)

    def key(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for file in self.files:
            digest.update("\0".join(map(str, file[1:])).encode("utf-8", "surrogateescape") + b"\n")
        return digest.hexdigest()

    def read(self, place: int, size: int, fit: str) -> tuple[Picture, Any]:
        return decode_file(self.files[place].path, size, fit), None


@dataclass(frozen=True, eq=False)
class ArraySamples:
    """Pictures in arrays of one shape, uint8 `[N, H, W, C]`, one array per split, joined in order."""

    parts: Sequence[NDArray[Any]]
    parallel: bool = True

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def key(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for part in self.parts:
            digest.update(repr((part.shape, part.dtype.str)).encode())
            for start in range(0, len(part), 4096):
                digest.update(np.ascontiguousarray(part[start : start + 4096]).data)
        return digest.hexdigest()

    def read(self, place: int, size: int, fit: str) -> tuple[Picture, Any]:
        for part in self.parts:
            if place < len(part):
                return render(image_of(part[place]), size, fit), None
            place -= len(part)
        raise IndexError(place)


@dataclass(frozen=True, eq=False)
class DatasetSamples:
    """Pictures of map-style Datasets, one per split, joined in order. Labels come with the pictures.

    Read in one thread, since a Dataset may hold a file handle that two must not share; and never reused from a cache, since
    nothing tells whether the Dataset still yields the same.
    """

    parts: Sequence[Any]
    parallel: bool = False

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def key(self) -> None:
        return None

    def read(self, place: int, size: int, fit: str) -> tuple[Picture, Any]:
        item, label = self.item(place)
        return render(image_of(item), size, fit), label

    def item(self, place: int) -> tuple[Any, Any]:
        """What the Dataset yields at `place`. Raises `UnreadableError` when it fails there."""
        for part in self.parts:
            if place < len(part):
                try:
                    return pair(part[place])
                except (UnreadableError, DataError):
                    raise
                except Exception as problem:  # the user's code: whatever it raises belongs to this one sample
                    raise UnreadableError(f"the Dataset failed there: {type(problem).__name__}: {problem}") from problem
            place -= len(part)
        raise IndexError(place)


def pair(item: Any) -> tuple[Any, Any]:
    """A Dataset's item as (picture, label). Raises `DataError` when it is not one."""
    if isinstance(item, (tuple, list)) and len(item) >= 2:
        return item[0], plain_label(item[1])
    raise DataError(
        f"the Dataset yields {type(item).__name__}, but (picture, label) pairs are needed; wrap it to yield them"
    )


def plain_label(label: Any) -> int | str | None:
    """A label as an int or a name; None when it is missing. Raises `UnreadableError` for anything else."""
    if isinstance(label, (torch.Tensor, np.ndarray, np.generic)):
        values = np.asarray(label)
        if values.size != 1:
            raise UnreadableError(f"its label has shape {values.shape}, but one class per picture is needed")
        label = values.item()
    if label is None or label == "" or label != label:
        return None
    if isinstance(label, str):
        return label
    if isinstance(label, (bool, int, float)) and int(label) == label:
        return int(label)
    raise UnreadableError(f"its label is {type(label).__name__} {label!r:.40}, but a whole number or a name is needed")


def image_of(item: Any) -> Image.Image:
    """A Pillow image made of one, of an array `[H, W]` or `[H, W, C]`, or of a tensor `[C, H, W]`; see `eight_bit`."""
    if isinstance(item, Image.Image):
        return item
    if isinstance(item, torch.Tensor):
        item = item.detach().cpu().numpy()
    if not isinstance(item, np.ndarray):
        raise UnreadableError(f"is a {type(item).__name__}, but a Pillow image, an array or a tensor is needed")
    array = eight_bit(channels_last(item, axis=0))
    return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array)


def several(images: NDArray[Any]) -> NDArray[Any]:
    """Pictures `[N, ...]` of an array that holds several, or one `[H, W, C]` of 3 or 4 channels.

    Raises `DataError` where `[N, H, W]` of pictures so narrow may be meant as well.
    """
    if images.ndim != 3 or images.shape[-1] not in (3, 4):
        return images
    if images.shape[1] in (3, 4):
        raise DataError(
            f"an array of shape {images.shape} is one picture in {images.shape[-1]} channels or {len(images)} grey ones: "
            "give images[None] for the one, images[..., None] for the others"
        )
    return images[None]


def channels_last(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """Move channels behind height and width where they come before (`axis` is the place of the first of the three)."""
    if array.ndim == axis + 3 and array.shape[-1] not in (1, 3, 4) and array.shape[axis] in (1, 3, 4):
        array = np.moveaxis(array, axis, -1)
    if array.ndim not in (axis + 2, axis + 3) or (array.ndim == axis + 3 and array.shape[-1] not in (1, 3, 4)):
        raise UnreadableError(
            f"has shape {array.shape}, but [H, W], [H, W, C] or [C, H, W] with 1, 3 or 4 channels is needed"
        )
    return array


def eight_bit(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixel values as uint8: bool and float 0..1 are scaled by 255, uint16 by 1/257. Else `UnreadableError`."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        return np.asarray(np.where(array, 255, 0), np.uint8)
    if array.dtype == np.uint16:
        return np.asarray(np.rint(array / 257), np.uint8)
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.asarray(np.rint(array * 255), np.uint8)
    if array.dtype.kind in "iu" and low >= 0 and high <= 255:
        return array.astype(np.uint8)
    if np.isnan([low, high]).any():
        raise UnreadableError(f"holds values that are not numbers (NaN) among its {array.dtype}; take them out")
    eight = array.dtype.kind == "f" and low >= 0 and 1 < high <= 255
    raise UnreadableError(
        f"holds {array.dtype} values from {low:.3g} to {high:.3g}, but uint8, or float from 0 to 1, is needed; "
        + ("divide them by 255" if eight else "leave out a Normalize step, which belongs to the network")
    )
