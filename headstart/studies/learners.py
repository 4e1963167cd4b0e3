"""One run of the data-size study: learn in one way from one part of the images, and answer the test images."""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.catalog.data_size import BY_WAY_OF, Way
from headstart.data.task import Task
from headstart.engine import distributed, interrupt
from headstart.engine.evaluate import answers
from headstart.engine.features import FeatureBank, bank_answers
from headstart.engine.fit import Machine
from headstart.engine.log import RunLog
from headstart.engine.run import Drive, stored
from headstart.errors import DiskFull, InputError, Interrupted, RunError, TrainingError
from headstart.files import write_json
from headstart.nets.cost import block_flops
from headstart.nets.net import Net, count_parameters
from headstart.seeding import seed_for
from headstart.strategies.early_probe import depths_of
from headstart.studies import pipeline
from headstart.studies.arms import all_arms, base_recipe, with_epochs, work
from headstart.studies.measure import pace
from headstart.studies.race import Arm

STEPS = {"scratch": 1000}
"""Optimiser steps of a way, where not 500: weights drawn at random have further to go (He et al. 2019)."""
_MOST_EPOCHS = {"scratch": 200}
_FEW_EPOCHS = 6
_TRAINING = 1.6
"""Time of a trained forward pass relative to a gradient-free one per multiply-add, as in `arms`."""


@dataclass(frozen=True)
class Point:
    """One run: a way, a number of images, and the number of the draw."""

    way: Way
    images: int
    draw: int

    @property
    def key(self) -> str:
        """Name of its files."""
        return f"{self.way.name}-{self.images}-{self.draw}"

    def __str__(self) -> str:
        return f"{self.way.name} on {self.images} images, draw {self.draw + 1}"


@dataclass(frozen=True, eq=False)
class Answered:
    """A run that came to its end.

    correct    `[T]` right or wrong per test image
    training   seconds of learning, features included; inference: seconds per image
    described  of `training`: for hand-designed features, which all pipelines share
    parameters that answering needs
    score      of a pipeline: accuracy in the cross-validation inside its training part
    middle     of a pipeline in two steps: `[T]` right or wrong about the intermediate label
    """

    point: Point
    correct: NDArray[np.bool_]
    training: float
    inference: float
    parameters: int
    seconds: float
    score: float | None = None
    middle: NDArray[np.bool_] | None = None
    described: float = 0.0


@dataclass(frozen=True)
class Failed:
    """A run that did not come to its end, and why."""

    point: Point
    reason: str
    seconds: float = 0.0

    @property
    def run(self) -> str:
        """Which one, for people."""
        return str(self.point)


@dataclass(frozen=True, eq=False)
class Middle:
    """An intermediate label: its column, its values, and `[len(store)]` positions among them."""

    column: str
    names: tuple[str, ...]
    of_row: NDArray[np.int64]


@dataclass
class Learners:
    """Carries out runs, each kept in a file so that a killed study goes on with the next.

    parts   by (images, draw): positions in `task`
    epochs  of ways that train; None: as many as make their usual steps, times `factor`
    """

    net: Net
    task: Task
    test: Task
    parts: dict[tuple[int, int], NDArray[np.int64]]
    machine: Machine
    bank: FeatureBank
    folder: Path
    log: RunLog
    seed: int
    mirror: bool
    epochs: int | None = None
    middle: Middle | None = None
    factor: float = 1.0
    _passed: dict[str, float] = field(default_factory=dict)
    _described: dict[str, tuple[NDArray[np.float32], float]] = field(default_factory=dict)
    _rate: float = 0.0
    _flops: dict[str, int] = field(default_factory=dict)

    def warm(self, points: Sequence[Point]) -> None:
        """Compute what all runs share: features of the training images that take part in any."""
        todo = [point for point in points if not self.kept(point)]
        rows = self.task.rows[np.unique(np.concatenate(list(self.parts.values())))]
        if any(_frozen(point.way) for point in todo):
            deep = any(point.way.name == "early_probe" for point in todo)
            self._pass("train", self.net, rows, deep)
        if any(point.way.family == "pipeline" for point in todo):
            self._features("train", rows)
        if any(is_trained(point.way) for point in points):
            self._rate, self._flops = distributed.share(pace(self.net, self.task)), block_flops(self.net)

    def estimate(self, point: Point) -> float:
        """Seconds that a run of a way that trains should take; zero for others, which are not known before one ran."""
        if not is_trained(point.way):
            return 0.0
        arm = self._arm(point)
        macs = work(self.net, arm, self._flops) * arm.config.recipe.epochs * point.images
        return float(macs * _TRAINING + len(self.test) * sum(self._flops.values())) * self._rate

    def kept(self, point: Point) -> bool:
        """Whether the run was finished before."""
        return self._read(point) is not None

    def run(self, point: Point) -> Answered | Failed:
        """The run, from its file where it was finished before. What goes wrong in one is no reason to lose the others."""
        interrupt.check_together()
        before = distributed.first(lambda: self._read(point))
        if before is not None:
            return before
        began = time.monotonic()
        self.log.event("phase", name="trial", text=str(point))
        try:
            found = self._pipeline(point) if point.way.family == "pipeline" else self._network(point)
        except (Interrupted, RunError, DiskFull):
            raise
        except (InputError, TrainingError, ValueError, ArithmeticError, MemoryError, RuntimeError, Warning) as error:
            self._forget(point)
            told = str(error).partition("\n")[0] or type(error).__name__
            return Failed(point, told, distributed.share(time.monotonic() - began))
        found = replace(found, seconds=distributed.share(time.monotonic() - began))
        distributed.first(lambda: self._write(found))
        self._forget(point)
        return found

    def _seed(self, point: Point) -> int:
        return seed_for(self.seed, "data-size", point.draw)

    def _arm(self, point: Point) -> Arm:
        recipe = base_recipe(self.net, point.images, mirror=self.mirror, class_weights=False)
        seed = self._seed(point)
        arm = next(one for one in all_arms(self.net, recipe, seed=seed) if one.name == point.way.strategy)
        if arm.frozen:
            return arm
        steps = STEPS.get(point.way.name, 500) * recipe.batch_size / point.images
        most = _MOST_EPOCHS.get(point.way.name, 100)
        usual = max(round(self.factor * min(max(steps, 8), most)), _FEW_EPOCHS)
        return with_epochs(arm, self.epochs or usual)

    def _network(self, point: Point) -> Answered:
        """A strategy of `headstart adapt` on a part of the images."""
        arm, part = self._arm(point), self.task.take(self.parts[point.images, point.draw])
        net, place = copy.deepcopy(self.net), self.folder / "runs" / point.key
        log = self.log.within(arm=point.way.name)
        began = time.monotonic()
        drive = Drive(net, self._seed(point), self.machine, place, self.bank, log)
        drive.run(arm.stages(net, part))
        training, began = time.monotonic() - began, time.monotonic()
        if _frozen(point.way):
            training += self._passed.get("train", 0.0) * point.images
        if arm.frozen:
            self._pass("test", net, self.test.rows, len(net.head(self.task.name).reads) > 1)
            began = time.monotonic()
        logits = distributed.first(
            lambda: bank_answers(net, self.test, self.bank) if arm.frozen else answers(net, self.test)
        )
        inference = (time.monotonic() - began) / len(self.test) + (self._passed.get("test", 0.0) if arm.frozen else 0.0)
        kept = count_parameters(net.blocks) + count_parameters(net.head(self.task.name))
        return Answered(point, logits.argmax(1) == self.test.targets, training, inference, kept, 0.0)

    def _pass(self, which: str, net: Net, rows: NDArray[np.int64], deep: bool) -> None:
        """Features of the frozen network, computed by one process; timed the first time."""

        def once() -> float:
            began = time.monotonic()
            self.bank.get(net, self.task.store, rows, depths_of(net) if deep else [net.last])
            return (time.monotonic() - began) / len(rows)

        seconds = distributed.first(once)
        self._passed.setdefault(which, seconds)

    def _pipeline(self, point: Point) -> Answered:
        """Hand-designed features, scaling and a classical model. One process learns for all."""
        for which, task in (("train", self.task), ("test", self.test)):
            self._features(which, task.rows)  # by all processes, as what they share must not be asked for by one alone
        return distributed.first(lambda: self._classical(point))

    def _classical(self, point: Point) -> Answered:
        part = self.task.take(self.parts[point.images, point.draw])
        every, each = self._features("train", part.rows)
        features, seed = every[part.rows], self._seed(point)
        groups = None if part.groups is None else part.groups[part.rows]
        if point.way.name == BY_WAY_OF:
            assert self.middle is not None
            fitted = pipeline.learn_by_way_of(features, part.targets, self.middle.of_row[part.rows], groups, seed=seed)
        else:
            model = point.way.name.removeprefix("pipeline_")
            fitted = pipeline.learn(model, features, part.targets, groups, seed=seed)
        if not fitted.converged:
            self.log.event("note", text=f"{point}: its solver stopped before it had converged")
        seen, per_image = self._features("test", self.test.rows)
        began = time.monotonic()
        correct = fitted.answer(seen[self.test.rows]) == self.test.targets
        inference = (time.monotonic() - began) / len(self.test) + per_image
        about = None
        if fitted.middle is not None and self.middle is not None:
            about = fitted.middle(seen[self.test.rows]) == self.middle.of_row[self.test.rows]
        described = each * point.images
        training = fitted.seconds + described
        return Answered(point, correct, training, inference, fitted.parameters, 0.0, fitted.score, about, described)

    def _features(self, which: str, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], float]:
        """(`[len(store), F]`, of which `rows` are filled, seconds per image); vectors are features already."""
        if which not in self._described:
            store = self.task.store
            if not store.is_image:
                self._described[which] = (np.asarray(store.array, np.float32), 0.0)
            else:
                made = stored(self.folder / f"described-{which}.safetensors", lambda: self._describe(rows), self.log)
                whole = np.zeros((len(store), made["features"].shape[1]), np.float32)
                whole[rows] = made["features"].numpy()
                self._described[which] = (whole, float(made["seconds"]))
        return self._described[which]

    def _describe(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        def tick(done: int, total: int) -> None:
            interrupt.check()
            self.log.tick(done, total, "hand-designed features")

        began = time.monotonic()
        found = pipeline.describe(self.task.store.array[rows], tick)
        return {"features": torch.from_numpy(found), "seconds": (time.monotonic() - began) / len(rows)}

    def _file(self, point: Point) -> Path:
        return self.folder / "runs" / f"{point.key}.json"

    def _forget(self, point: Point) -> None:
        if distributed.is_first():
            shutil.rmtree(self.folder / "runs" / point.key, ignore_errors=True)

    def _write(self, one: Answered) -> None:
        self._file(one.point).parent.mkdir(parents=True, exist_ok=True)
        write_json(
            self._file(one.point),
            {
                "correct": one.correct.astype(int),
                "training": one.training,
                "inference": one.inference,
                "parameters": one.parameters,
                "seconds": one.seconds,
                "score": one.score,
                "middle": None if one.middle is None else one.middle.astype(int),
                "described": one.described,
            },
        )

    def _read(self, point: Point) -> Answered | None:
        """A finished run; None when there is none, or its file is not what a study writes."""
        try:
            kept = json.loads(self._file(point).read_text(encoding="utf-8"))
            middle = None if kept["middle"] is None else np.array(kept["middle"], bool)
            score = None if kept["score"] is None else float(kept["score"])
            numbers = (float(kept["training"]), float(kept["inference"]), int(kept["parameters"]), float(kept["seconds"]))
            described = float(kept["described"])
            found = Answered(point, np.array(kept["correct"], bool), *numbers, score, middle, described)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if found.correct.shape == (len(self.test),) else None


def is_trained(way: Way) -> bool:
    """Ways that train by gradient steps, which takes most of the time."""
    return bool(way.strategy) and way.seeded


def _frozen(way: Way) -> bool:
    """Ways that read features of the frozen network, at least at first."""
    return way.family == "transfer" and way.name != "full"
