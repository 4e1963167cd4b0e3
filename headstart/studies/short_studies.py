"""`headstart study augmentations` and `headstart study scaling`: SimCLR's findings on the user's images."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np

import headstart
from headstart.catalog.pretrain import PretrainConfig
from headstart.catalog.short_runs import AugmentationsConfig, ScalingConfig, ShortRunsConfig, check_short_runs, simclr_with
from headstart.data.sources import Source
from headstart.data.task import Task
from headstart.engine import distributed
from headstart.engine.fit import Machine
from headstart.engine.log import Listener
from headstart.engine.run_folder import open_run
from headstart.engine.source_statistics import evenly
from headstart.errors import ConfigError, DataError
from headstart.nets.net import Net
from headstart.studies.checks import device_of
from headstart.studies.opening import Opening, opened
from headstart.studies.pretrain_start import network_of, starting_net
from headstart.studies.records import again, data_record, name_of, plain
from headstart.studies.result import JobResult
from headstart.studies.short_runs import Cell, ShortRuns, accuracy
from headstart.studies.short_told import against_the_best, as_text, between_neighbours, sentences

_FOLDS = 5
"""As `headstart adapt` has by default, so that all jobs set the same test images aside."""


@dataclass(frozen=True)
class ShortRunsResult(JobResult):
    """What `study augmentations` or `study scaling` found. Prints as text."""

    def __str__(self) -> str:
        return as_text(self.summary)


def augmentations(config: AugmentationsConfig, *, data: Any = None, listeners: Sequence[Listener] = ()) -> ShortRunsResult:
    """Pairs of augmentations; see `AugmentationsConfig`."""
    return _study("study augmentations", config, data, listeners)


def scaling(config: ScalingConfig, *, data: Any = None, listeners: Sequence[Listener] = ()) -> ShortRunsResult:
    """Projection, batch, network, length; see `ScalingConfig`."""
    return _study("study scaling", config, data, listeners)


def _study(command: str, config: ShortRunsConfig, data: Any, listeners: Sequence[Listener]) -> ShortRunsResult:
    check_short_runs(config, given=data is not None)
    distributed.start(device_of(config.device))
    with open_run(
        config.out, {"command": command, **asdict(config)}, resume=config.resume, overwrite=config.overwrite
    ) as folder:
        done = folder.finished(listeners)
        if done is not None:
            return ShortRunsResult(folder.path, done)
        opening = Opening(folder, config.network, config.images, _FOLDS, config.seed, tuple(listeners), chooses=False)
        source = opened(config.data if data is None else data, config.images)
        return _Study(command, config, opening, source, ("data",) if data is not None else ()).run()


@dataclass
class _Study:
    """One study, phase by phase."""

    command: str
    config: ShortRunsConfig
    opening: Opening
    source: Source
    given: tuple[str, ...]

    def run(self) -> ShortRunsResult:
        began, opening, config = time.monotonic(), self.opening, self.config
        with opening.phase("network", "drawing the network"):
            net = self._draw(_networks(config)[-1], config.seed)
            self._check_sizes(net)
        with opening.phase("data", "reading and inspecting the images"):
            found, splits = opening.read(self.source, net)
        train = splits.train.take(evenly(len(splits.train), min(len(splits.train), config.most)))
        check_images(config, len(train))
        cells, too_large = list(cells_of(config, len(train))), too_large_batches(config, len(train))
        opening.begin(net, found)
        for name, reason in too_large.items():
            opening.log.event("warning", text=f"{name} was left out: {reason}")
        machine = Machine(device=device_of(config.device))
        runs = ShortRuns(
            self._draw, train, splits.test, machine, opening.folder.work, opening.log, config.seconds, config.seed
        )
        seeds = [config.seed + number for number in range(config.seeds)]
        with opening.phase("runs", f"{len(cells) * len(seeds)} trainings of {len(train)} images"):
            left_out = {**too_large, **runs.carry_out(cells, seeds)}
        summary = self._summary(runs, cells, seeds, left_out, train, splits.test, found, net)
        summary["seconds"] = round(time.monotonic() - began, 2)
        distributed.first(lambda: opening.folder.write("summary.json", summary))
        distributed.first(opening.folder.clean)
        opening.log.event("phase", name="done", text="done")
        return ShortRunsResult(opening.folder.path, summary)

    def _pretraining(self, seed: int) -> PretrainConfig:
        return PretrainConfig(self.config.data, network=self.config.network, seed=seed)

    def _draw(self, name: str | None, seed: int) -> Net:
        config = self._pretraining(seed)
        network = network_of(config, self.source) if name is None else replace(self.config.network, backbone=name)
        return starting_net(config, network, self.source)

    def _check_sizes(self, net: Net) -> None:
        """Images are decoded once, in the size of one network. Raises ConfigError where others see another."""
        names = [name for name in _networks(self.config) if name is not None]
        sizes = {name: self._draw(name, self.config.seed).input.size for name in names[:-1]}
        unlike = [f"{name} takes images of {size} px" for name, size in sizes.items() if size != net.input.size]
        if unlike:
            raise ConfigError(
                f"--networks: {', '.join(unlike)}, {names[-1]} images of {net.input.size} px; what is compared should see "
                f"the same: give --size {net.input.size}"
            )

    def _summary(
        self,
        runs: ShortRuns,
        cells: Sequence[Cell],
        seeds: Sequence[int],
        left_out: Mapping[str, str],
        train: Task,
        test: Task,
        found: Any,
        net: Net,
    ) -> dict[str, Any]:
        done = [cell for cell in cells if runs.seen(cell, seeds[0]) is not None]
        usual = _networks(self.config)[-1]
        if usual is None:
            usual = name_of(network_of(self._pretraining(self.config.seed), self.source), net)
        rows = [_row(runs, cell, seeds, self.config.seed, usual) for cell in done]
        summary: dict[str, Any] = plain(
            {
                "command": self.command,
                "data": data_record(found, train, test),
                "backbone": {
                    "name": usual,
                    "blocks": net.block_names,
                    "input_size": net.input.size,
                },
                "networks": list(dict.fromkeys(row["network"] for row in rows)) or [usual],
                "cells": rows,
                "left_out": [{"name": name, "reason": reason} for name, reason in left_out.items()],
                "differences": _differences(self.config, runs, done, seeds),
                "steps": list(getattr(self.config, "paired", ())),
                "epochs": self.config.epochs,
                "images": len(train),
                "seeds": list(seeds),
                "phases": {name: round(value, 2) for name, value in self.opening.seconds.items()},
                "reproduce": again(self.command, self.config, self.given),
                "version": headstart.__version__,
            }
        )
        summary["sentences"] = list(sentences(summary))
        return summary


def cells_of(config: ShortRunsConfig, images: int) -> Iterator[Cell]:
    """The trainings of a study, the most telling first."""
    if isinstance(config, AugmentationsConfig):
        yield from _pairs(config)
    elif isinstance(config, ScalingConfig):
        yield from _scales(config, images)


def _pairs(config: AugmentationsConfig) -> Iterator[Cell]:
    """Two augmentations one after the other for both views, and each alone."""
    pairs = [*combinations(config.paired, 2), *((step, step) for step in config.paired)]
    for one, other in pairs:
        pipeline = one if one == other else f"{one} {other}"
        yield Cell(pipeline, (one, other), simclr_with(config, pipeline=pipeline))


def _scales(config: ScalingConfig, images: int) -> Iterator[Cell]:
    """One thing changed at a time, from the last projection, the study's batch and length, and the last network."""
    usual = {"projection": config.projections[-1] if config.projections else "nonlinear"}
    network = _networks(config)[-1]
    for projection in config.projections:
        yield Cell(
            f"projection {projection}", ("projection", projection), simclr_with(config, projection=projection), network
        )
    for batch in (one for one in config.batches if _fits(one, images)):
        # The root of the batch keeps the noise of a step as it was (Krizhevsky 2014).
        lr = (config.lr or simclr_with(config).school.lr) * math.sqrt(batch / config.batch_size)
        made = simclr_with(config, **usual, batch_size=batch, lr=lr)
        yield Cell(f"batch {batch}", ("batch", str(batch)), made, network)
    for name in config.networks:
        yield Cell(f"network {name}", ("network", name), simclr_with(config, **usual), name)
    for epochs in config.lengths:
        yield Cell(f"epochs {epochs}", ("epochs", str(epochs)), simclr_with(config, **usual, epochs=epochs), network)


def _networks(config: ShortRunsConfig) -> tuple[str | None, ...]:
    """By name, the one that all but the comparison of networks have at the end; None: the study's own."""
    return (config.networks or (None,)) if isinstance(config, ScalingConfig) else (None,)


def _fits(batch: int, images: int) -> bool:
    """Whether an epoch has two batches at least: with fewer, batches of several sizes are all the same one."""
    return 2 * batch <= images


def too_large_batches(config: ShortRunsConfig, images: int) -> dict[str, str]:
    """Batches asked for that these images do not fill, and why they are left out."""
    asked = config.batches if isinstance(config, ScalingConfig) else ()
    return {f"batch {batch}": f"{images} images are not two batches of it" for batch in asked if not _fits(batch, images)}


def check_images(config: ShortRunsConfig, images: int) -> None:
    """Raise DataError where so many images do not do for what all trainings share, ConfigError where nothing is compared."""
    if not _fits(config.batch_size, images):
        raise DataError(
            f"{images} images to learn from: an epoch should have two batches of {config.batch_size} at least; give "
            f"--batch-size {max(2, images // 4)}, or more images"
        )
    places = Counter(cell.place[0] for cell in cells_of(config, images))
    if isinstance(config, ScalingConfig) and max(places.values(), default=0) < 2:
        said = "; ".join(f"{name}: {reason}" for name, reason in too_large_batches(config, images).items())
        raise ConfigError(f"nothing is left to compare ({said}); give --batches of {images // 2} at most, or more images")


def _row(runs: ShortRuns, cell: Cell, seeds: Sequence[int], seed: int, network: str) -> dict[str, Any]:
    seen = [one for one in (runs.seen(cell, number) for number in seeds) if one is not None]
    found = accuracy(np.stack(list(runs.correct(cell, seeds).values())), seed)
    losses = [one["loss"] for one in seen if one["loss"] is not None]
    return {
        "name": cell.name,
        "place": list(cell.place),
        "network": cell.network or network,
        "accuracy": {"mean": found.mean, "low": found.low, "high": found.high},
        "block": seen[0]["block"],
        "loss": float(np.mean(losses)) if losses else None,
        "seconds": float(np.mean([one["seconds"] for one in seen])),
        "seeds": len(seen),
        "settings": asdict(cell.config),
    }


def _differences(
    config: ShortRunsConfig, runs: ShortRuns, cells: Sequence[Cell], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Of pairs: the best against every other. Of scales: neighbours on each axis."""
    answers = {cell.name: runs.correct(cell, seeds) for cell in cells}
    if isinstance(config, AugmentationsConfig):
        return against_the_best(answers, config.seed)
    axes = dict.fromkeys(cell.place[0] for cell in cells)
    on = [[cell.name for cell in cells if cell.place[0] == axis] for axis in axes]
    return between_neighbours(answers, [(after, before) for line in on for before, after in pairwise(line)], config.seed)
