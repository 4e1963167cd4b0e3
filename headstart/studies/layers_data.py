"""The images of a study of layers: read, split into training and test, and dealt out to halves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.study import LayersConfig
from headstart.data.names import some
from headstart.data.prepare import DataSet, duplicate_groups, prepare
from headstart.data.sources import Source, open_source
from headstart.data.splits import split_off
from headstart.engine import interrupt
from headstart.errors import ConfigError, DataError, problems
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.studies.layers_plan import Split, group_named, splits_of, subset, too_few
from headstart.studies.layers_runs import Half, stored_half
from headstart.studies.opening import Opening

Rows = NDArray[np.int64]


def read_data(source: Source, net: Net, opening: Opening) -> DataSet:
    """The images at the network's size, inspected."""

    def progress(done: int, total: int) -> None:
        interrupt.check()
        opening.log.tick(done, total, "reading images")

    cache = opening.folder.work / "data"
    data = prepare(source, size=net.input.size, fit=opening.images.fit, cache=cache, progress=progress)
    for warning in data.inspection.warnings:
        opening.log.event("warning", text=warning)
    return data


def train_and_test(data: DataSet, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Rows to learn from and rows to test on: the user's test split, else a share set aside by class and group.

    What is called val is learned from too: nothing is chosen on it.
    """
    rows = np.concatenate([data.splits["train"], data.splits.get("val", np.empty(0, np.int64))])
    if "test" in data.splits:
        return rows, data.splits["test"]
    groups = duplicate_groups(data, near=True)
    rest, taken = split_off(data.labels[rows], groups[rows], fraction, seed_for(seed, "test split"))
    return rows[rest], rows[taken]


Made = tuple[list[Split], dict[str, tuple[str, ...]], Callable[[Path], dict[str, Half]]]


def halves_of(
    config: LayersConfig, kinds: tuple[str, ...], source: Source, data: DataSet, other: DataSet | None, opening: Opening
) -> Made:
    """Every split; the names of the classes of every half; and what writes the halves' images to a folder.

    other  the second data set, half A

    Nothing is written here, since the settings may still be found wrong. Raises DataError or ConfigError when they are.
    """
    if other is not None:
        _two(config, data, other, opening)
        everyone = {name: tuple(range(len(one.classes))) for name, one in (("A", other), ("B", data))}
        splits = [Split("given", 0, everyone)]
    else:
        group = group_a(config, source, data) if "unlike" in kinds else ()
        if len(data.classes) < 2:
            raise DataError(f"{data.inspection.where} has one class, {data.classes[0]!r}; halves need two classes each")
        splits = splits_of(config, kinds, data.classes, group)
    sets = {half: other if other is not None and half == "A" else data for half in "AB"}
    parts = {half: train_and_test(one, config.images.test_fraction, config.seed) for half, one in sets.items()}
    names: dict[str, tuple[str, ...]] = {}
    chosen: dict[str, tuple[str, Rows, Rows]] = {}
    for split in splits:
        for half, classes in split.classes.items():
            key = f"{split.halves} {split.number} {half}"
            names[key] = tuple(sets[half].classes[place] for place in classes)
            chosen[key] = (half, *_rows(config, sets[half], parts[half], classes, key))
    _check(chosen, names, config, sets)

    def make(folder: Path) -> dict[str, Half]:
        return {key: _half(folder, sets[half], key, train, test, names[key]) for key, (half, train, test) in chosen.items()}

    return splits, names, make


def _two(config: LayersConfig, data: DataSet, other: DataSet, opening: Opening) -> None:
    """Two data sets must not be the same one; what they have in common is told, since it makes transfer look better."""
    if data.fingerprint == other.fingerprint:
        raise ConfigError(
            f"--source {config.source} holds the same images and classes as {data.inspection.where}, so nothing would be "
            "transferred. Name another data set, or leave --source out: the classes are then split in halves"
        )
    classes = [name for name in data.classes if name in set(other.classes)]
    if classes:
        text = f"{len(classes)} of the classes are in both data sets: {some(classes, 5)}."
        opening.log.event("warning", text=f"{text} What is transferred has learned to tell them already")
    twice = len(_contents(data) & _contents(other))
    if twice:
        are = "picture is" if twice == 1 else "pictures are"
        text = f"{twice} {are} in both data sets: what is tested on may have been learned from"
        opening.log.event("warning", text=text)


def _contents(data: DataSet) -> set[bytes]:
    return {hashlib.blake2b(np.ascontiguousarray(sample).tobytes(), digest_size=12).digest() for sample in data.store.array}


def _rows(
    config: LayersConfig, data: DataSet, parts: tuple[Rows, Rows], classes: tuple[int, ...], key: str
) -> tuple[Rows, Rows]:
    """Training rows, in an order of which every beginning holds the classes evenly, and test rows of some classes."""
    train, test = (rows[np.isin(data.labels[rows], classes)] for rows in parts)
    order = np.array(subset(data.labels[train], config.seed, "layers", "images", key), np.int64)
    return train[order[: config.limit]], test


def _check(
    chosen: Mapping[str, tuple[str, Rows, Rows]],
    names: Mapping[str, tuple[str, ...]],
    config: LayersConfig,
    sets: Mapping[str, DataSet],
) -> None:
    faults = []
    for key, (half, train, test) in chosen.items():
        counts = [np.bincount(sets[half].labels[rows], minlength=len(sets[half].classes)) for rows in (train, test)]
        if len(names[key]) < 2:
            faults.append(f"half {key} has one class, {names[key][0]!r}; it needs two at least")
        for part, count, least in zip(("training", "test"), counts, (2, 1), strict=True):
            missing = [name for name in names[key] if count[sets[half].classes.index(name)] < least]
            if missing:
                faults.append(f"half {key}: {some(missing, 8)} with fewer than {least} {part} images")
    problems(DataError, "these halves cannot be learned:", faults)
    sizes = {key: len(train) for key, (_, train, _) in chosen.items()}
    too_few(sizes, {key: len(found) for key, found in names.items()}, config.target_images)


def _half(folder: Path, data: DataSet, key: str, train: Rows, test: Rows, classes: tuple[str, ...]) -> Half:
    place = {data.classes.index(name): position for position, name in enumerate(classes)}
    made = []
    for part, rows in (("train", train), ("test", test)):
        labels = np.array([place[label] for label in data.labels[rows].tolist()], np.int64)
        made.append(stored_half(folder, data.store, rows, labels, classes, f"{key.replace(' ', '-')}-{part}"))
    return Half(*made)


def group_a(config: LayersConfig, source: Source, data: DataSet) -> tuple[int, ...]:
    """Positions of the classes of the first kind, by name or from a column of the manifest."""
    if config.half_column is None:
        return group_named(config.group_a, data.classes)
    if source.kind != "manifest" or source.classes is None or source.labels is None:
        raise ConfigError(f"--half-column {config.half_column}: {source.where} is no CSV manifest; give --group-a")
    images = replace(config.images, label_column=config.half_column)
    by_kind = open_source(
        config.data, path_column=images.path_column, label_column=images.label_column, split_column=images.split_column
    )
    kind_of = dict(zip(by_kind.names, (by_kind.labels if by_kind.labels is not None else np.empty(0)).tolist(), strict=True))
    kinds: dict[str, set[int]] = {}
    for name, label in zip(source.names, source.labels.tolist(), strict=True):
        if name in kind_of and label >= 0:
            kinds.setdefault(source.classes[label], set()).add(kind_of[name])
    torn = [name for name, found in kinds.items() if len(found) > 1]
    problems(ConfigError, f"--half-column {config.half_column} must be the same for all images of a class:", torn)
    values = sorted({value for found in kinds.values() for value in found})
    if len(values) != 2:
        known = by_kind.classes or ()
        said = some((known[value] for value in values), 5)
        raise ConfigError(
            f"--half-column {config.half_column} has {len(values)} values ({said}); two are needed, one per half"
        )
    return tuple(place for place, name in enumerate(data.classes) if kinds.get(name) == {values[0]})
