"""From what was seen while decoding to an `Inspection`, with a warning and a remedy for whatever may spoil results."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headstart.data.duplicates import Rows, clusters_of
from headstart.data.inspection import Cluster, Inspection, Sizes
from headstart.data.names import SPLITS, BadFile, count, shown, some

_WIDE = 2.0
_UNEVEN = 5.0
_SMALL_CLASS = 10


@dataclass(frozen=True, eq=False)
class Seen:
    """What the inspection is made of; arrays have one row per usable sample."""

    where: str
    names: Sequence[str]
    classes: Sequence[str]
    labels: NDArray[np.int64]
    splits: Mapping[str, NDArray[np.int64]]
    groups: NDArray[np.int64] | None
    group_names: Sequence[str]
    originals: NDArray[np.int32] | None
    modes: Sequence[str]
    exact: Sequence[Rows]
    near: Sequence[Rows]
    set_aside: tuple[BadFile, ...]
    ignored: tuple[str, ...]
    notes: tuple[str, ...]
    size: int
    fit: str


def inspection_of(seen: Seen) -> Inspection:
    """Draw the conclusions."""
    split = np.full(len(seen.labels), "", "U5")
    for name, rows in seen.splits.items():
        split[rows] = name

    def cluster(kind: Literal["exact", "near", "group"], rows: Rows, what: str = "") -> Cluster:
        at = list(rows)
        labels = tuple(seen.classes[c] for c in seen.labels[at].tolist())
        return Cluster(kind, what, rows, tuple(shown(seen.names[r]) for r in at), labels, tuple(split[at].tolist()))

    exact = tuple(cluster("exact", rows) for rows in seen.exact)
    near = tuple(cluster("near", rows) for rows in seen.near)
    groups = tuple(
        cluster("group", rows, shown(seen.group_names[int(seen.groups[rows[0]])]))
        for rows in straddling(seen.groups, split)
        if seen.groups is not None
    )
    counts = _counts(seen)
    train = list(counts.get("train", {}).values())
    found = Inspection(
        seen.where,
        len(seen.labels),
        len(seen.classes),
        counts,
        sizes_of(seen.originals),
        dict(Counter(seen.modes).most_common()),
        seen.set_aside,
        seen.ignored,
        exact,
        near,
        tuple(c for c in (*exact, *near, *groups) if c.leaks),
        tuple(c for c in exact if c.conflicts),
        max(train, default=0) / max(min(train, default=0), 1),
        seen.notes,
    )
    return replace(found, warnings=tuple(_warnings(found, seen)))


def straddling(groups: NDArray[np.int64] | None, split: NDArray[np.str_]) -> list[Rows]:
    """Groups with members in several splits."""
    if groups is None:
        return []
    return [rows for rows in clusters_of(groups) if len(set(split[list(rows)].tolist())) > 1]


def _counts(seen: Seen) -> dict[str, dict[str, int]]:
    out = {}
    for name in (s for s in SPLITS if s in seen.splits):
        number = np.bincount(seen.labels[seen.splits[name]], minlength=len(seen.classes))
        out[name] = {c: int(n) for c, n in zip(seen.classes, number, strict=True)}
    return out


def sizes_of(originals: NDArray[np.int32] | None) -> Sizes | None:
    """Widths and heights `[N, 2]` in short; None where there are none."""
    if originals is None or not len(originals):
        return None
    low, middle, high = originals.min(axis=0), np.median(originals, axis=0), originals.max(axis=0)
    wide = originals.max(axis=1) > _WIDE * originals.min(axis=1)
    width, height = ((int(low[i]), float(middle[i]), int(high[i])) for i in (0, 1))
    return Sizes(width, height, float(wide.mean()), int((originals[:, 0] != originals[:, 1]).sum()))


def _warnings(found: Inspection, seen: Seen) -> Iterator[str]:
    """In the order in which they endanger a result."""
    yield from _about_leaks(found)
    if found.conflicts:
        first = found.conflicts[0]
        yield (
            f"{count(len(found.conflicts), 'picture occurs', 'pictures occur')} under different labels "
            f"(first: {some(first.names)} as {some(sorted(set(first.labels)))}); keep the right one and take the other out"
        )
    if found.set_aside:
        bad = found.set_aside[0]
        yield (
            f"{count(len(found.set_aside), 'sample was', 'samples were')} set aside "
            f"(first: {bad.path} {bad.reason}); repair, label or delete them"
        )
    yield from _about_names(seen.classes)
    yield from _about_classes(found)
    inside = [c for c in (*found.exact, *found.near) if not c.leaks]
    if inside:
        yield (
            f"{count(len(inside), 'set')} of identical or nearly identical pictures within a split; they are kept in one "
            "fold, but copies add no information: consider deleting them"
        )
    yield from _about_shapes(found, seen)


def _about_leaks(found: Inspection) -> Iterator[str]:
    for kind, what in (("exact", "picture is"), ("near", "nearly identical picture is"), ("group", "group is")):
        leaks = [c for c in found.leaks if c.kind == kind]
        if leaks:
            yield (
                f"{count(len(leaks), what, what.replace(' is', 's are'))} in more than one of {'/'.join(found.counts)} "
                f"(first: {leaks[0].what or some(leaks[0].names)}); results there will look better than they are: "
                "keep all copies in one split"
            )


def _about_classes(found: Inspection) -> Iterator[str]:
    train = found.counts["train"]
    single = [c for c, n in train.items() if n == 1]
    small = [c for c, n in train.items() if 1 < n < _SMALL_CLASS]
    if single:
        yield f"only one training image of {some(single, 5)}; cross-validation needs two of every class: add images"
    if small:
        yield f"fewer than {_SMALL_CLASS} training images of {some(small, 5)}; results will be uncertain: add images"
    if found.imbalance > _UNEVEN:
        yield (
            f"the largest class has {found.imbalance:.0f} times as many training images as the smallest; look at the "
            "balanced accuracy and consider class weights"
        )
    for split in found.counts:
        missing = [c for c, n in found.counts[split].items() if n == 0]
        if missing and split != "train":
            yield f"{split} has no image of {some(missing, 5)}, so nothing can be said about them there: add some"


def _about_names(classes: Sequence[str]) -> Iterator[str]:
    """Names that differ by letter case, spaces or hyphens alone are most often one class written in two ways."""
    alike = dict[str, list[str]]()
    for name in classes:
        alike.setdefault(re.sub(r"[\s_-]+", " ", name).strip().casefold(), []).append(name)
    twins = [" and ".join(map(repr, names)) for names in alike.values() if len(names) > 1]
    if twins:
        yield f"classes whose names differ only in how they are written: {some(twins, 3)}; one class should have one name"


def _about_shapes(found: Inspection, seen: Seen) -> Iterator[str]:
    if found.sizes is None:
        return
    if found.sizes.wide_share > 0.1 and seen.fit != "pad":
        loses = "are cut down to their middle" if seen.fit == "crop" else "are squeezed into a square"
        yield f"{found.sizes.wide_share:.0%} of the images are more than twice as long as short and {loses}; try fit=pad"
    if min(found.sizes.width[1], found.sizes.height[1]) * 2 <= seen.size:
        yield (
            f"most images are far smaller than the working size of {seen.size} px and are enlarged, which adds no detail; "
            "a smaller size is faster"
        )
