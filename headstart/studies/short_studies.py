"""`headstart study augmentations` and `headstart study scaling`: SimCLR's findings on the user's images."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np

import headstart
from headstart.catalog.adapt import BackboneConfig
from headstart.catalog.pretrain import PretrainConfig
from headstart.catalog.short_runs import AugmentationsConfig, ScalingConfig, ShortRunsConfig, check_short_runs, simclr_with
from headstart.data.sources import Source
from headstart.data.task import Task
from headstart.engine import distributed
from headstart.engine.fit import Machine
from headstart.engine.log import Listener
from headstart.engine.run_folder import open_run
from headstart.engine.source_statistics import evenly
from headstart.nets.net import Net
from headstart.studies.checks import device_of
from headstart.studies.opening import Opening, opened
from headstart.studies.pretrain_start import network_of, starting_net
from headstart.studies.records import again, data_record, name_of, plain
from headstart.studies.result import JobResult
from headstart.studies.short_runs import Cell, ShortRuns, accuracy, gap

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
        done = folder.finished()
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
        base = network_of(self._pretraining(config.seed), self.source)
        with opening.phase("network", "drawing the network"):
            net = self._draw(None, config.seed)
        with opening.phase("data", "reading and inspecting the images"):
            found, splits = opening.read(self.source, net)
        train = splits.train.take(evenly(len(splits.train), min(len(splits.train), config.most)))
        cells = list(cells_of(config, len(train)))
        opening.begin(net, found)
        machine = Machine(device=device_of(config.device))
        runs = ShortRuns(
            self._draw, train, splits.test, machine, opening.folder.work, opening.log, config.seconds, config.seed
        )
        seeds = [config.seed + number for number in range(config.seeds)]
        with opening.phase("runs", f"{len(cells) * len(seeds)} trainings of {len(train)} images"):
            left_out = runs.carry_out(cells, seeds)
        summary = self._summary(runs, cells, seeds, left_out, train, splits.test, found, net, base)
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
        base: BackboneConfig,
    ) -> dict[str, Any]:
        done = [cell for cell in cells if runs.seen(cell, seeds[0]) is not None]
        rows = [_row(runs, cell, seeds, self.config.seed) for cell in done]
        summary: dict[str, Any] = plain(
            {
                "command": self.command,
                "data": data_record(found, train, test),
                "backbone": {
                    "name": base.backbone or name_of(base, net),
                    "blocks": net.block_names,
                    "input_size": net.input.size,
                },
                "cells": rows,
                "left_out": [{"name": name, "reason": reason} for name, reason in left_out.items()],
                "differences": list(_differences(self.config, runs, done, seeds)),
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
    network = config.networks[-1] if config.networks else None
    for projection in config.projections:
        yield Cell(
            f"projection {projection}", ("projection", projection), simclr_with(config, projection=projection), network
        )
    for batch in config.batches:
        # The root of the batch keeps the noise of a step as it was (Krizhevsky 2014).
        lr = (config.lr or simclr_with(config).school.lr) * math.sqrt(batch / config.batch_size)
        made = simclr_with(config, **usual, batch_size=batch, lr=lr)
        yield Cell(f"batch {batch}", ("batch", str(batch)), made, network)
    for name in config.networks:
        yield Cell(f"network {name}", ("network", name), simclr_with(config, **usual), name)
    for epochs in config.lengths:
        yield Cell(f"epochs {epochs}", ("epochs", str(epochs)), simclr_with(config, **usual, epochs=epochs), network)


def _row(runs: ShortRuns, cell: Cell, seeds: Sequence[int], seed: int) -> dict[str, Any]:
    seen = [one for one in (runs.seen(cell, number) for number in seeds) if one is not None]
    found = accuracy(runs.correct(cell, seeds), seed)
    losses = [one["loss"] for one in seen if one["loss"] is not None]
    return {
        "name": cell.name,
        "place": list(cell.place),
        "accuracy": {"mean": found.mean, "low": found.low, "high": found.high},
        "block": seen[0]["block"],
        "loss": float(np.mean(losses)) if losses else None,
        "seconds": float(np.mean([one["seconds"] for one in seen])),
        "seeds": len(seen),
        "settings": asdict(cell.config),
    }


def _differences(
    config: ShortRunsConfig, runs: ShortRuns, cells: Sequence[Cell], seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Of pairs: the best against every other. Of scales: neighbours on each axis."""
    if isinstance(config, AugmentationsConfig):
        ranked = sorted(cells, key=lambda cell: -float(runs.correct(cell, seeds).mean()))
        couples = [(ranked[0], other) for other in ranked[1:]] if ranked else []
    else:
        axes = dict.fromkeys(cell.place[0] for cell in cells)
        on = [[cell for cell in cells if cell.place[0] == axis] for axis in axes]
        couples = [(after, before) for line in on for before, after in pairwise(line)]
    for one, other in couples:
        found = gap(runs.correct(one, seeds), runs.correct(other, seeds), config.seed)
        yield {
            "a": one.name,
            "b": other.name,
            "mean": found.mean,
            "low": found.low,
            "high": found.high,
            "p_value": found.p_value,
            "decided": found.decided,
            "detectable": found.detectable,
        }


PUBLISHED = {
    "augmentations": "SimCLR (ImageNet, ResNet-50): random crop and colour distortion together teach most, more than either",
    "projection": "SimCLR: nonlinear is 3 points above linear, and more than 10 above none",
    "batch": "SimCLR: larger batches are better, the more so the shorter the training",
    "network": "SimCLR: wider and deeper networks gain more than they do with labels",
    "epochs": "SimCLR: longer training is better, up to 1 000 epochs",
}


def sentences(summary: Mapping[str, Any]) -> Iterator[str]:
    """What was found, and what is published."""
    rows = {row["name"]: row for row in summary["cells"]}
    if summary["command"] == "study augmentations" and rows:
        best = max(rows.values(), key=lambda row: row["accuracy"]["mean"])
        rivals = [one for one in summary["differences"] if not one["decided"]]
        told = f"{best['name']} taught most: {_percent(best)}"
        if rivals:
            names = ", ".join(one["b"] for one in rivals[:4])
            told += f"; it cannot be told from {names}{' and others' if len(rivals) > 4 else ''}"
        yield f"{told}. {PUBLISHED['augmentations']}."
        return
    for axis in dict.fromkeys(row["place"][0] for row in rows.values()):
        line = [row for row in rows.values() if row["place"][0] == axis]
        gaps = {one["a"]: one for one in summary["differences"]}
        parts = [f"{line[0]['place'][1]} {_percent(line[0])}"]
        for row in line[1:]:
            one = gaps[row["name"]]
            verdict = "" if one["decided"] else ", undecided"
            points = f"{100 * one['mean']:+.1f} points, {100 * one['low']:+.1f} to {100 * one['high']:+.1f}{verdict}"
            parts.append(f"{row['place'][1]} {_percent(row)} ({points})")
        yield f"{axis}: {'; '.join(parts)}. {PUBLISHED[axis]}."


def _percent(row: Mapping[str, Any]) -> str:
    return f"{100 * row['accuracy']['mean']:.1f} %"


def as_text(summary: Mapping[str, Any]) -> str:
    """The result for a terminal."""
    head = (
        f"{summary['images']} images, {summary['epochs']} epochs of SimCLR on {summary['backbone']['name']}, judged by a "
        "linear probe on the best block"
    )
    lines = [head, ""]
    for row in sorted(summary["cells"], key=lambda row: -row["accuracy"]["mean"]):
        low, high = (100 * row["accuracy"][end] for end in ("low", "high"))
        lines.append(
            f"{row['name']:<24} {_percent(row):>8}  ({low:.1f} to {high:.1f})  {row['block']:<12} {row['seconds']:.0f} s"
        )
    lines += [f"{one['name']:<24} left out: {one['reason']}" for one in summary["left_out"]]
    return "\n".join([*lines, "", *summary["sentences"]])
