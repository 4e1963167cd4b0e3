"""Pipeline, end-to-end or transfer: which way to learn is best for how many images, and where their learning curves cross.

Every way learns from the same growing parts of the training images, drawn several times, and answers the same test images
at the end. Nothing is chosen by the test images.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.catalog.data_size import BEST_PIPELINE, HAND, DataSizeConfig, Way, choose_ways
from headstart.catalog.durations import parse_seconds
from headstart.data.prepare import DataSet
from headstart.data.sources import Source, open_source
from headstart.engine import distributed
from headstart.engine.fit import Machine
from headstart.engine.log import Listener
from headstart.engine.run import stored
from headstart.engine.run_folder import open_run
from headstart.errors import ConfigError, DataError, TrainingError, problems
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.studies import curves
from headstart.studies.checks import check_apart, check_settings, device_of
from headstart.studies.learners import Answered, Failed, Learners, Middle, Point, is_trained
from headstart.studies.opening import Opening, opened
from headstart.studies.pipeline import image_tools
from headstart.studies.result import JobResult
from headstart.studies.sizes import choose_sizes, nested
from headstart.studies.splitting import Splits

_FOLDS = 5
"""As `headstart adapt` has by default, so that the same test images are set aside."""

_ENOUGH, _LEAST = 0.4, 0.2
"""Shares of the usual length of training: below the first draws are given up for it, and the second is the shortest."""


@dataclass(frozen=True)
class DataSizeResult(JobResult):
    """What `headstart study data-size` found. Prints as text."""

    def __str__(self) -> str:
        return curves.as_text(self.summary)


def data_size(
    config: DataSizeConfig,
    *,
    data: Any = None,
    backbone: torch.nn.Module | Net | None = None,
    listeners: Sequence[Listener] = (),
) -> DataSizeResult:
    """Carry out the study; see `DataSizeConfig` for the settings.

    data, backbone  given from Python instead of by name: arrays, a Dataset; an nn.Module
    listeners       called with every event, for showing progress

    Raises InputError for what the user can mend, RunError about the folder, TrainingError when every run failed,
    Interrupted after saving.
    """
    budget, ways = parse_seconds(config.budget), choose_ways(config.ways, config.intermediate)
    check_settings(config.shared())
    check_apart(config.shared(), None if data is not None else Path(config.data))
    _check(config)
    distributed.start(device_of(config.device))
    settings = {"command": "study data-size", **asdict(config)}
    with open_run(config.out, settings, resume=config.resume, overwrite=config.overwrite) as folder:
        done = folder.finished(listeners)
        if done is not None:
            return DataSizeResult(folder.path, done)
        given = tuple(name for name, value in (("data", data), ("backbone", backbone)) if value is not None)
        opening = Opening(folder, config.network, config.images, _FOLDS, config.seed, tuple(listeners))
        source = opened(config.data if data is None else data, config.images)
        middle = None if config.intermediate is None else intermediate(config, source)
        return _Study(config, opening, budget, ways, given).run(source, backbone, middle)


def _check(config: DataSizeConfig) -> None:
    rules = [
        (config.draws >= 1, f"--draws {config.draws}: at least 1 is needed; intervals over draws need 2"),
        (config.epochs is None or config.epochs >= 1, f"--epochs {config.epochs} must be at least 1"),
    ]
    problems(ConfigError, "these settings cannot be:", [text for holds, text in rules if not holds])


def intermediate(config: DataSizeConfig, source: Source) -> dict[str, str]:
    """The intermediate label of every image of a manifest, by the image's name.

    Raises DataError when the data are no manifest, have no such column, or leave it empty for an image.
    """
    column = str(config.intermediate)
    if source.kind != "manifest":
        raise DataError(f"--intermediate {column} names a column of a CSV manifest, and {source.where} is none")
    try:
        found = open_source(
            config.data,
            path_column=config.images.path_column,
            label_column=column,
            group_column=config.images.group_column,
            split_column=config.images.split_column,
        )
    except DataError as error:
        told = str(error).replace(f"label_column={column!r}", f"--intermediate {column}")
        raise DataError(f"--intermediate {column} cannot be used: {told}") from error
    assert found.labels is not None
    assert found.classes is not None
    labels = {name: found.classes[label] for name, label in zip(found.names, found.labels.tolist(), strict=True)}
    lacking = [name for name in source.names if name not in labels]
    if lacking:
        raise DataError(
            f"--intermediate {column} is empty for {len(lacking)} of {len(source)} images, e.g. {lacking[0]}; "
            "fill it in, or take these rows out"
        )
    _worth_a_step(column, source, labels)
    return labels


def _worth_a_step(column: str, source: Source, labels: Mapping[str, str]) -> None:
    """Raise DataError where the intermediate label is the class again; one that is the same for all was refused as data."""
    if source.classes is None or source.labels is None:
        return
    pairs = {(labels[name], label) for name, label in zip(source.names, source.labels.tolist(), strict=True) if label >= 0}
    values, known = {value for value, _ in pairs}, {label for _, label in pairs}
    if len(pairs) == len(values) == len(known):
        raise DataError(
            f"--intermediate {column} is the class by another name: whoever knows it knows the class. Name a column that "
            "several classes share, such as a superclass"
        )


@dataclass
class _Study:
    """One study, phase by phase."""

    config: DataSizeConfig
    opening: Opening
    budget: float
    ways: list[Way]
    given: tuple[str, ...] = ()
    fits: dict[int, bool] = field(default_factory=dict)

    def run(self, source: Source, backbone: torch.nn.Module | Net | None, middle: dict[str, str] | None) -> DataSizeResult:
        began, config, opening = time.monotonic(), self.config, self.opening
        with opening.phase("network", "loading the network"):
            net = opening.load(source, backbone)
        machine = Machine(device=device_of(config.device), cache=opening.folder.work / "cache")
        net.to(machine.device)
        if net.input.kind == "image" and any(way.family == "pipeline" for way in self.ways):
            image_tools()  # where it is missing that is said before anything is read
        if net.input.kind != "image":
            self.ways = [_of_vectors(way) for way in self.ways]
        with opening.phase("data", "reading and inspecting the images"):
            data, splits = opening.read(source, net)
        sizes = choose_sizes(len(splits.train), splits.train.num_classes, config.sizes)
        opening.begin(net, data)
        learners = self._learners(net, splits, machine, _middle(config, data, middle), sizes)
        points = self._points(sizes, len(splits.train))
        with opening.phase("features", "computing features, once for all runs"):
            learners.warm(points)
        with opening.phase("runs", f"{len(points)} runs, for up to {self.budget:.0f} s"):
            found, failed = self._carry_out(learners, points)
        training = {"share": learners.factor} if any(map(is_trained, self.ways)) and config.epochs is None else {}
        if not found:
            raise TrainingError("every run failed: " + "; ".join(f"{one.run}: {one.reason}" for one in failed[:3]))
        with opening.phase("curves", "drawing curves and finding where they cross"):
            study = curves.Study(config, net, data, splits, self.ways, sizes, found, failed, learners.middle, training)
            summary = curves.summary(study, self.given)
        summary["seconds"] = round(time.monotonic() - began, 2)
        summary["seconds_by_phase"] = {name: round(value, 2) for name, value in opening.seconds.items()}
        distributed.first(lambda: opening.folder.write("summary.json", summary))
        distributed.first(opening.folder.clean)
        opening.log.event("phase", name="done", text="done")
        return DataSizeResult(opening.folder.path, summary)

    def _learners(self, net: Net, splits: Splits, machine: Machine, middle: Middle | None, sizes: Sequence[int]) -> Learners:
        """What carries out runs; the parts of a draw follow from the seed and its number alone."""
        task, config = splits.train, self.config
        groups = None if task.groups is None else task.groups[task.rows]
        parts = {
            (size, draw): part
            for draw in range(config.draws)
            for size, part in zip(
                sizes, nested(task.targets, groups, sizes, seed_for(config.seed, "draw", draw)), strict=True
            )
        }
        return Learners(
            net,
            task,
            splits.test,
            parts,
            machine,
            self.opening.bank(),
            self.opening.folder.work,
            self.opening.log,
            seed=config.seed,
            mirror=config.mirror,
            epochs=config.epochs,
            middle=middle,
        )

    def _points(self, sizes: Sequence[int], images: int) -> list[Point]:
        """Every run, draw by draw, so that a short budget loses draws before it loses sizes; cheap ones first.

        Where all images are learned from, ways without a seed of their own would only repeat themselves.
        """
        carried = [way for way in self.ways if way.name != BEST_PIPELINE]
        return [
            Point(way, size, draw)
            for trained in (False, True)
            for draw in range(self.config.draws)
            for size in sizes
            for way in carried
            if is_trained(way) == trained and (draw == 0 or size < images or way.seeded)
        ]

    def _carry_out(self, learners: Learners, points: list[Point]) -> tuple[list[Answered], list[Failed]]:
        """Every run that fits into the time. The first draw of the smallest size always runs, so every way has one."""
        place = self.opening.folder.work / "plan.safetensors"
        plan = distributed.share(stored(place, lambda: self._plan(learners, points)))
        learners.factor, trained_draws = float(plan["factor"]), int(plan["draws"])
        clock = _Clock(learners, self.opening.seconds.get("features", 0.0))
        found, failed = list[Answered](), list[Failed]()
        smallest = min(point.images for point in points)
        for done, point in enumerate(points):
            first = point.draw == 0 and point.images == smallest
            why = "" if first or learners.kept(point) else self._obstacle(point, clock, trained_draws, points)
            if distributed.share(why):
                failed.append(Failed(point, why))
                continue
            if done == 0 or points[done - 1].draw != point.draw or points[done - 1].images != point.images:
                self._say(point, done, clock, points)
            one = learners.run(point)
            clock.took(point, one.seconds)
            if isinstance(one, Failed):
                failed.append(one)
                self.opening.log.event("warning", text=f"{one.run} failed: {one.reason}")
            else:
                found.append(one)
            self.opening.log.tick(done + 1, len(points), "runs")
        return found, failed

    def _obstacle(self, point: Point, clock: _Clock, trained_draws: int, points: Sequence[Point]) -> str:
        """Why a run cannot be, or nothing. Ways that do not train take half of the time, so that the others have some."""
        trained = is_trained(point.way)
        if trained and point.draw >= trained_draws and not self._whole_draw_fits(point.draw, clock, points):
            return "no time was left for this draw of the ways that train, if each is to train long enough"
        share = 1.0 if trained or not any(map(is_trained, self.ways)) else 0.5
        if clock.spent + clock.expected(point) > share * self.budget:
            part = "" if share == 1.0 else "the half for ways that do not train of "
            return f"no longer fitted into {part}the budget of {self.budget:.0f} s"
        return ""

    def _whole_draw_fits(self, draw: int, clock: _Clock, points: Sequence[Point]) -> bool:
        """Whether time was left over for a draw that was not planned; decided when its first run would begin."""
        if draw not in self.fits:
            whole = sum(clock.expected(point) for point in points if point.draw == draw and is_trained(point.way))
            self.fits[draw] = clock.spent + whole <= self.budget
        return self.fits[draw]

    def _say(self, point: Point, done: int, clock: _Clock, points: Sequence[Point]) -> None:
        """Where the study is, and the time left once every way has been timed or estimated."""
        text = f"  {point.images} images, draw {point.draw + 1} of {self.config.draws}: run {done + 1} of {len(points)}"
        each = [clock.expected(one) for one in points[done:]]
        if all(each):
            text += f", about {max(min(sum(each), self.budget - clock.spent), 1):.0f} s left"
        self.opening.log.event("phase", name="point", text=text)

    def _plan(self, learners: Learners, points: Sequence[Point]) -> dict[str, float]:
        """Share of the usual length of training, and draws of ways that train, that fit into their part of the time.

        Draws are given up before training becomes much shorter: a way stopped early says little about itself.
        """
        draws = self.config.draws
        usual = [sum(learners.estimate(point) for point in points if point.draw == draw) for draw in range(draws)]
        if self.config.epochs is not None or not sum(usual):
            return {"factor": 1.0, "draws": draws}
        theirs = self.budget * (0.9 if all(is_trained(point.way) for point in points) else 0.5)
        shares = {count: min(1.0, theirs / sum(usual[:count])) for count in range(1, draws + 1)}
        enough = [count for count, share in shares.items() if share >= _ENOUGH]
        count = max(enough, default=1)
        return {"factor": max(shares[count], _LEAST), "draws": count}


def _of_vectors(way: Way) -> Way:
    """The same way said of data without pictures: nothing is designed by hand there."""
    return replace(way, description=way.description.replace(HAND, "the numbers, scaled"))


def _middle(config: DataSizeConfig, data: DataSet, labels: dict[str, str] | None) -> Middle | None:
    if labels is None:
        return None
    names = sorted(set(labels.values()))
    of_row = np.array([names.index(labels[name]) for name in data.names], np.int64)
    return Middle(str(config.intermediate), tuple(names), of_row)


@dataclass
class _Clock:
    """What runs took, and what others should take: as estimated, corrected by what estimates of their way were worth."""

    learners: Learners
    spent: float = 0.0
    taken: dict[str, dict[int, float]] = field(default_factory=dict)
    told: float = 0.0
    real: float = 0.0

    def expected(self, point: Point) -> float:
        """Seconds that a run should take."""
        guess = self.learners.estimate(point)
        if guess:
            return guess * (self.real / self.told if self.told else 1.0)
        known = self.taken.get(point.way.name, {})
        if not known:
            return 0.0
        # What a run took on as many images in another draw says more than what the last one took on fewer.
        images = min(known, key=lambda size: abs(math.log(size / point.images)))
        return known[images] * max(point.images / images, 0.1)

    def took(self, point: Point, seconds: float) -> None:
        """Keep what a run took."""
        self.spent += seconds
        guess = self.learners.estimate(point)
        if guess:
            self.told, self.real = self.told + guess, self.real + seconds
        self.taken.setdefault(point.way.name, {})[point.images] = seconds
