"""From whatever the user gave to a data set ready to train on: decoded once, inspected on the way."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from headstart.data.arrays import VectorSamples, index_labels
from headstart.data.decode import check_fit
from headstart.data.decoded import Chunk, Decoded, DecodedFile, decode_all
from headstart.data.duplicates import Rows, exact_clusters, merge_groups
from headstart.data.findings import Seen, inspection_of
from headstart.data.inspection import Inspection
from headstart.data.names import BadFile, count, shown, some
from headstart.data.samples import Samples
from headstart.data.sources import Source, absent_note, class_problems, open_source
from headstart.data.store import Store, store_of
from headstart.data.task import Task
from headstart.errors import DataError, problems

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class DataSet:
    """Samples ready to train on.

    store        one row per usable sample: `[N, S, S, 3]` uint8, memory-mapped, or `[N, D]` float32
    labels       `[N]` int64 positions in `classes`
    groups       `[N]` int64 or None: the user's groups
    splits       `train`, and `val` and `test` where given: rows, int64
    names        how each row is shown: a relative path, or `train[17]`
    inspection   what was found
    fingerprint  hash of samples, labels, classes and splits; names and places on disk do not enter
    """

    store: Store
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    groups: NDArray[np.int64] | None
    splits: dict[str, NDArray[np.int64]]
    names: list[str]
    inspection: Inspection
    fingerprint: str

    def __len__(self) -> int:
        return len(self.labels)

    def task(self, name: str = "main", split: str = "train") -> Task:
        """The question "which class?" asked of one split."""
        if split not in self.splits:
            raise DataError(f"split={split!r} is not in the data; it has {', '.join(self.splits)}")
        return Task(name, self.store, self.labels, self.classes, self.splits[split], self.groups)


def prepare(
    source: Source,
    *,
    size: int,
    fit: str = "squash",
    cache: Path,
    progress: Progress | None = None,
    workers: int | None = None,
) -> DataSet:
    """Decode every picture of `source` once and inspect it in the same pass.

    size      side of the stored squares in pixels
    fit       `squash` (the whole image, squeezed), `pad` (the whole image in proportion) or `crop` (its centre)
    cache     folder for the decoded pictures; they are used again as long as the files, `size` and `fit` stay the same
    progress  called with (done, all) from the calling thread
    workers   decoding threads; default: one per core, at most 16

    Pictures that cannot be decoded are set aside and listed in the inspection. Raises `DataError` when a class loses all its
    training pictures that way, `DiskFull` when the cache cannot hold the pictures. Vectors are kept in memory as they are.
    """
    read = read_samples(source, size=size, fit=fit, cache=cache, progress=progress, workers=workers)
    return finish(source, Usable.of(source, read), read, size, fit)


@dataclass(frozen=True, eq=False)
class Read:
    """The usable samples of a source, whatever is asked of them.

    store   one row per usable sample
    places  `[N]` int64, the position of each row in the source
    came    labels that came with the samples; empty when the source knows them
    bad     samples set aside, with the reason
    sizes   `[N, 2]` width and height of the original pictures; None for vectors
    modes   pixel format of each
    exact, near  rows that hold identical and nearly identical samples
    """

    store: Store
    places: NDArray[np.int64]
    came: list[Any]
    bad: list[BadFile]
    sizes: NDArray[np.int32] | None
    modes: list[str]
    exact: list[Rows]
    near: list[Rows]

    def splits(self, source: Source) -> dict[str, NDArray[np.int64]]:
        """The source's splits as rows."""
        row_of = np.full(len(source), -1, np.int64)
        row_of[self.places] = np.arange(len(self.places))
        return {split: row_of[at][row_of[at] >= 0] for split, at in source.splits.items()}


def read_samples(
    source: Source,
    *,
    size: int,
    fit: str = "squash",
    cache: Path,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Read:
    """Decode every picture of `source` in a split once; `prepare` explains the arguments. Labels are not looked at."""
    check_fit(size, fit)
    places = np.flatnonzero(source.split_of() >= 0).astype(np.int64)
    if isinstance(source.samples, VectorSamples):
        return _read_vectors(source, source.samples.vectors, places)
    decoded = _decode(source, source.samples, places, size, fit, Path(cache), progress, workers)
    facts = decoded.facts
    return Read(
        Store(decoded.pixels, decoded.fingerprint, decoded.file),
        facts.places,
        decoded.labels,
        _named(source, decoded.bad),
        facts.sizes,
        facts.modes.tolist(),
        decoded.exact,
        decoded.near,
    )


def inspect_data(
    data: Any,
    *,
    size: int = 64,
    fit: str = "squash",
    cache: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
    **columns: str | None,
) -> Inspection:
    """Open and inspect `data` (see `open_source`, which also explains `columns`), decoding at a small size.

    Without `cache` the decoded pictures are thrown away afterwards.
    """
    source = open_source(data, **columns)
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        place = Path(folder) if cache is None else cache
        return prepare(source, size=size, fit=fit, cache=place, progress=progress, workers=workers).inspection


def duplicate_groups(dataset: DataSet, *, near: bool = False) -> NDArray[np.int64]:
    """`[N]` groups that keep the user's groups and all identical pictures together (`near`: nearly identical ones too).

    Give them to `folds` and `split_off`, and no picture is both learnt from and checked on.
    """
    found = dataset.inspection
    clusters = [c.rows for c in (*found.exact, *(found.near if near else ()))]
    return merge_groups(dataset.groups, len(dataset), clusters)


def _decode(
    source: Source,
    samples: Samples,
    places: NDArray[np.int64],
    size: int,
    fit: str,
    cache: Path,
    progress: Progress | None,
    workers: int | None,
) -> Decoded:
    key = samples.key()
    if key is not None:
        key += hashlib.blake2b(places.tobytes(), digest_size=8).hexdigest()
    on_disk = source.kind in ("folder", "manifest")
    file = DecodedFile(cache, os.path.abspath(source.where) if on_disk else f"{source.kind} {key or ''}", key, size, fit)
    stored = file.load()
    if stored is not None:
        return stored
    chunks = reporting(decode_all(samples, places, size, fit, workers), len(places), progress)
    if source.labels is None:
        chunks = _labelled_only(chunks)
    return file.make(len(places), chunks)


def reporting(chunks: Generator[Chunk], total: int, progress: Progress | None) -> Generator[Chunk]:
    """The same chunks; `progress` hears of each."""
    done = 0
    for chunk in chunks:
        yield chunk
        done += chunk.done
        if progress:
            progress(done, total)


def _labelled_only(chunks: Generator[Chunk]) -> Generator[Chunk]:
    """Set samples aside that came without a label."""
    for chunk in chunks:
        yield chunk.where([label is not None for label in chunk.labels], "has no label")


def _named(source: Source, bad: list[tuple[int, str]]) -> list[BadFile]:
    return [BadFile(source.names[place], reason) for place, reason in bad]


@dataclass(frozen=True, eq=False)
class Usable:
    """The usable samples of a source with one class each, renumbered without those set aside."""

    names: list[str]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    groups: NDArray[np.int64] | None
    splits: dict[str, NDArray[np.int64]]
    bad: list[BadFile]
    notes: tuple[str, ...]

    @staticmethod
    def of(source: Source, read: Read) -> Usable:
        """Rows for the samples read. Raises `DataError` when a class or a split loses all its samples."""
        notes, places, bad = source.notes, read.places, read.bad
        if source.labels is None:
            labels, classes, absent = index_labels(read.came, source.classes)
            notes += absent_note(absent)
        else:
            labels, classes = source.labels[places], cast("tuple[str, ...]", source.classes)
        splits = read.splits(source)
        groups = None if source.groups is None else source.groups[places]
        names = [source.names[int(p)] for p in places]
        problems(DataError, f"{source.where} cannot be used:", _emptied(source, labels, classes, splits, bad))
        return Usable(names, labels, classes, groups, splits, bad, notes)


def _emptied(
    source: Source,
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    splits: dict[str, NDArray[np.int64]],
    bad: list[BadFile],
) -> list[str]:
    """Why the samples that are left cannot be used; empty when they can."""
    reasons = some((f"{b.path} {b.reason}" for b in bad), 5)
    if not len(labels):
        return [f"none of its {count(len(source), 'image')} can be read: {reasons}"]
    wrong = []
    have = np.bincount(labels[splits["train"]], minlength=len(classes))
    for c in np.flatnonzero(have == 0):
        mine = set() if source.labels is None else {source.names[int(i)] for i in np.flatnonzero(source.labels == c)}
        lost = some(f"{b.path} {b.reason}" for b in bad if b.path in mine)
        if lost:
            wrong.append(f"class {classes[int(c)]!r} has no readable training image left: {lost}; repair them, or remove it")
    wrong += [f"{split}: none of its images can be read: {reasons}" for split, rows in splits.items() if not len(rows)]
    return wrong or class_problems(labels, classes, splits, bad)


def _read_vectors(source: Source, vectors: NDArray[np.float32], places: NDArray[np.int64]) -> Read:
    finite = np.isfinite(vectors[places]).all(axis=1)
    bad = [(int(p), "holds values that are not finite numbers") for p in places[~finite]]
    places = places[finite]
    store = store_of(vectors if len(places) == len(vectors) else vectors[places])
    digests = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in store.array]
    exact = exact_clusters(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16))
    modes = [f"vector[{vectors.shape[1]}]"] * len(places)
    return Read(store, places, [], _named(source, bad), None, modes, exact, [])


def finish(source: Source, rows: Usable, read: Read, size: int, fit: str) -> DataSet:
    """Inspect the samples read and put them together."""
    seen = Seen(
        where=source.where,
        names=rows.names,
        classes=rows.classes,
        labels=rows.labels,
        splits=rows.splits,
        groups=rows.groups,
        group_names=source.group_names,
        originals=read.sizes,
        modes=read.modes,
        exact=read.exact,
        near=read.near,
        set_aside=(*source.set_aside, *rows.bad),
        ignored=tuple(shown(i) for i in source.ignored),
        notes=rows.notes,
        size=size,
        fit=fit,
    )
    made = DataSet(read.store, rows.labels, rows.classes, rows.groups, rows.splits, rows.names, inspection_of(seen), "")
    return replace(made, fingerprint=_fingerprint(made))


def _fingerprint(data: DataSet) -> str:
    digest = hashlib.blake2b(data.store.fingerprint.encode(), digest_size=16)
    digest.update(data.labels.tobytes())
    digest.update("\x1f".join(data.classes).encode())
    for split, rows in sorted(data.splits.items()):
        digest.update(split.encode())
        digest.update(rows.tobytes())
    if data.groups is not None:
        digest.update(data.groups.tobytes())
    return digest.hexdigest()
