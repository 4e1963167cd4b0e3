"""What a network's features look like on the data it learned from: mean, covariance, class means. No image is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from headstart.data.folder import find_images
from headstart.data.prepare import Progress, prepare
from headstart.data.samples import FileSamples
from headstart.data.sources import Source, open_source
from headstart.data.store import Store
from headstart.data.task import UNKNOWN, Task
from headstart.engine import interrupt
from headstart.engine.allocator import keep_freed_memory
from headstart.engine.checkpoint import bytes_of, load_state, save_state
from headstart.engine.evaluate import batch_for, looking
from headstart.engine.features import FeatureBank
from headstart.engine.step import present
from headstart.errors import CheckpointError, DataError, ModelFileError, problems
from headstart.nets.fold import folded
from headstart.nets.net import Net
from headstart.nets.saved import EMBEDDED

STATISTICS = "source_statistics.safetensors"
"""Name of the file in a saved model's folder."""
LIMIT = 10_000
"""Images that are looked at, at most, evenly spread over the training images."""
_KIND = "headstart-source-statistics"

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SourceStatistics:
    """Pooled eval-mode features of a network's last block on the images it learned from, summed up.

    block         whose output it is
    images        how many were looked at
    classes       names of the C classes; empty where the images have none
    mean          `[D]` float32
    covariance    `[D, D]` float32, divided by images - 1; kept whole: 4 D^2 bytes (16 kB at 64, 17 MB at 2048 features)
    class_means   `[C, D]` float32, zero for classes without images
    class_counts  `[C]` int64; images without a known class are in none
    backbone      hash of the weights and the input they are for, see `backbone_digest`
    """

    block: str
    images: int
    classes: tuple[str, ...]
    mean: Floats
    covariance: Floats
    class_means: Floats
    class_counts: NDArray[np.int64]
    backbone: str = ""

    def save(self, path: Path) -> None:
        """Write one safetensors file, atomically. Raises DiskFull."""
        save_state(
            Path(path),
            {
                "kind": _KIND,
                "block": self.block,
                "images": self.images,
                "classes": list(self.classes),
                "backbone": self.backbone,
                "mean": torch.from_numpy(self.mean),
                "covariance": torch.from_numpy(self.covariance),
                "class_means": torch.from_numpy(self.class_means),
                "class_counts": torch.from_numpy(self.class_counts),
            },
        )

    @staticmethod
    def load(path: Path) -> SourceStatistics:
        """Read what `save` wrote. Raises ModelFileError when it is damaged or something else."""
        try:
            kept = load_state(Path(path))
        except CheckpointError as error:
            raise ModelFileError(
                f"{error}; take the file from a copy, or remove it: the network works without it"
            ) from error
        if not isinstance(kept, dict) or kept.get("kind") != _KIND:
            raise ModelFileError(f"{path} holds no source statistics; use the file {STATISTICS} that was saved with a model")
        arrays = {name: kept[name].numpy() for name in ("mean", "covariance", "class_means", "class_counts")}
        return SourceStatistics(
            str(kept["block"]), int(kept["images"]), tuple(kept["classes"]), backbone=str(kept["backbone"]), **arrays
        )

    def belongs_to(self, net: Net) -> bool:
        """Whether these are of the network's present weights and input."""
        return self.backbone == backbone_digest(net)

    def check(self, net: Net, where: str | Path) -> None:
        """Raise ModelFileError naming `where` unless these statistics are the network's own."""
        if not self.belongs_to(net):
            raise ModelFileError(
                f"{where} holds the statistics of other weights, or of another input size, than this network has; "
                "distances to them would mean nothing. Remove the file, or name the source's images with --source"
            )

    def note(self, file: str = STATISTICS) -> dict[str, str | int]:
        """What a model's card says about them."""
        return {"file": file, "images": self.images, "block": self.block}

    def within(self) -> NDArray[np.float64] | None:
        """Pooled covariance `[D, D]` within classes; None where no class has two images, or some images have no class."""
        n = self.class_counts.astype(np.float64)
        free = self.images - int((n > 0).sum())
        if not len(n) or n.sum() != self.images or free < 1:
            return None
        apart = (self.class_means.astype(np.float64) - self.mean) * np.sqrt(n)[:, None]
        return (self.covariance.astype(np.float64) * (self.images - 1) - apart.T @ apart) / free


def statistics_of(
    features: ArrayLike, labels: ArrayLike, names: Sequence[str], block: str, *, backbone: str = ""
) -> SourceStatistics:
    """Sum up `features` `[N, D]` of images with `labels` `[N]`, positions in `names` or -1. Sums are taken in float64."""
    f, y = np.asarray(features), np.asarray(labels)
    found = []
    if f.ndim != 2 or len(f) < 2:
        found.append(f"features have shape {f.shape}; give at least two rows")
    elif not np.isfinite(f).all():
        found.append("features are not all finite")
    if y.shape != f.shape[:1]:
        found.append(f"labels have shape {y.shape}, features {f.shape}; give one label per row")
    elif y.size and not (y.min() >= UNKNOWN and y.max() < len(names)):
        found.append(f"labels go from {y.min()} to {y.max()}, not within -1..{len(names) - 1}")
    problems(DataError, "feature statistics cannot be computed:", found)
    f = f.astype(np.float64)
    mean = f.mean(0)
    centred = f - mean
    counts = np.bincount(y[y != UNKNOWN], minlength=len(names)).astype(np.int64)
    sums = np.zeros((len(names), f.shape[1]))
    np.add.at(sums, y[y != UNKNOWN], f[y != UNKNOWN])
    return SourceStatistics(
        block,
        len(f),
        tuple(names),
        mean.astype(np.float32),
        (centred.T @ centred / (len(f) - 1)).astype(np.float32),
        (sums / np.maximum(counts, 1)[:, None]).astype(np.float32),
        counts,
        backbone,
    )


def backbone_digest(net: Net) -> str:
    """Hash of the blocks' weights and buffers and of the input they are for; heads do not enter."""
    digest = hashlib.blake2b(repr(net.input).encode(), digest_size=16)
    for name, tensor in net.blocks.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(bytes_of(tensor))
    return digest.hexdigest()


def last_features(net: Net, store: Store, rows: NDArray[np.int64]) -> Floats:
    """Pooled features `[len(rows), D]` of the last block for these rows of `store` alone, as `FeatureBank` computes them."""
    keep_freed_memory()
    width = batch_for(net.input, net.device.type)
    parts = []
    with looking(net):
        blocks = folded(net, net.block_names)
        for start in range(0, len(rows), width):
            interrupt.check()
            x = present(store.gather(rows[start : start + width]).to(net.device), net.input)
            for block in blocks.values():
                x = block(x)
            parts.append(net.pooled(net.last, x).float().cpu().numpy())
    return np.concatenate(parts) if parts else np.empty((0, net.info[net.last].channels), np.float32)


def evenly(total: int, limit: int = LIMIT) -> NDArray[np.int64]:
    """At most `limit` of `total` positions, evenly spread; all when they fit."""
    return np.linspace(0, total - 1, min(total, limit)).round().astype(np.int64)


def statistics_from_task(net: Net, task: Task, *, bank: FeatureBank | None = None, limit: int = LIMIT) -> SourceStatistics:
    """Statistics of `net` on at most `limit` samples of `task`, evenly spread.

    bank  where features of all of the task's samples are, or are to be kept; None: one pass over those samples alone
    """
    some = task.take(evenly(len(task), limit))
    if bank is None:
        features = last_features(net, some.store, some.rows)
    else:
        features = bank.get(net, some.store, some.rows, [net.last])[net.last]
    return statistics_of(features, some.targets, some.classes, net.last, backbone=backbone_digest(net))


@dataclass(frozen=True, eq=False)
class SourceLook:
    """What a look at images of the source gave: statistics, and the features `[N, D]` themselves, which are never saved."""

    statistics: SourceStatistics
    features: Floats


def statistics_from_data(
    net: Net,
    source: str | Path | Source | Task,
    *,
    cache: Path,
    fit: str = "squash",
    bank: FeatureBank | None = None,
    limit: int = LIMIT,
    progress: Progress | None = None,
) -> SourceLook:
    """Statistics of `net` on images that the user names as those it was trained on.

    source  a task, or data as `open_source` takes it: its training split; or a folder of images without class folders,
            whose statistics then have no classes. At most `limit` images are read, evenly spread
    cache   folder for the decoded images; `fit`, `progress`: see `prepare`
    bank    see `statistics_from_task`

    Raises DataError for data that cannot be read, or of vectors where the network wants images, or of another width.
    """
    if isinstance(source, Task):
        task = source.take(evenly(len(source), limit))
    else:
        task = _read(source, net.input.size, fit, cache, limit, progress)
    wanted = net.input.kind == "image"
    if task.store.is_image != wanted or (not wanted and task.store.array.shape[1] != net.input.size):
        kind = f"images of {net.input.size} px" if wanted else f"vectors of {net.input.size} numbers"
        raise DataError(f"--source has samples of shape {task.store.array.shape[1:]}, but the network takes {kind}")
    if bank is None:
        features = last_features(net, task.store, task.rows)
    else:
        features = bank.get(net, task.store, task.rows, [net.last])[net.last]
    found = statistics_of(features, task.targets, task.classes, net.last, backbone=backbone_digest(net))
    return SourceLook(found, features)


def _read(source: Any, size: int, fit: str, cache: Path, limit: int, progress: Progress | None) -> Task:
    """At most `limit` training samples, decoded. Of files, only those are read; arrays are in memory anyway."""
    flat = isinstance(source, (str, Path)) and Path(source).is_dir() and not any(e.is_dir() for e in Path(source).iterdir())
    opened = _unlabelled(Path(source)) if flat else open_source(source)
    if isinstance(opened.samples, FileSamples):
        opened = _fewer(opened, limit)
    task = prepare(opened, size=size, fit=fit, cache=cache, progress=progress).task("source", "train")
    task = task.take(evenly(len(task), limit))
    return replace(task, labels=np.full(len(task.store), UNKNOWN, np.int64), classes=()) if flat else task


def _fewer(source: Source, limit: int) -> Source:
    """The same source with at most `limit` of its training files and none of its others."""
    rows = source.splits["train"][evenly(len(source.splits["train"]), limit)]
    assert isinstance(source.samples, FileSamples)
    return replace(
        source,
        samples=FileSamples([source.samples.files[row] for row in rows]),
        names=[source.names[row] for row in rows],
        labels=None if source.labels is None else source.labels[rows],
        splits={"train": np.arange(len(rows), dtype=np.int64)},
        groups=None if source.groups is None else source.groups[rows],
    )


def _unlabelled(folder: Path) -> Source:
    """Images of a folder without class folders; each is called a class of its own until it is decoded."""
    found = find_images([folder])
    if len(found.files) < 2:
        raise DataError(f"--source {folder} holds {len(found.files)} images; give a folder of more, or of classes")
    return Source(
        "folder",
        str(folder),
        FileSamples(found.files),
        [file.name for file in found.files],
        np.arange(len(found.files)),
        tuple(file.name for file in found.files),
        {"train": np.arange(len(found.files))},
        set_aside=tuple(found.bad),
    )


def source_statistics(net: Net, name: str | Path | None = None) -> SourceStatistics | None:
    """The statistics that came with `net`; None when none did, or `net` has been trained or resized since.

    name  what the network was built from, when that is the folder of a saved model or of the run that holds one

    Raises ModelFileError when the file that should hold them is damaged.
    """
    folder = None if name is None else Path(name)
    places = [] if folder is None else [folder / STATISTICS, folder / "model" / STATISTICS]
    for path in (*places, embedded_statistics()):
        if path.is_file():
            found = SourceStatistics.load(path)
            if found.belongs_to(net):
                return found
    return None


def embedded_statistics() -> Path:
    """The file of the network that comes with headstart."""
    return Path(str(resources.files("headstart.assets"))) / f"{EMBEDDED}_statistics.safetensors"
