"""How transferable each layer of a network is: Yosinski et al. 2014 as one study."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

import headstart
from headstart.catalog.adapt import BackboneConfig
from headstart.catalog.strategies import Recipe
from headstart.catalog.study import LayersConfig
from headstart.data.arrays import VectorSamples
from headstart.data.sources import Source
from headstart.engine import interrupt
from headstart.engine.log import Listener
from headstart.engine.run_folder import RunFolder, open_run
from headstart.errors import ConfigError, problems
from headstart.metrics.cost import format_seconds
from headstart.nets.build import build
from headstart.nets.cost import block_flops
from headstart.nets.library import parse_args
from headstart.nets.net import Net
from headstart.nets.small import convnet8
from headstart.nets.sources import ready
from headstart.seeding import seed_for
from headstart.studies.backbone import typical_side
from headstart.studies.checks import check_kind, device_of
from headstart.studies.layers_data import halves_of, read_data
from headstart.studies.layers_plan import FROZEN, Job, Run, cuts_of, grid, kinds_of
from headstart.studies.layers_records import as_text, splits_record, summary_of
from headstart.studies.layers_runs import Setup, write_filters
from headstart.studies.opening import Opening, fingerprint_of, opened
from headstart.studies.records import again, plain
from headstart.studies.result import JobResult
from headstart.studies.workers import Alone, Clock, Hands, OnRay, Processes, outcomes, ray_or_complain

SIDES = (8, 64)
"""Least and largest side of the eight-layer net's input where none is asked for, in pixels."""
FILTERS = Path("report_data") / "filters.npz"


@dataclass(frozen=True)
class LayersResult(JobResult):
    """What `headstart study layers` found. Prints as text."""

    def __str__(self) -> str:
        return as_text(self.summary)


def layers(
    config: LayersConfig, *, data: Any = None, backbone: nn.Module | Net | None = None, listeners: Sequence[Listener] = ()
) -> LayersResult:
    """Train base, selffer, transfer and control networks at every cut, and say how transferable each layer is.

    data, backbone  given from Python instead of by name: arrays, a Dataset; a Net, whose weights are not used
    listeners       called with every event, for showing progress

    Raises InputError for what the user can mend, RunError about the folder, Interrupted with finished runs kept.
    """
    check(config)
    kinds = kinds_of(config)
    given = tuple(name for name, value in (("data", data), ("backbone", backbone)) if value is not None)
    settings = {"command": "study layers", **asdict(config)}
    for name in ("workers", "ray"):  # who does the runs changes no number
        settings.pop(name)
    with open_run(config.out, settings, resume=config.resume, overwrite=config.overwrite) as folder:
        done = folder.summary if folder.resumed else None
        if done is not None and not done["failed"]:
            folder.clean()
            return LayersResult(folder.path, done)
        opening = Opening(folder, BackboneConfig(), config.images, 2, config.seed, tuple(listeners))
        source = opened(config.data if data is None else data, config.images)
        return _Job(config, kinds, opening, source, given).run(backbone)


def check(config: LayersConfig) -> None:
    """Raise ConfigError listing every setting that cannot be."""
    device = device_of(config.device)
    rules = [
        (config.splits >= 1, f"--splits {config.splits} must be at least 1"),
        (config.seeds >= 1, f"--seeds {config.seeds} must be at least 1"),
        (config.epochs >= 1, f"--epochs {config.epochs} must be at least 1"),
        (config.batch_size >= 2, f"--batch-size {config.batch_size} must be at least 2"),
        (config.lr > 0, f"--lr {config.lr} must be positive"),
        (config.classes is None or config.classes >= 2, f"--classes {config.classes}: a half needs 2 at least"),
        (config.limit is None or config.limit >= 4, f"--limit {config.limit}: a half needs a few images"),
        (config.workers is None or config.workers >= 1, f"--workers {config.workers} must be at least 1"),
        (
            0 < config.images.test_fraction < 1,
            f"--test-fraction {config.images.test_fraction} must lie between 0 and 1, e.g. 0.2",
        ),
        (
            config.source is None or config.splits == 1,
            f"--splits {config.splits}: two data sets are not split; leave --splits out, and use --seeds",
        ),
        (config.source is None or config.classes is None, "--classes does not go with --source, which is a half as it is"),
        (
            not config.ray or device == "cpu",
            f"--ray hands out runs for one core each; --device {config.device} does not go with it",
        ),
    ]
    problems(ConfigError, "these settings cannot be:", [text for holds, text in rules if not holds])
    if config.ray:
        ray_or_complain()


@dataclass
class _Job:
    """One study, phase by phase."""

    config: LayersConfig
    kinds: tuple[str, ...]
    opening: Opening
    source: Source
    given: tuple[str, ...] = ()
    failed: list[dict[str, str]] = field(default_factory=list)

    @property
    def folder(self) -> RunFolder:
        return self.opening.folder

    def run(self, backbone: nn.Module | Net | None) -> LayersResult:
        began = time.monotonic()
        config, opening = self.config, self.opening
        with opening.phase("network", "building the network"):
            net = network(config, self.source, backbone)
            check_kind(self.source, net.input)
            cuts = cuts_of(net, config.cuts)
        with opening.phase("data", "reading and inspecting the images"):
            data = read_data(self.source, net, opening)
            other = None if config.source is None else read_data(opened(config.source, config.images), net, opening)
            splits, halves, make = halves_of(config, self.kinds, self.source, data, other, opening)
        jobs = grid(config, splits, cuts)
        self._check_workers(jobs)
        inputs = {"images": data.fingerprint, "network": _identity(net)}
        opening.begin_with(data, **inputs, **({} if other is None else {"source": other.fingerprint}))
        setup = Setup(
            folder=self.folder.work.resolve(),
            network=net.source if net.source is not None else net,
            cuts={cut.n: cut.blocks for cut in cuts},
            halves=make(self.folder.work.resolve() / "halves"),
            recipe=recipe_of(config),
            seed=config.seed,
            device=device_of(config.device),
        )
        records = self._grid(setup, jobs, net)
        with opening.phase("answers", "comparing the runs"):
            found = plain(
                {
                    **summary_of(
                        config, setup, records, net, cuts, data, self.kinds, splits_record(splits, halves, config.seed)
                    ),
                    "filters": self._filters(setup, records),
                    "failed": self.failed,
                }
            )
        summary = found | {
            "seconds_by_phase": {name: round(value, 2) for name, value in opening.seconds.items()},
            "seconds": round(time.monotonic() - began, 2),
            "reproduce": again("study layers", config, self.given),
            "version": headstart.__version__,
        }
        self.folder.write("summary.json", summary)
        if not self.failed:
            self.folder.clean()
        opening.log.event("phase", name="done", text="done")
        return LayersResult(self.folder.path, summary)

    def _check_workers(self, jobs: Sequence[Job]) -> None:
        if self.config.workers is not None and self.config.workers > len(jobs):
            raise ConfigError(
                f"--workers {self.config.workers}: there are only {len(jobs)} pieces of work; give at most that many"
            )

    # --- the grid ------------------------------------------------------------------------------------------------------

    def _grid(self, setup: Setup, jobs: Sequence[Job], net: Net) -> dict[Run, dict[str, Any]]:
        """Every run that succeeds, finished earlier or now."""
        runs = [run for job in jobs for run in job.runs]
        records = {run: record for run in runs if (record := setup.done(run)) is not None}
        open_ = [job for job in jobs if any(run not in records for run in job.runs)]
        flops = block_flops(net)
        costs = {job: sum(_cost(setup, run, flops) for run in job.runs if run not in records) for job in open_}
        count = self._count(len(open_), setup.device)
        text = f"{len(runs)} runs, {len(runs) - len(records)} to do, by {count} {'worker' if count == 1 else 'workers'}"
        with self.opening.phase("runs", text):
            self.opening.log.event("grid", runs=len(runs), done=len(records), workers=count, ray=self.config.ray)
            hands = self._hands(setup, count) if open_ else None
            try:
                if hands is not None:
                    self._follow(setup, open_, hands, records, costs)
            finally:
                if hands is not None:
                    hands.close()
        return records

    def _count(self, jobs: int, device: str) -> int:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        wanted = self.config.workers or (cores if device == "cpu" else 1)
        return max(1, min(wanted, jobs))

    def _hands(self, setup: Setup, count: int) -> Hands:
        if self.config.ray:
            return OnRay(setup, self.config.workers)
        return Alone(setup) if count == 1 else Processes(setup, count)

    def _follow(
        self,
        setup: Setup,
        jobs: Sequence[Job],
        hands: Hands,
        records: dict[Run, dict[str, Any]],
        costs: Mapping[Job, float],
    ) -> None:
        """Keep what ends, and say how much is left."""
        log, clock, told = self.opening.log, Clock(sum(costs.values())), 0
        for number, outcome in enumerate(outcomes(_ordered(jobs, costs), hands, set(records), interrupt.check)):
            for run in outcome.job.runs:
                record = setup.done(run)
                if record is None:
                    self._fail(run, outcome.reason or "it left no record")
                elif run not in records:
                    records[run] = record
                    log.event("run", run=run.name, accuracy=record["accuracy"], seconds=record["seconds"])
            clock.done += costs[outcome.job]
            left = clock.left()
            about = "" if left is None else f", about {format_seconds(max(1, round(left)))} left"
            log.tick(number + 1, len(jobs), f"run {number + 1} of {len(jobs)}{about}")
            tenth = int(10 * clock.done / clock.total) if clock.total else 10
            if told < tenth < 10:
                told = tenth
                log.event("note", text=f"  {10 * tenth} % done{about}")

    def _fail(self, run: Run, reason: str) -> None:
        self.failed.append({"run": run.name, "reason": reason})
        self.opening.log.event("warning", text=f"{run.name} failed: {reason}")

    # --- the end -------------------------------------------------------------------------------------------------------

    def _filters(self, setup: Setup, records: Iterable[Run]) -> str | None:
        base = next((run for run in records if run.kind == "base"), None)
        if base is None or not write_filters(setup, base, self.folder.path / FILTERS):
            return None
        return str(FILTERS)


def network(config: LayersConfig, source: Source, given: nn.Module | Net | None) -> Net:
    """The architecture asked for, or the eight-layer net for images of this size; its weights are not used."""
    wanted = config.network
    if isinstance(given, Net):
        return given
    if given is not None or wanted.backbone is not None:
        name = given if given is not None else wanted.backbone
        size, args = wanted.size, parse_args(wanted.backbone_args)
        return build(name, args=args, size=size, pretrained=False, seed=seed_for(config.seed, "layers", "network"))
    if isinstance(source.samples, VectorSamples):
        raise ConfigError("the data are vectors, for which there is no default network; give one as `backbone`")
    if wanted.backbone_args:
        raise ConfigError(
            f"--backbone-args {' '.join(wanted.backbone_args)}: these need --backbone, the network they belong to"
        )
    size = wanted.size or min(max(SIDES[0], 4 * round(typical_side(source) / 4)), SIDES[1])
    try:
        return ready(convnet8(size))
    except ValueError as error:
        raise ConfigError(f"--size {size}: {error}") from error


def recipe_of(config: LayersConfig) -> Recipe:
    """How every run trains. Images are seen as they are, so that what frozen layers put out is computed once."""
    return Recipe(epochs=config.epochs, batch_size=config.batch_size, lr=config.lr, augment=False, seed=config.seed)


def _identity(net: Net) -> str:
    """What the runs depend on: the architecture; of a module given from Python all of it."""
    return repr(sorted(net.source.items())) if net.source is not None else fingerprint_of(net)


def _cost(setup: Setup, run: Run, flops: Mapping[str, int]) -> float:
    """Multiply-adds of a run, about: backward takes twice as many as forward, and a frozen part is computed once."""
    images = len(setup.half(run).train)
    whole, cut = sum(flops.values()), sum(flops[name] for name in setup.cuts.get(run.n, ()))
    frozen = cut if run.kind in FROZEN else 0
    return images * (3 * (whole - frozen) * setup.recipe.epochs + frozen) + 1e6 * images * setup.recipe.epochs


def _ordered(jobs: Sequence[Job], costs: Mapping[Job, float]) -> list[Job]:
    """Long ones first, so that no worker is left with one at the end; bases before all, because others wait for them."""
    return sorted(jobs, key=lambda job: (job.runs[0].kind != "base", -costs[job]))
