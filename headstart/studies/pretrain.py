"""`headstart pretrain` as a job: learn from images without labels, judge it meanwhile, and give a verdict at the end."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from headstart.catalog.adapt import AdaptConfig, BackboneConfig
from headstart.catalog.pretrain import PretrainConfig, check_settings
from headstart.catalog.pretraining import PretrainMethod
from headstart.data.pool import read_pool
from headstart.data.pool_sources import open_pool
from headstart.data.prepare import DataSet
from headstart.data.sources import Source
from headstart.data.views import View
from headstart.engine import distributed, interrupt
from headstart.engine.evaluate import looking
from headstart.engine.fit import Machine
from headstart.engine.log import Listener, RunLog, read_lines
from headstart.engine.model import Card, Model
from headstart.engine.run import Drive, stored
from headstart.engine.run_folder import open_run
from headstart.engine.trained import release
from headstart.errors import NonFiniteLoss
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.stage import Evaluate, Part, Solve, Stage
from headstart.strategies.pretrain import Pretrain
from headstart.studies.checks import check_apart, check_kind, device_of
from headstart.studies.costs import passing_flops
from headstart.studies.elapsed import Elapsed
from headstart.studies.opening import Opening, shrunk
from headstart.studies.pretrain_data import Parts, parts_of
from headstart.studies.pretrain_kept import last_good
from headstart.studies.pretrain_look import Looker
from headstart.studies.pretrain_method import Method, check_method, check_views, method_of
from headstart.studies.pretrain_passes import passes_of, renderings_of
from headstart.studies.pretrain_records import Found, as_text, card_of, chance_of, summary_of, write_pictures
from headstart.studies.pretrain_start import forgotten, network_of, starting_net
from headstart.studies.pretrain_verdict import Other, other_network, verdict_of, why_none
from headstart.studies.pretrain_watch import Watch, looks_of, worse
from headstart.studies.result import JobResult

_PRETRAINING, _LOOKING = "pretraining", "looking"


@dataclass(frozen=True)
class PretrainResult(JobResult):
    """What `headstart pretrain` found. Prints as text."""

    def __str__(self) -> str:
        return as_text(self.summary)


def pretrain(
    config: PretrainConfig,
    *,
    data: Any = None,
    backbone: Any = None,
    method: tuple[Pretrain, PretrainMethod] | None = None,
    listeners: Sequence[Listener] = (),
) -> PretrainResult:
    """Pretrain a backbone; see `PretrainConfig`.

    data      given from Python instead of by name, see `data.pool_sources.open_pool`
    backbone  a `Net` or an nn.Module instead of a name
    method    a way to pretrain of one's own, called `config.method`, and what is to be known of it

    Raises InputError for what the user can mend, RunError about the folder, TrainingError, Interrupted after saving.
    """
    check_settings(config, given=data is not None, methods=None if method is None else {config.method: method[1]})
    check_apart(AdaptConfig(config.data, config.out, config.network), None if data is not None else Path(config.data))
    distributed.start(device_of(config.device))
    with open_run(
        config.out, {"command": "pretrain", **asdict(config)}, resume=config.resume, overwrite=config.overwrite
    ) as folder:
        done = folder.finished(listeners)
        if done is not None:
            return PretrainResult(folder.path, done)
        given = tuple(name for name, value in {"data": data, "backbone": backbone}.items() if value is not None)
        images = config.images
        columns = {
            "path": images.path_column,
            "label": images.label_column,
            "group": images.group_column,
            "split": images.split_column,
        }
        source = open_pool(config.data if data is None else data, labels=config.labels, columns=columns)
        network = network_of(config, source, backbone)
        opening = Opening(folder, network, images, 0, config.seed, tuple(listeners))
        return _Job(config, network, opening, source, given).run(backbone, method)


@dataclass
class _Job:
    """One run, phase by phase."""

    config: PretrainConfig
    network: BackboneConfig
    opening: Opening
    source: Source
    given: tuple[str, ...] = ()
    clock: Elapsed = field(default_factory=Elapsed)
    views: dict[str, View] = field(default_factory=dict)

    def run(self, backbone: Any, given: tuple[Pretrain, PretrainMethod] | None) -> PretrainResult:
        began, opening, config = time.monotonic(), self.opening, self.config
        with opening.phase("network", "loading the network"):
            net = starting_net(config, self.network, self.source, backbone)
            check_kind(self.source, net.input)
            for text in forgotten(config, backbone):
                opening.log.event("warning", text=text)
            method = method_of(config, given, net.input.size)
        with opening.phase("data", "reading and inspecting the images"):
            data = self._read(net)
            parts = parts_of(data, test_fraction=config.images.test_fraction, seed=config.seed, log=opening.log)
        check_method(method, net, parts, data.inspection.sizes, config.images.fit)
        for text in method.warnings(parts):
            opening.log.event("warning", text=text)
        other = Other("") if why_none(config, parts) else other_network(config, self.source, copy.deepcopy(net))
        found = Found(config, self.network, data, parts, method, net, self.given)
        start, card = copy.deepcopy(net), card_of(found)
        device = device_of(config.device)
        machine = Machine(device=device, cache=opening.folder.work / "cache")
        machine = replace(machine, cache_limit=max(machine.cache_limit, method.room))
        drive = Drive(net.to(device), seed_for(config.seed, "pretrain"), machine, log=opening.log)
        stages = self._begin(drive, method, parts, partial(opening.begin, start, data))
        self.clock.keep_in(opening.folder.work / "seconds.json")
        looker = Looker(parts, seed_for(config.seed, "look"))
        first = self._first_look(copy.deepcopy(start).to(device), looker)
        done = self._pretrain(drive, stages, found, looker, card)
        self._compare(first, parts)
        net.to("cpu")
        distributed.first(lambda: Model(net, card).save(opening.folder.path / "model"))
        found = replace(found, first=first, stages=done, views=self.views, seconds=self.clock.seconds)
        with opening.phase("verdict", why_none(config, parts) or "comparing with other starts"):
            verdict = verdict_of(config, opening, self.source, data, parts, net, start, other, machine)
        with opening.phase("outcome", "writing down what was found"):
            summary = summary_of(found, opening.log.path, opening.seconds, verdict)
        summary["seconds"] = round(time.monotonic() - began, 2)
        distributed.first(lambda: write_pictures(found, opening.folder.path))
        distributed.first(lambda: opening.folder.write("summary.json", summary))
        distributed.first(opening.folder.clean)
        opening.log.event("phase", name="done", text="done")
        return PretrainResult(opening.folder.path, summary)

    def _read(self, net: Net) -> DataSet:
        opening = self.opening

        def progress(done: int, total: int) -> None:
            interrupt.check()
            opening.log.tick(done, total, "reading images")

        def once() -> DataSet:
            return read_pool(
                self.source,
                size=net.input.size,
                fit=self.config.images.fit,
                cache=opening.folder.work / "data",
                progress=progress,
            )

        data = distributed.first(once)
        for warning in (*data.inspection.warnings, *shrunk(data, net)):
            opening.log.event("warning", text=warning)
        return data

    def _first_look(self, net: Net, looker: Looker) -> dict[str, float]:
        """What the network is worth before it learns."""
        if not self.config.looks:
            return {}

        def look() -> dict[str, float]:
            with looking(net):
                return looker(net)

        with self.opening.phase("start", "judging the network as it starts"):
            found = stored(self.opening.folder.work / "start.safetensors", look, self.opening.log)
        return {str(name): float(value) for name, value in found.items()}

    def _begin(self, drive: Drive, method: Method, parts: Parts, begin: Callable[[], None]) -> Generator[Stage | Solve]:
        """The method's stages, the first of them made: one that cannot do as asked says so then, before `begin` replaces an
        earlier run. A run that goes on has begun before; what it worked out for the first stage is read, not done again."""
        folder = self.opening.folder

        def begun() -> None:
            begin()
            drive.log = self.opening.log
            drive.keep_in(folder.work / "pretraining")

        if folder.resumed:
            begun()
        stages = method.stages(drive.net, parts)
        release(drive.net)
        with drive.ahead():
            first = next(stages)
            check_views(method, drive.net, first)
        if not folder.resumed:
            begun()
        return _after(first, stages)

    def _compare(self, first: Mapping[str, float], parts: Parts) -> None:
        """Say aloud where features are worth less than they were."""
        looks = looks_of(read_lines(self.opening.log.path))
        for remark in worse(first, looks[-1], len(parts.held) if parts.held is not None else 0) if looks else ():
            self.opening.log.event(remark.kind, key=remark.key, text=remark.text)

    def _pretrain(
        self, drive: Drive, stages: Generator[Stage | Solve], found: Found, looker: Looker, card: Card
    ) -> list[dict[str, Any]]:
        """Carry out the method; returns its stages in short."""
        opening, seen, net = self.opening, list[dict[str, Any]](), drive.net
        assert drive.machine is not None
        watch = Watch(lambda: opening.log)
        drive.log = RunLog(opening.log.path, (*opening.log.listeners, self.clock.heard, watch.heard))
        place = opening.folder.work / "pretraining"
        text = f"{found.method.name} on {len(found.parts.pool)} images"
        with opening.phase("pretraining", text), self.clock.during(_PRETRAINING):
            watched = self._watched(found.method, stages, looker, seen, partial(passing_flops, net, drive.machine))
            try:
                with closing(watched):  # a method that has taken the network apart puts it together again
                    results = drive.run(watched)
            except NonFiniteLoss as error:
                told = partial(last_good, error, net, place, card, opening.folder.work / "last_good")
                raise distributed.first(told) from error
        return [{**one, **_shape(result)} for one, result in zip(seen, results, strict=True)]

    def _watched(
        self,
        method: Method,
        stages: Iterator[Stage | Solve],
        looker: Looker,
        seen: list[dict[str, Any]],
        flops: Callable[[Stage | Solve], float | None],
    ) -> Generator[Stage | Solve]:
        """The same stages, each judged now and then; what they are is told in `seen`."""
        for stage in stages:
            epochs = stage.budget.epochs if isinstance(stage, Stage) else None
            shown = {"renderings": renderings_of(stage), "passes": passes_of(method, stage)}
            seen.append({"name": stage.name, "epochs": epochs, "flops": flops(stage), **shown})
            if isinstance(stage, Stage):
                self.views = {**stage.views, **self.views}
            if isinstance(stage, Stage) and stage.evaluate is None and epochs is not None and self.config.looks:
                stage = self._looked_at(stage, epochs, replace(looker, views=stage.views))
            yield stage

    def _looked_at(self, stage: Stage, epochs: int, looker: Looker) -> Stage:
        """The stage with its looks: as many as asked for over the whole training that it is a part of."""
        part = stage.part or Part(0, epochs)
        every, after = max(1, -(-part.of // self.config.looks)), part.before + epochs
        if after // every == part.before // every and after < part.of:
            return stage
        return replace(stage, evaluate=Evaluate(min(every, epochs), self._look(stage, looker, part)))

    def _look(self, stage: Stage, looker: Looker, part: Part) -> Callable[[Net], Mapping[str, float]]:
        before = {} if stage.part is None else {"before": part.before}

        def look(net: Net) -> dict[str, float]:
            self.clock.keep()
            at = self.clock.seconds.get(_PRETRAINING, 0.0)
            with self.clock.during(_LOOKING):
                numbers = looker(net)
            chance = chance_of(stage)
            known = {**numbers, **({} if chance is None else {"chance": chance})}
            return {**known, **before, "at": round(at, 3), "of": part.of}

        return look


def _after(first: Stage | Solve, stages: Generator[Stage | Solve]) -> Generator[Stage | Solve]:
    """The stages, of which the first one has been drawn already."""
    with closing(stages):  # a method that has taken the network apart puts it together again
        yield first
        yield from stages


def _shape(result: Any) -> dict[str, Any]:
    return {name: getattr(result, name) for name in ("steps", "trained") if hasattr(result, name)}
