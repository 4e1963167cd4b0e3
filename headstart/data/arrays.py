"""Samples already in memory: `(images, labels)`, dicts and `.npz` files of arrays, and map-style Datasets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.data.decode import UnreadableError
from headstart.data.names import SPLITS, count, natural_key, shown, some, split_named
from headstart.data.samples import ArraySamples, DatasetSamples, Samples, channels_last, eight_bit, plain_label
from headstart.errors import DataError, problems

_IMAGES = {"images", "image", "x", "data", "features", "vectors"}
_LABELS = {"labels", "label", "y", "targets", "target"}


@dataclass(frozen=True, eq=False)
class VectorSamples:
    """Vectors `[N, D]` float32; there is nothing to decode."""

    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, eq=False)
class Parts:
    """Samples joined over splits; `labels` are raw (int, str or None), or None where they come with the samples."""

    samples: Samples | VectorSamples
    labels: list[int | str | None] | None
    lengths: dict[str, int]
    classes: tuple[str, ...] | None = None


def parts_of(data: Any) -> Parts:
    """Recognise data given in memory. Raises `DataError` saying what is accepted."""
    if isinstance(data, Mapping):
        return _of_mapping(data)
    if isinstance(data, tuple) and len(data) == 2 and _is_array(data[0]):
        return _of_arrays({"train": data})
    if _is_map_style(data):
        return _of_datasets({"train": data})
    raise DataError(
        f"data={type(data).__name__} cannot be read; give an image folder, a CSV file, an .npz file, (images, labels) "
        "arrays, a dict of them, or a Dataset with __len__ and __getitem__"
    )


def load_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz` file; pickled objects in it are refused."""
    try:
        # opened here: NumPy would leave a file open that turns out to be damaged
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as problem:  # damaged archives raise errors of the zip and zlib modules as well
        hint = "; it holds pickled objects, save plain arrays" if "pickle" in str(problem).lower() else ""
        raise DataError(f"{shown(path)} cannot be read as an .npz file of arrays: {problem}{hint}") from problem


def _of_mapping(data: Mapping[str, Any]) -> Parts:
    by_split = {split_named(str(key)): value for key, value in data.items()}
    if None not in by_split:
        chosen = cast(dict[str, Any], by_split)
        in_arrays = all(isinstance(v, tuple) and len(v) == 2 and _is_array(v[0]) for v in chosen.values())
        return _of_arrays(chosen) if in_arrays else _of_datasets(chosen)
    found: dict[str, dict[str, Any]] = {}
    for key, value in data.items():
        role, split = role_of(key)
        if role:
            found.setdefault(split, {})[role] = value
    wrong = [
        f"{split}: {'labels' if 'images' in pair else 'images'} are missing"
        for split, pair in found.items()
        if len(pair) < 2
    ]
    if "train" not in found:
        wrong.append("there is no images_train and labels_train (or images and labels)")
    problems(DataError, f"the arrays {some((repr(k) for k in data), 10)} cannot be used:", wrong)
    return _of_arrays({split: (pair["images"], pair["labels"]) for split, pair in found.items()})


def role_of(key: str) -> tuple[str | None, str]:
    """`images_train`, `train_images`, `x_test`, `y`: the role and the split of an array's name."""
    words = [w for w in re.split(r"[_\W]+", str(key).casefold()) if w]
    splits = [s for w in words if (s := split_named(w))]
    rest = {w for w in words if not split_named(w)}
    role = "images" if rest and rest <= _IMAGES else "labels" if rest and rest <= _LABELS else None
    return role, splits[0] if splits else "train"


def _of_arrays(by_split: Mapping[str, tuple[Any, Any]]) -> Parts:
    wrong: list[str] = []
    images, labels, lengths = [], [], {}
    for split in (s for s in SPLITS if s in by_split):
        x, y = (_numpy(a) for a in by_split[split])
        given = _raw_labels(y, split, wrong)
        if len(given) != len(x):
            wrong.append(
                f"{split}: {count(len(x), 'image')} but {count(len(given), 'label')}; there must be one label per image"
            )
        images.append(_samples_array(x, split, wrong))
        labels += given
        lengths[split] = len(x)
    if "train" not in lengths:
        wrong.append("there is no train part")
    if len({(a.shape[1:], a.dtype) for a in images}) > 1:
        wrong.append(f"the parts have different shapes or types: {some((f'{a.dtype}{list(a.shape)}' for a in images), 5)}")
    problems(DataError, "the arrays cannot be used:", wrong)
    joined: Samples | VectorSamples = ArraySamples(images)
    if images[0].ndim == 2:
        joined = VectorSamples(images[0] if len(images) == 1 else np.concatenate(images))
    return Parts(joined, labels, lengths)


def _samples_array(x: NDArray[Any], split: str, wrong: list[str]) -> NDArray[Any]:
    """Images as uint8 `[N, H, W]` or `[N, H, W, C]`, vectors as float32 `[N, D]`; what cannot be goes to `wrong`."""
    if x.ndim == 2 and x.dtype.kind in "fiub":
        return np.asarray(x, np.float32)
    try:
        if x.ndim < 3 or not x.size:
            raise UnreadableError(f"have shape {x.shape}; images are [N, H, W] or [N, H, W, C], vectors [N, D]")
        return eight_bit(channels_last(x, axis=1))
    except UnreadableError as problem:
        wrong.append(f"{split}: the images cannot be used: {problem}")
        return np.zeros((len(x) if x.ndim else 0, 1, 1), np.uint8)


def _raw_labels(y: NDArray[Any], split: str, wrong: list[str]) -> list[int | str | None]:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        wrong.append(
            f"{split}: labels have shape {y.shape}, but one class per image, [N], is needed (one-hot: take argmax(1))"
        )
        return [None] * (len(y) if y.ndim else 0)
    try:
        return [plain_label(label) for label in y]
    except UnreadableError as problem:
        wrong.append(f"{split}: labels hold {y.dtype} values: {problem}")
        return [None] * len(y)


def _of_datasets(by_split: Mapping[str, Any]) -> Parts:
    wrong = [f"{split}: {type(d).__name__} has no length or cannot be indexed; a map-style Dataset is needed"
             for split, d in by_split.items() if not _is_map_style(d)]  # fmt: skip
    if "train" not in by_split:
        wrong.append("there is no train part")
    problems(DataError, "the data cannot be used:", wrong)
    chosen = {split: by_split[split] for split in SPLITS if split in by_split}
    samples = DatasetSamples(tuple(chosen.values()))
    lengths = {split: len(part) for split, part in chosen.items()}
    names = getattr(chosen["train"], "classes", None)
    classes = tuple(str(n) for n in names) if isinstance(names, Sequence) and not isinstance(names, str) else None
    if len(samples) and _yields_vectors(samples):
        vectors, labels = _read_vectors(samples)
        return Parts(VectorSamples(vectors), labels, lengths, classes)
    return Parts(samples, None, lengths, classes)


def _yields_vectors(samples: DatasetSamples) -> bool:
    """Look at the first item that can be read, which also finds a Dataset of something else before any work is done."""
    for place in range(min(len(samples), 16)):
        try:
            item, _ = samples.item(place)
        except UnreadableError:
            continue
        return isinstance(item, (torch.Tensor, np.ndarray)) and item.ndim == 1
    return False


def _read_vectors(samples: DatasetSamples) -> tuple[NDArray[np.float32], list[int | str | None]]:
    rows: list[NDArray[np.float32] | None] = []
    labels: list[int | str | None] = []
    for place in range(len(samples)):
        try:
            item, label = samples.item(place)
            rows.append(np.asarray(item, np.float32).reshape(-1))
        except UnreadableError:
            rows.append(None)
            label = None
        labels.append(label)
    sizes = {len(row) for row in rows if row is not None}
    if len(sizes) != 1:
        raise DataError(f"the Dataset yields vectors of different lengths, {sorted(sizes)}; they must all be alike")
    blank = np.full(sizes.pop(), np.nan, np.float32)  # set aside as not finite
    return np.stack([blank if row is None else row for row in rows]), labels


def index_labels(
    raw: Sequence[int | str | None], classes: tuple[str, ...] | None
) -> tuple[NDArray[np.int64], tuple[str, ...], list[str]]:
    """Raw labels as positions in the class names, -1 where missing; with the names, and the names no sample has.

    Whole numbers index `classes` where it is given; otherwise the distinct labels are the classes, in natural order.
    """
    if classes is not None:
        position: dict[int | str | None, int] = {name: i for i, name in enumerate(classes)}
        position.update({i: i for i in range(len(classes))})
        outside = sorted({str(r) for r in raw if r is not None and r != -1 and r not in position}, key=natural_key)
        if outside:
            raise DataError(f"labels {some(outside, 8)} are outside of the {len(classes)} classes the Dataset names")
    else:
        distinct = {r for r in raw if r is not None}
        numbers = all(isinstance(r, int) for r in distinct)
        order = sorted(distinct) if numbers else sorted(distinct, key=lambda r: natural_key(str(r)))  # type: ignore[type-var]
        classes = tuple(str(r) for r in order)
        position = {r: i for i, r in enumerate(order)}
    labels = np.array([position.get(r, -1) for r in raw], np.int64)
    present = np.isin(np.arange(len(classes)), labels)
    renumber = np.append(np.cumsum(present) - 1, -1)
    kept = tuple(name for name, there in zip(classes, present, strict=True) if there)
    return renumber[labels], kept, [name for name, there in zip(classes, present, strict=True) if not there]


def _numpy(value: Any) -> NDArray[Any]:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, torch.Tensor))


def _is_map_style(value: Any) -> bool:
    if not hasattr(value, "__getitem__") or isinstance(value, (str, bytes)):
        return False
    try:
        len(value)
    except TypeError:
        return False
    return True
