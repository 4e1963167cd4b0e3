"""What the data-size study writes: learning curves with intervals, their crossings in sentences, and where they lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

import headstart
from headstart.catalog.data_size import BEST_PIPELINE, BY_WAY_OF, LOGISTIC, DataSizeConfig, Way
from headstart.data.prepare import DataSet
from headstart.metrics.intervals import Interval, hierarchical
from headstart.nets.cost import block_flops
from headstart.nets.net import Net, count_parameters
from headstart.seeding import seed_for
from headstart.studies.crossings import Ahead, Crossing, Meeting, Redrawn, crossing, extrapolate, meeting
from headstart.studies.learners import Answered, Failed, Middle, Point
from headstart.studies.records import again, data_record, name_of, plain
from headstart.studies.splitting import Splits

Floats = NDArray[np.float64]
Grids = dict[tuple[str, int], Floats]
"""(way, images) -> `[draws, T]` 1 for right, 0 for wrong, a row of NaN for a run that there is not."""

AHEAD = (2, 4)
"""Multiples of the largest size at which every curve is extrapolated."""
SURE = 0.95
ONE_DRAW = "At some sizes this rests on one draw: others could move it by more than that."
"""Follows a sentence."""


@dataclass(frozen=True, eq=False)
class Study:
    """A finished study."""

    config: DataSizeConfig
    net: Net
    data: DataSet
    splits: Splits
    ways: Sequence[Way]
    sizes: Sequence[int]
    found: Sequence[Answered]
    failed: Sequence[Failed]
    middle: Middle | None = None
    training: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def grids(self) -> Grids:
        """The answers of all runs."""
        return grids(self.ways, self.sizes, self.config.draws, self.found)


def best_pipelines(ways: Sequence[Way], draws: int, found: Sequence[Answered]) -> list[Answered]:
    """Runs of the way that takes, each time, the classical model whose cross-validation in the training part is best.

    It costs the learning of all of them, and describing the images once. There is none where one of them is missing.
    """
    best = next((way for way in ways if way.name == BEST_PIPELINE), None)
    parts = [way for way in ways if way.family == "pipeline" and way.name not in (BEST_PIPELINE, BY_WAY_OF)]
    if best is None:
        return []
    by = {(one.point.way.name, one.point.images, one.point.draw): one for one in found}
    made = []
    for images in sorted({one.point.images for one in found}):
        for draw in range(draws):
            # A way without a seed is learned once where all draws are the same images.
            rivals = [by.get((way.name, images, draw)) or _only(by, way, images) for way in parts]
            there = [one for one in rivals if one is not None]
            if len(there) < len(parts) or not there:
                continue
            top = max(there, key=lambda one: one.score or 0.0)
            training = top.described + sum(one.training - one.described for one in there)
            made.append(replace(top, point=Point(best, images, draw), training=training, seconds=0.0))
    return made


def _only(by: Mapping[tuple[str, int, int], Answered], way: Way, images: int) -> Answered | None:
    runs = [one for (name, size, _), one in by.items() if (name, size) == (way.name, images)]
    return runs[0] if len(runs) == 1 and not way.seeded else None


def grids(ways: Sequence[Way], sizes: Sequence[int], draws: int, found: Sequence[Answered]) -> Grids:
    """The answers of all runs; ways without a seed repeat themselves where every draw is all of the images."""
    tested = len(found[0].correct)
    made: Grids = {}
    for way in ways:
        for images in sizes:
            grid = np.full((draws, tested), np.nan)
            mine = [one for one in found if (one.point.way.name, one.point.images) == (way.name, images)]
            for one in mine:
                grid[one.point.draw] = one.correct
            if images == max(sizes) and not way.seeded and len(mine) == 1 and mine[0].point.draw == 0:
                grid[:] = mine[0].correct
            if mine:
                made[way.name, images] = grid
    return made


def summary(study: Study, given: Sequence[str] = ()) -> dict[str, Any]:
    """The content of summary.json, without the times of the whole."""
    config, splits, net = study.config, study.splits, study.net
    redrawn = Redrawn(config.draws, len(splits.test), seed_for(config.seed, "redrawn"))
    found = [*study.found, *best_pipelines(study.ways, config.draws, study.found)]
    study = replace(study, found=found)
    drawn = {key: redrawn.means(grid) for key, grid in study.grids.items()}
    name = "study_data_size" if given else "study data-size"
    made = {
        "command": "study data-size",
        "data": data_record(study.data, splits.train, splits.test),
        "backbone": {
            "name": name_of(config.network, net),
            "parameters": count_parameters(net.blocks),
            "multiply_adds": sum(block_flops(net).values()),
            "input_size": net.input.size,
            "blocks": net.block_names,
        },
        "sizes": list(study.sizes),
        "draws": config.draws,
        "all_images": len(splits.train),
        "training": dict(study.training),
        "ways": [_way(way) for way in study.ways],
        "runs": [_run(one) for one in found],
        "curves": [_point(study, way, images) for way in study.ways for images in study.sizes if _has(study, way, images)],
        "extrapolation": [row for way in study.ways for row in _led(study, way, drawn)],
        "crossings": [row for a, b in _pairs(study.ways) if (row := _crossed(study, a, b, redrawn, drawn)) is not None],
        "intermediate": _about_middle(study),
        "failed": [{"run": one.run, "way": one.point.way.name, "reason": one.reason} for one in study.failed],
        "reproduce": again(name, config, given).replace("'study data-size'", "study data-size"),
        "version": headstart.__version__,
    }
    return dict(plain(made))


def _way(way: Way) -> dict[str, Any]:
    return {
        "name": way.name,
        "family": way.family,
        "label": way.label,
        "description": way.description,
        "headline": way.headline,
    }


def _run(one: Answered) -> dict[str, Any]:
    return {
        "way": one.point.way.name,
        "images": one.point.images,
        "draw": one.point.draw,
        "accuracy": float(one.correct.mean()),
        "seconds_training": one.training,
        "seconds_inference_per_image": one.inference,
        "parameters": one.parameters,
    }


def _has(study: Study, way: Way, images: int) -> bool:
    return (way.name, images) in study.grids


def _interval(grid: Floats, seed: int) -> Interval:
    found = hierarchical(grid[np.isfinite(grid).all(1)], seed)
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def _point(study: Study, way: Way, images: int) -> dict[str, Any]:
    grid = study.grids[way.name, images]
    found = _interval(grid, seed_for(study.config.seed, "curves", way.name, images))
    mine = [one for one in study.found if (one.point.way.name, one.point.images) == (way.name, images)]
    return {
        "way": way.name,
        "images": images,
        "per_class": images / study.splits.train.num_classes,
        "accuracy": found.mean,
        "interval": [found.low, found.high],
        "draws": len({one.point.draw for one in mine}),
        "seconds": float(np.mean([one.training for one in mine])),
        "seconds_inference_per_image": float(np.mean([one.inference for one in mine])),
        "parameters": float(np.mean([one.parameters for one in mine])),
    }


def _curve(study: Study, way: Way, drawn: Mapping[tuple[str, int], Floats]) -> tuple[list[int], Floats, Floats]:
    """Sizes, mean accuracies `[K]` and redrawn ones `[times, K]` of a way."""
    sizes = [images for images in study.sizes if _has(study, way, images)]
    mean = np.array([np.nanmean(study.grids[way.name, images]) for images in sizes])
    return sizes, mean, np.stack([drawn[way.name, images] for images in sizes], 1) if sizes else np.empty((0, 0))


def _expected(study: Study, way: Way, drawn: Mapping[tuple[str, int], Floats]) -> list[Ahead]:
    """Where a curve leads; nothing for one that was not measured at the largest size or at fewer than three."""
    sizes, mean, many = _curve(study, way, drawn)
    if not _leads_on(study, sizes):
        return []
    ahead = [factor * sizes[-1] for factor in AHEAD]
    return extrapolate(sizes, mean, many, ahead, _least(study))


def _leads_on(study: Study, sizes: Sequence[int]) -> bool:
    return len(sizes) >= 3 and sizes[-1] == study.sizes[-1]


def _least(study: Study) -> float:
    """The smallest error that the test could have told from none."""
    return 0.5 / len(study.splits.test)


def _led(study: Study, way: Way, drawn: Mapping[tuple[str, int], Floats]) -> list[dict[str, Any]]:
    return [
        {"way": way.name, "images": one.images, "accuracy": one.accuracy, "interval": list(one.interval)}
        for one in _expected(study, way, drawn)
    ]


def _pairs(ways: Sequence[Way]) -> list[tuple[Way, Way]]:
    """Pairs worth a sentence: ways of two families, the headlines of one, and what an intermediate label brings to a model.

    Those between headlines come first.
    """

    def worth(a: Way, b: Way) -> bool:
        same_model = {a.name, b.name} == {LOGISTIC, BY_WAY_OF}
        return a.family != b.family or (a.headline and b.headline) or same_model

    pairs = [(a, b) for a, b in combinations(ways, 2) if worth(a, b)]
    return sorted(pairs, key=lambda pair: not (pair[0].headline and pair[1].headline))


def _crossed(
    study: Study, a: Way, b: Way, redrawn: Redrawn, drawn: Mapping[tuple[str, int], Floats]
) -> dict[str, Any] | None:
    """Where two curves cross, from the differences of the same draws on the same images; None without two shared sizes."""
    gaps = {}
    for images in study.sizes:
        if _has(study, a, images) and _has(study, b, images):
            gap = study.grids[a.name, images] - study.grids[b.name, images]
            if np.isfinite(gap).all(1).any():
                gaps[images] = gap
    if len(gaps) < 2:
        return None
    sizes, mean = list(gaps), np.array([np.nanmean(gap) for gap in gaps.values()])
    found = crossing(sizes, mean, np.stack([redrawn.means(gap) for gap in gaps.values()], 1))
    later = _later(study, a, b, found, drawn) if found.images is None else None
    draws = min(int(np.isfinite(gap).all(1).sum()) for gap in gaps.values())
    told = sentence(found, a.label, b.label, sizes, later)
    return {
        "a": a.name,
        "b": b.name,
        "images": found.images,
        "interval": None if found.interval is None else list(found.interval),
        "ahead": a.name if found.leads > 0 else b.name if found.leads < 0 else None,
        "sure": found.sure,
        "headline": a.headline and b.headline,
        "extrapolated": None if later is None else later.images,
        "extrapolated_interval": None if later is None else list(later.interval),
        "draws": draws,
        "sentence": told if draws > 1 else f"{told} {ONE_DRAW}",
    }


def _later(study: Study, a: Way, b: Way, found: Crossing, drawn: Mapping[tuple[str, int], Floats]) -> Meeting | None:
    """Where the extrapolated curves would meet, None where they do not up to the farthest, or one is not extrapolated."""
    both = [_curve(study, way, drawn) for way in (a, b)]
    if not found.leads or not all(_leads_on(study, sizes) for sizes, _, _ in both):
        return None
    sizes, mean, many = zip(*both, strict=True)
    return meeting(sizes, mean, many, found.leads, max(AHEAD) * study.sizes[-1], _least(study))


def about(images: float) -> str:
    """Two figures: 387 -> 390."""
    scale = 10 ** max(int(np.floor(np.log10(max(images, 1)))) - 1, 0)
    return f"{round(images / scale) * scale:,}"


def sentence(found: Crossing, a: str, b: str, sizes: Sequence[int], later: Meeting | None = None) -> str:
    """What was found about two curves, in words; never surer than it is."""
    first, second = (f"“{name}”" for name in ((a, b) if found.leads >= 0 else (b, a)))
    span = f"between {sizes[0]:,} and {sizes[-1]:,} images"
    if found.images is not None:
        return _where(found, first, second, sizes)
    if found.leads == 0:
        return f"{first} and {second} are equal {span}."
    if found.sure >= SURE:
        text = f"{first} is ahead of {second} at every number measured {span}."
    else:
        text = f"{first} was ahead of {second} {span} as measured, but other draws and test images could let them cross."
    if later is not None:
        text += f" Should both go on as they run, {second} would catch up at about {about(later.images)} images"
        text += f" ({_span(later, sizes[-1])}): an extrapolation."
    return text


def _span(later: Meeting, last: int) -> str:
    low, high = later.interval
    if low is None and high is None:
        return f"95 %: anywhere from {last:,} on, perhaps not by {about(later.until)}"
    if low is None:
        return f"95 %: {last:,} to {about(float(high or 0))}"
    return (
        f"95 %: {about(low)} to {about(high)}"
        if high is not None
        else (f"95 %: from {about(low)}, perhaps not by {about(later.until)}")
    )


def _where(found: Crossing, first: str, second: str, sizes: Sequence[int]) -> str:
    assert found.images is not None
    assert found.interval is not None
    low, high = found.interval
    text = f"Below about {about(found.images)} images {first} is ahead of {second}, above it behind"
    if low is not None and high is not None:
        return f"{text} (95 %: {about(low)} to {about(high)})."
    if low is None and high is None:
        return (
            f"{first} and {second} are too close to say: they crossed at about {about(found.images)} images, but on other "
            "draws and test images it could be anywhere, or nowhere."
        )
    if low is None:
        return f"{text} (95 %: up to {about(float(high or 0))}, perhaps below the smallest number measured, {sizes[0]:,})."
    return f"{text} (95 %: from {about(low)}, perhaps beyond the largest number measured, {sizes[-1]:,})."


def _about_middle(study: Study) -> dict[str, Any] | None:
    """How often the intermediate label was right, by size; None where there is none."""
    if study.middle is None:
        return None
    rows = []
    for images in study.sizes:
        mine = [one.middle for one in study.found if one.middle is not None and one.point.images == images]
        mine = mine[: study.config.draws]
        if mine:
            found = _interval(np.stack(mine).astype(np.float64), seed_for(study.config.seed, "middle", images))
            rows.append({"images": images, "accuracy": found.mean, "interval": [found.low, found.high]})
    labels = list(study.middle.names)
    return {
        "column": study.middle.column,
        "labels": labels,
        "accuracy": rows[-1]["accuracy"] if rows else None,
        "curve": rows,
    }


def as_text(found: Mapping[str, Any]) -> str:
    """Curves and crossings for a terminal."""
    labels = {way["name"]: way["label"] for way in found["ways"]}
    cells = {(row["way"], row["images"]): row for row in found["curves"]}
    wide = max(len(label) for label in labels.values())
    lines = [" " * wide + "".join(f"{size:>9,}" for size in found["sizes"]) + "  images"]
    for name, label in labels.items():
        shown = (cells.get((name, size)) for size in found["sizes"])
        lines.append(label.ljust(wide) + "".join(f"{_cell(row):>9}" for row in shown))
    told = [row["sentence"] for row in found["crossings"] if row["headline"]] or [
        row["sentence"] for row in found["crossings"]
    ]
    short = [text.removesuffix(f" {ONE_DRAW}") for text in told]  # said once for all
    few = sum(one != other for one, other in zip(short, told, strict=True))
    which = "All of these rest" if few == len(told) > 1 else f"{few} of these rest{'s' if few == 1 else ''}"
    lines += ["", *short, *([f"{which} on one draw at some sizes: others could move it by more than that."] if few else [])]
    if found["failed"]:
        lines += ["", f"{len(found['failed'])} runs are missing: " + "; ".join(_reasons(found["failed"]))]
    tested = found["data"]["splits"]["test"]
    return "\n".join([*lines, "", f"Judged on the same {tested:,} test images, on which nothing was chosen."])


def _cell(row: Mapping[str, Any] | None) -> str:
    return "-" if row is None else f"{row['accuracy']:.1%}"


def _reasons(failed: Sequence[Mapping[str, Any]]) -> list[str]:
    counted: dict[str, int] = {}
    for one in failed:
        counted[one["reason"]] = counted.get(one["reason"], 0) + 1
    return [f"{number} {reason}" if number > 1 else f"{reason}" for reason, number in counted.items()]
