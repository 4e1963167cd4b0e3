"""What was found in the data: counts, sizes, what was set aside, copies, leaks, contradictions - each with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from headstart.data.duplicates import Rows
from headstart.data.names import BadFile, count, some


@dataclass(frozen=True)
class Cluster:
    """Samples that belong together.

    kind    `exact`: the same picture; `near`: nearly the same; `group`: one group of the user's, in several splits
    what    name of the group, else empty
    rows    positions in the data set; `names`, `labels` and `splits` run along with them
    """

    kind: Literal["exact", "near", "group"]
    what: str
    rows: Rows
    names: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]

    @property
    def leaks(self) -> bool:
        """Whether its members lie in different splits."""
        return len(set(self.splits)) > 1

    @property
    def conflicts(self) -> bool:
        """Whether its members carry different labels."""
        return len(set(self.labels)) > 1


@dataclass(frozen=True)
class Sizes:
    """Width and height of the original pictures in pixels, the share wider or higher than 2 : 1, and how many are not
    square."""

    width: tuple[int, float, int]
    height: tuple[int, float, int]
    wide_share: float
    oblong: int


@dataclass(frozen=True)
class Inspection:
    """What was found in the data. Prints as a table; `to_json()` for machines.

    num_images  usable ones, over all splits
    counts      split -> class -> number of images
    sizes       (smallest, median, largest) width and height; None for vectors
    modes       pixel format of the files -> number
    set_aside   samples that cannot be used, with the reason
    ignored     files that are no images
    exact, near clusters of identical and of nearly identical pictures
    leaks       clusters (and the user's groups) that lie in several splits
    conflicts   identical pictures with different labels
    imbalance   images of the largest class / of the smallest, in the training part
    notes       remarks on how the data was understood
    warnings    what may spoil results, in plain words, each with a remedy
    """

    where: str
    num_images: int
    num_classes: int
    counts: dict[str, dict[str, int]]
    sizes: Sizes | None
    modes: dict[str, int]
    set_aside: tuple[BadFile, ...]
    ignored: tuple[str, ...]
    exact: tuple[Cluster, ...]
    near: tuple[Cluster, ...]
    leaks: tuple[Cluster, ...]
    conflicts: tuple[Cluster, ...]
    imbalance: float
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings; JSON holds it as it is."""
        out = asdict(self)
        out["set_aside"] = [{"path": bad.path, "reason": bad.reason} for bad in self.set_aside]
        return out

    def __str__(self) -> str:
        return "\n".join([*_head(self), "", *_table(self), *_findings(self)])


def _head(found: Inspection) -> list[str]:
    lines = [f"{found.where}: {count(found.num_images, 'image')} in {count(found.num_classes, 'class', 'classes')}"]
    if found.sizes:
        (w0, w1, w2), (h0, h1, h2) = found.sizes.width, found.sizes.height
        wide = f", {found.sizes.wide_share:.0%} beyond 2 : 1" if found.sizes.wide_share else ""
        lines.append(f"width {w0} - {w2} px (median {w1:g}), height {h0} - {h2} px (median {h1:g}){wide}")
    kinds = ", ".join(f"{mode} {number}" for mode, number in found.modes.items())
    return [*lines, f"pixel formats: {kinds}", *found.notes]


def _table(found: Inspection, limit: int = 40) -> Iterator[str]:
    """Images per class and split; of many classes the first and the last few."""
    splits = list(found.counts)
    classes = list(found.counts["train"])
    width = min(40, max(5, *(len(c) for c in classes)))
    yield f"{'class':<{width}} " + " ".join(f"{s:>8}" for s in splits)
    for place, name in enumerate(classes):
        if len(classes) > limit and place == limit // 2:
            yield f"{'... ' + str(len(classes) - limit) + ' more':<{width}}"
        if len(classes) <= limit or not limit // 2 <= place < len(classes) - limit // 2:
            yield f"{name[:width]:<{width}} " + " ".join(f"{found.counts[s][name]:>8}" for s in splits)
    yield f"{'all':<{width}} " + " ".join(f"{sum(found.counts[s].values()):>8}" for s in splits)


def _findings(found: Inspection) -> Iterator[str]:
    if found.set_aside:
        yield ""
        yield f"set aside ({len(found.set_aside)}):"
        yield from (f"  {bad.path}: {bad.reason}" for bad in found.set_aside[:20])
        if len(found.set_aside) > 20:
            yield f"  ... and {len(found.set_aside) - 20} more"
    for title, clusters in (
        ("identical pictures", found.exact),
        ("nearly identical pictures", found.near),
        ("in several splits", found.leaks),
        ("identical pictures with different labels", found.conflicts),
    ):
        if clusters:
            yield ""
            yield f"{title} ({count(len(clusters), 'set')}):"
            yield from (f"  {_line(c)}" for c in clusters[:5])
            if len(clusters) > 5:
                yield f"  ... and {len(clusters) - 5} more"
    if found.ignored:
        yield ""
        yield f"ignored, no images by their names ({len(found.ignored)}): {some(found.ignored, 5)}"
    if found.warnings:
        yield ""
        yield "warnings:"
        yield from (f"  - {warning}" for warning in found.warnings)


def _line(cluster: Cluster) -> str:
    return (f"group {cluster.what}: " if cluster.kind == "group" else "") + some(cluster.names, 4)
