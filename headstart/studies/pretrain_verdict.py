"""The verdict on a pretrained backbone: against random weights, training from scratch and another network, on few, some and
all labels, probed and fine-tuned, on the same test images."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.adapt import BackboneConfig
from headstart.catalog.data_size import Way
from headstart.catalog.pretrain import PretrainConfig
from headstart.data.pool import read_pool
from headstart.data.prepare import DataSet
from headstart.data.sources import Source
from headstart.data.task import Task
from headstart.engine import distributed
from headstart.engine.features import FeatureBank
from headstart.engine.fit import Machine
from headstart.engine.run import stored
from headstart.errors import InputError
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.strategies.early_probe import depths_of
from headstart.studies.backbone import choose
from headstart.studies.checks import check_kind
from headstart.studies.learners import Answered, Failed, Learners, Point
from headstart.studies.opening import Opening
from headstart.studies.pretrain_data import Parts
from headstart.studies.pretrain_judged import OTHER, OURS, RANDOM, Unit, cell_of, differences
from headstart.studies.pretrain_start import drawn_anew
from headstart.studies.sizes import FEWEST, nested

SHARES = (0.01, 0.1, 1.0)
"""Of the labels that are learned from."""
PROBE = Way("early_probe", "transfer", "Probe", "frozen backbone, linear head on its best block", True, "early_probe_best")
TUNE = Way("full", "transfer", "Fine-tuned", "every block at a tenth of the learning rate", True, "full", True)
SCRATCH = Way("scratch", "end-to-end", "From scratch", "all weights drawn at random", True, "retrain", True)
_TUNED, _SHORTEST = 0.6, 0.2
"""Share of the time that fine-tuning's first draw is planned for, and the shortest training as a share of the usual one."""


@dataclass(frozen=True)
class Side:
    """A network that is compared.

    name    `pretrained`, `random` or `against`; `label` is what people call it
    runs    what carries out its runs
    """

    name: str
    label: str
    runs: Learners

    def point(self, unit: Unit) -> Point:
        """The run of a unit with this network; of random weights fine-tuning is training from scratch."""
        tuned = SCRATCH if self.name == RANDOM else TUNE
        return Point(PROBE if unit.kind == "probe" else tuned, unit.images, unit.draw)

    def warm(self, units: Sequence[Unit]) -> None:
        """Compute what its runs share: features of the images that it learns from, and of the test images."""
        points = [self.point(unit) for unit in units]
        self.runs.warm(points)
        if not all(self.runs.kept(point) for point in points):
            distributed.first(self._see_test)

    def _see_test(self) -> None:
        self.runs.bank.get(self.runs.net, self.runs.test.store, self.runs.test.rows, depths_of(self.runs.net))


@dataclass(frozen=True)
class Verdict:
    """What was found; `why` says why there is none, else it is empty."""

    why: str
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Other:
    """The network to compare with besides; None where there is none, and `why` if it should have been there."""

    name: str
    net: Net | None = None
    why: str = ""


def why_none(config: PretrainConfig, parts: Parts) -> str:
    """Why there can be no verdict; empty where there can."""
    if parts.known is None or parts.test is None:
        reason = "--no-labels was given" if not config.labels else "the images have no labels, or too few, to judge by"
        return f"there is no verdict: {reason}"
    return "" if config.seconds else "there is no verdict: --budget 0 leaves no time for one"


def other_network(config: PretrainConfig, source: Source, start: Net) -> Other:
    """The network named by `--against`; the start that training went on from; for small images the embedded one.

    Raises InputError where the one named cannot be had.
    """
    if config.against is None and config.start == "trained":
        return Other("the network it started from", start)
    if config.against is None and (start.input.kind != "image" or start.input.size > 40):
        return Other("")
    name = config.against or "embedded"
    try:
        net = choose(source, BackboneConfig(backbone=name), seed=config.seed)
        check_kind(source, net.input)
    except InputError as error:
        if config.against is not None:
            raise
        return Other(name, None, str(error).partition("\n")[0])
    return Other(name, net)


def verdict_of(
    config: PretrainConfig,
    opening: Opening,
    source: Source,
    data: DataSet,
    parts: Parts,
    net: Net,
    start: Net,
    other: Other,
    machine: Machine,
) -> Verdict:
    """Compare `net` with others, as far as the time reaches; runs that were finished before are not done again.

    start  the network as it was before it was pretrained
    """
    if why := why_none(config, parts):
        return Verdict(why)
    assert parts.known is not None
    sizes = label_sizes(len(parts.known), parts.known.num_classes)
    make = _Sides(config, opening, source, data, parts, machine, sizes)
    sides = list(make.all(net, start, other))
    jury = _Jury(config, opening, sides, sizes)
    units = list(jury.units())
    jury.warm(units)
    seen = jury.carry_out(units)
    return Verdict("", _record(config, parts, sizes, sides, seen, jury, make.absent))


def label_sizes(images: int, classes: int) -> list[int]:
    """How many labelled images 1, 10 and 100 % are: two of every class at least, each once."""
    least = min(FEWEST * classes, images)
    return sorted({min(max(round(share * images), least), images) for share in SHARES})


@dataclass
class _Sides:
    """Makes the networks that are compared."""

    config: PretrainConfig
    opening: Opening
    source: Source
    data: DataSet
    parts: Parts
    machine: Machine
    sizes: Sequence[int]
    absent: list[dict[str, str]] = field(default_factory=list)

    def all(self, net: Net, start: Net, other: Other) -> Iterator[Side]:
        """This backbone, random weights, and the other network where there is one; why not is kept in `absent`."""
        yield self._side(OURS, "this backbone", net, self.data)
        anew = copy.deepcopy(start)
        if self.config.start == "trained":
            drawn_anew(anew, self.config.seed)
        yield self._side(RANDOM, "random weights", anew, self.data)
        try:
            if other.net is not None:
                data = self.data if other.net.input.size == net.input.size else self._read(other.net)
                yield self._side(OTHER, other.name, other.net, data)
            elif other.why:
                self.absent.append({"name": other.name, "why": other.why})
        except InputError as error:
            self.absent.append({"name": other.name, "why": str(error).partition("\n")[0]})

    def _read(self, net: Net) -> DataSet:
        data = distributed.first(
            lambda: read_pool(
                self.source, size=net.input.size, fit=self.config.images.fit, cache=self.opening.folder.work / "data"
            )
        )
        if data.names != self.data.names:
            raise InputError(f"not the same images can be read at {net.input.size} px; compare networks of one input size")
        return data

    def _side(self, name: str, label: str, net: Net, data: DataSet) -> Side:
        assert self.parts.known is not None
        assert self.parts.test is not None
        known, test = (replace(task, store=data.store) for task in (self.parts.known, self.parts.test))
        folder = self.opening.folder.work / "verdict" / name
        runs = Learners(
            copy.deepcopy(net).to(self.machine.device),
            known,
            test,
            self._drawn(known),
            self.machine,
            FeatureBank(folder / "features", log=self.opening.log),
            folder,
            self.opening.log.within(network=name),
            seed=self.config.seed,
            mirror=self.config.mirror,
        )
        return Side(name, label, runs)

    def _drawn(self, task: Task) -> dict[tuple[int, int], NDArray[np.int64]]:
        """Nested parts by (size, draw), the same for every network."""
        groups = None if task.groups is None else task.groups[task.rows]
        found: dict[tuple[int, int], NDArray[np.int64]] = {}
        for draw in range(self.config.draws):
            parts = nested(task.targets, groups, self.sizes, seed_for(self.config.seed, "verdict", draw))
            found |= {(size, draw): part for size, part in zip(self.sizes, parts, strict=True)}
        return found


@dataclass
class _Jury:
    """Carries out runs one by one, as far as the time reaches."""

    config: PretrainConfig
    opening: Opening
    sides: Sequence[Side]
    sizes: Sequence[int]
    left_out: list[dict[str, Any]] = field(default_factory=list)
    spent: float = 0.0
    factor: float = 1.0
    _took: dict[tuple[str, int], float] = field(default_factory=dict)
    _told: float = 0.0
    _real: float = 0.0

    def units(self) -> Iterator[Unit]:
        """Every comparison: first all of the first draw, probes before what trains, few labels before many."""
        for draw in range(self.config.draws):
            for size in self.sizes:
                if draw == 0 or size < max(self.sizes):  # a probe on all labels gives the same again
                    yield Unit("probe", size, draw)
            for size in self.sizes:
                yield Unit("fine_tune", size, draw)

    def warm(self, units: Sequence[Unit]) -> None:
        """What all runs of a network share, and how long training may be so that the first draw fits."""
        began = time.monotonic()
        for side in self.sides:
            side.warm(units)
        self.spent = distributed.share(time.monotonic() - began)
        place = self.opening.folder.work / "verdict" / "plan.safetensors"
        self.factor = float(distributed.share(stored(place, lambda: {"factor": self._factor(units)}))["factor"])
        for side in self.sides:
            side.runs.factor = self.factor

    def _factor(self, units: Sequence[Unit]) -> float:
        usual = sum(self._estimate(unit) for unit in units if unit.kind == "fine_tune" and unit.draw == 0)
        return min(1.0, max(_SHORTEST, _TUNED * self.config.seconds / usual)) if usual else 1.0

    def _estimate(self, unit: Unit) -> float:
        return sum(side.runs.estimate(side.point(unit)) for side in self.sides)

    def carry_out(self, units: Sequence[Unit]) -> dict[Unit, dict[str, Answered]]:
        """Answers by unit and network. The first unit always runs; what no longer fits is kept in `left_out`."""
        found: dict[Unit, dict[str, Answered]] = {}
        for place, unit in enumerate(units):
            kept = all(side.runs.kept(side.point(unit)) for side in self.sides)
            late = place > 0 and not kept and self.spent + self._expected(unit) > self.config.seconds
            if distributed.share(late):
                why = f"no longer fitted into the budget of {self.config.seconds:.0f} s"
                self.left_out.append({"unit": str(unit), "kind": unit.kind, "images": unit.images, "why": why})
                continue
            answers = self._run(unit)
            if answers:
                found[unit] = answers
            self.opening.log.tick(place + 1, len(units), "verdict")
        return found

    def _run(self, unit: Unit) -> dict[str, Answered]:
        """Answers by network; one that failed is left out aloud."""
        answers, seconds = {}, 0.0
        for side in self.sides:
            one = side.runs.run(side.point(unit))
            seconds += one.seconds
            if isinstance(one, Failed):
                self.opening.log.event("warning", text=f"{side.label}, {unit}, failed: {one.reason}")
                said = {"unit": str(unit), "kind": unit.kind, "images": unit.images}
                self.left_out.append({**said, "network": side.name, "why": one.reason})
            else:
                answers[side.name] = one
        self.spent += seconds
        self._took[unit.kind, unit.images] = seconds
        if unit.kind == "fine_tune":
            self._told, self._real = self._told + self._estimate(unit), self._real + seconds
        return answers

    def _expected(self, unit: Unit) -> float:
        """Seconds that a unit should take: as estimated, corrected by what estimates were worth; a probe as the last one."""
        if unit.kind == "fine_tune":
            return self._estimate(unit) * (self._real / self._told if self._told else 1.0)
        known = {images: took for (kind, images), took in self._took.items() if kind == "probe"}
        if not known:
            return 0.0
        near = min(known, key=lambda images: abs(images - unit.images))
        # Much of a probe is the same for any number of labels.
        return known[near] * math.sqrt(max(unit.images / near, 0.1))


def _record(
    config: PretrainConfig,
    parts: Parts,
    sizes: Sequence[int],
    sides: Sequence[Side],
    seen: Mapping[Unit, Mapping[str, Answered]],
    jury: _Jury,
    absent: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    assert parts.known is not None
    assert parts.test is not None
    whole = len(parts.known)
    cells = [
        cell
        for size in sizes
        for kind in ("probe", "fine_tune")
        for side in sides
        if (cell := cell_of(seen, kind, size, side.name, config.seed)) is not None
    ]
    gaps = differences(seen, sizes, [side.name for side in sides[1:]], config.seed)
    return {
        "networks": [{"name": side.name, "label": side.label} for side in sides],
        "absent": [dict(one) for one in absent],
        "shares": [{"images": size, "share": size / whole} for size in sizes],
        "labels": whole,
        "test_images": len(parts.test),
        "classes": parts.test.num_classes,
        "cells": cells,
        "differences": gaps,
        "left_out": jury.left_out,
        "training_share": jury.factor,
        "seconds": round(jury.spent, 2),
        "budget": config.seconds,
    }
