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

import numpy as np
import torch

from headstart.catalog.adapt import AdaptConfig, BackboneConfig
from headstart.catalog.pretrain import PretrainConfig, check_settings
from headstart.catalog.pretraining import PretrainMethod
from headstart.data.pool import read_pool
from headstart.data.pool_sources import open_pool
from headstart.data.prepare import DataSet
from headstart.data.sources import Source
from headstart.data.views import View
from headstart.engine import distributed, interrupt
from headstart.engine.checkpoint import load_state
from headstart.engine.evaluate import looking
from headstart.engine.fit import Machine
from headstart.engine.log import Listener, RunLog
from headstart.engine.model import Card, Model
from headstart.engine.run import Drive, stored
from headstart.engine.run_folder import open_run
from headstart.engine.trained import release
from headstart.errors import CheckpointError, NonFiniteLoss
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.stage import Evaluate, Solve, Stage
from headstart.strategies.pretrain import Pretrain
from headstart.studies.checks import check_apart, check_kind, device_of
from headstart.studies.costs import passing_flops
from headstart.studies.elapsed import Elapsed
from headstart.studies.opening import Opening, shrunk
from headstart.studies.pretrain_data import parts_of
from headstart.studies.pretrain_look import Looker
from headstart.studies.pretrain_method import check_method, method_of
from headstart.studies.pretrain_records import Found, as_text, card_of, chance_of, summary_of, write_pictures
from headstart.studies.pretrain_start import network_of, starting_net
from headstart.studies.pretrain_verdict import Other, other_network, verdict_of, why_none
from headstart.studies.pretrain_watch import Watch
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
        done = folder.finished()
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
            method = method_of(config, given, net.input.size)
        with opening.phase("data", "reading and inspecting the images"):
            data = self._read(net)
            parts = parts_of(data, test_fraction=config.images.test_fraction, seed=config.seed, log=opening.log)
        check_method(method, net, parts, _sides(data), config.images.fit)
        other = Other("") if why_none(config, parts) else other_network(config, self.source, copy.deepcopy(net))
        found = Found(config, self.network, data, parts, method, net, self.given)
        start, card = copy.deepcopy(net), card_of(found)
        device = device_of(config.device)
        stages = _begun(method.stages(net.to(device), parts), net)
        opening.begin(start, data)
        self.clock.keep_in(opening.folder.work / "seconds.json")
        machine = Machine(device=device, cache=opening.folder.work / "cache")
        machine = replace(machine, cache_limit=max(machine.cache_limit, method.room))
        looker = Looker(parts, seed_for(config.seed, "look"))
        first = self._first_look(copy.deepcopy(start).to(device), looker)
        done = self._pretrain(net, stages, found, looker, machine, card)
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

    def _pretrain(
        self, net: Net, stages: Iterator[Stage | Solve], found: Found, looker: Looker, machine: Machine, card: Card
    ) -> list[dict[str, Any]]:
        """Carry out the method; returns its stages in short."""
        opening, seen = self.opening, list[dict[str, Any]]()
        watch = Watch(lambda: opening.log)
        log = RunLog(opening.log.path, (*opening.log.listeners, self.clock.heard, watch.heard))
        place = opening.folder.work / "pretraining"
        drive = Drive(net, seed_for(self.config.seed, "pretrain"), machine, place, None, log)
        text = f"{found.method.name} on {len(found.parts.pool)} images"
        with opening.phase("pretraining", text), self.clock.during(_PRETRAINING):
            watched = self._watched(stages, looker, seen, partial(passing_flops, net, machine))
            try:
                with closing(watched):  # a method that has taken the network apart puts it together again
                    results = drive.run(watched)
            except NonFiniteLoss as error:
                raise NonFiniteLoss(f"{error}{distributed.first(lambda: self._last_good(net, place, card))}") from error
        return [{**one, **_shape(result)} for one, result in zip(seen, results, strict=True)]

    def _watched(
        self,
        stages: Iterator[Stage | Solve],
        looker: Looker,
        seen: list[dict[str, Any]],
        flops: Callable[[Stage | Solve], float | None],
    ) -> Generator[Stage | Solve]:
        """The same stages, each judged now and then; what they are is told in `seen`."""
        for stage in stages:
            epochs = stage.budget.epochs if isinstance(stage, Stage) else None
            seen.append({"name": stage.name, "epochs": epochs, "flops": flops(stage)})
            if isinstance(stage, Stage):
                self.views = {**stage.views, **self.views}
            if isinstance(stage, Stage) and stage.evaluate is None and epochs is not None and self.config.looks:
                every = max(1, -(-epochs // self.config.looks))
                look = self._look(stage, replace(looker, views=stage.views), epochs)
                stage = replace(stage, evaluate=Evaluate(every, look))
            yield stage

    def _look(self, stage: Stage, looker: Looker, epochs: int) -> Callable[[Net], Mapping[str, float]]:
        def look(net: Net) -> dict[str, float]:
            self.clock.keep()
            at = self.clock.seconds.get(_PRETRAINING, 0.0)
            with self.clock.during(_LOOKING):
                numbers = looker(net)
            chance = chance_of(stage)
            return {**numbers, **({} if chance is None else {"chance": chance}), "at": round(at, 3), "of": epochs}

        return look

    def _last_good(self, net: Net, place: Path, card: Card) -> str:
        """Where the weights before the loss went astray are kept, as a backbone; nothing where there are none yet."""
        kept = sorted({path.parent for path in place.glob("*/*.safetensors")})
        state = _sound(kept[-1]) if kept else None
        if state is None:
            return ". It came to that before a first checkpoint was due"
        last = copy.deepcopy(net).cpu()
        last.heads.clear()
        last.load_state_dict({name: value for name, value in state.items() if name in last.state_dict()}, strict=False)
        target = Model(last, card).save(self.opening.folder.work / "last_good")
        return f"; it can be gone on from: --start trained --backbone {target} with a smaller --lr and another --out"


def _begun(stages: Iterator[Stage | Solve], net: Net) -> Iterator[Stage | Solve]:
    """The same stages, the first of them made: a method that cannot do as asked says so then, before anything is written."""
    release(net)
    first = next(stages)

    def every() -> Iterator[Stage | Solve]:
        yield first
        yield from stages

    return every()


def _sound(place: Path) -> Mapping[str, torch.Tensor] | None:
    """The network in the newest checkpoint, or finished stage, that holds numbers throughout; None where there is none."""
    for name in ("latest", "previous", "finished"):
        path = place / f"{name}.safetensors"
        try:
            state: Mapping[str, torch.Tensor] = load_state(path)["net"] if path.exists() else {}
        except CheckpointError:
            continue
        if state and all(bool(torch.isfinite(value).all()) for value in state.values()):
            return state
    return None


def _shape(result: Any) -> dict[str, Any]:
    return {name: getattr(result, name) for name in ("steps", "trained") if hasattr(result, name)}


def _sides(data: DataSet) -> tuple[float, ...]:
    sizes = data.inspection.sizes
    return () if sizes is None else (float(np.round(sizes.width[1])), float(np.round(sizes.height[1])))
