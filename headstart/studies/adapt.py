"""The main job: from images and a pretrained network to a verified, adapted model.

Inspect, measure, advise, race the advice against its rivals, refit the winner on all training data, read the test images
once, save. Every phase leaves files, so that a killed run goes on where it was.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.catalog.adapt import AdaptConfig
from headstart.catalog.durations import parse_seconds
from headstart.data.prepare import DataSet, prepare
from headstart.data.sources import Source, open_source
from headstart.data.task import Task
from headstart.engine import distributed, interrupt
from headstart.engine.evaluate import answers
from headstart.engine.features import FeatureBank
from headstart.engine.fit import Machine
from headstart.engine.log import Listener, RunLog
from headstart.engine.model import Model
from headstart.engine.run import Drive, stored
from headstart.engine.run_folder import RunFolder, open_run
from headstart.engine.trained import digest
from headstart.errors import NonFiniteLoss
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.strategies import STRATEGIES
from headstart.studies import outcome
from headstart.studies.arms import Plan, advised_arm, all_arms, base_recipe, pick, plan_race
from headstart.studies.backbone import choose, untrained
from headstart.studies.checks import check_apart, check_kind, check_settings, device_of
from headstart.studies.measure import Measures, measure
from headstart.studies.race import Arm, Race
from headstart.studies.splitting import Splits, split
from headstart.studies.verdict import judge

_REFIT_SHARE = 0.25
"""Part of the budget kept for learning the winner again on all training images."""


def _what_runs(race: Race, budget: float) -> str:
    if len(race.arms) == 1:
        return f"judging {race.arms[0].name} on {len(race.folds)} fold{'s' if len(race.folds) > 1 else ''}"
    return f"racing {len(race.arms)} arms for up to {budget:.0f} s"


@dataclass(frozen=True)
class AdaptResult:
    """What `headstart adapt` found and made. Prints as a table.

    folder   the run folder; `model` is loaded from it on demand
    summary  the content of summary.json
    """

    folder: Path
    summary: dict[str, Any] = field(repr=False)

    @property
    def model(self) -> Model:
        """The saved model."""
        return Model.load(self.folder)

    @property
    def report(self) -> Path:
        """Path of the page (written by `headstart.adapt` and the command line)."""
        return self.folder / "report.html"

    def __str__(self) -> str:
        return outcome.as_text(self.summary)


def adapt(
    config: AdaptConfig,
    *,
    data: Any = None,
    backbone: torch.nn.Module | Net | None = None,
    listeners: Sequence[Listener] = (),
) -> AdaptResult:
    """Adapt a network to data and verify it; see `AdaptConfig` for the settings.

    data, backbone  given from Python instead of by name: arrays, a Dataset; an nn.Module
    listeners       called with every event, for showing progress

    Raises InputError for what the user can mend, RunError about the folder, Interrupted after saving.
    """
    budget = parse_seconds(config.budget)
    check_settings(config)
    check_apart(config, None if data is not None else Path(config.data))
    distributed.start(device_of(config.device))
    settings = {"command": "adapt", **asdict(config)}
    with open_run(config.out, settings, resume=config.resume, overwrite=config.overwrite) as folder:
        done = distributed.first(lambda: folder.summary if folder.resumed else None)
        if done is not None:
            folder.clean()
            return AdaptResult(folder.path, done)
        given = tuple(name for name, value in (("data", data), ("backbone", backbone)) if value is not None)
        job = _Job(config, folder, budget, tuple(listeners), given)
        source = open_source(config.data if data is None else data, **_columns(config))
        return job.run(source, backbone)


def _columns(config: AdaptConfig) -> dict[str, str | None]:
    images = config.images
    return {
        "path_column": images.path_column,
        "label_column": images.label_column,
        "group_column": images.group_column,
        "split_column": images.split_column,
    }


def _shrunk(data: DataSet, net: Net) -> list[str]:
    """A word of warning when the network sees a small part of the pictures' detail."""
    sizes = data.inspection.sizes
    side = max(sizes.width[1], sizes.height[1]) if sizes is not None else 0.0
    if side < 4 * net.input.size:
        return []
    return [
        f"images of about {side:.0f} px are reduced to the {net.input.size} px this network sees, which loses most of their "
        "detail; a network for larger images, e.g. --backbone timm:resnet18, will probably do better"
    ]


@dataclass
class _Job:
    """One run, phase by phase. `seconds` collects what each took.

    Until data and network are known to be usable, nothing is written that would replace an earlier run: `early` keeps
    what there was to log.
    """

    config: AdaptConfig
    folder: RunFolder
    budget: float
    listeners: tuple[Listener, ...] = ()
    given: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    early: list[dict[str, Any]] = field(default_factory=list)
    log: RunLog = field(init=False)

    def __post_init__(self) -> None:
        self.log = RunLog(None, (*self.listeners, self.early.append))

    def run(self, source: Source, backbone: torch.nn.Module | Net | None) -> AdaptResult:
        began = time.monotonic()
        if self.config.resume and not self.folder.resumed:
            self.log.event("note", text=f"{self.folder.path} holds no run to go on with; this is a new one")
        with self._phase("network", "loading the network"):
            net = self._network(source, backbone)
        machine = Machine(device=device_of(self.config.device), cache=self.folder.work / "cache")
        net.to(machine.device)
        with self._phase("data", "reading and inspecting the images"):
            data = self._prepare(source, net)
            splits = self._split(data)
        self._begin(net, data)
        bank = FeatureBank(self.folder.work / "features", log=self.log)
        with self._phase("measure", "one pass of the backbone over all images"):
            measured: Measures = distributed.first(
                lambda: measure(
                    net,
                    splits.train,
                    splits.folds,
                    bank,
                    seed=self.config.seed,
                    log=self.log,
                    pretrained=not untrained(self.config.network),
                )
            )
        race = self._race(net, splits, measured, machine, bank)
        with self._phase("verify", _what_runs(race, self.budget)):
            standings = race.run()
        verdict = judge(standings, splits.folds, race.advised, seed_for(self.config.seed, "verdict"))
        chosen = next(arm for arm in race.arms if arm.name == verdict.chosen)
        with self._phase("refit", f"learning the winner, {chosen.label.lower()}, on all training images"):
            final = self._refit(net, chosen, splits, machine, bank)
        with self._phase("test", "reading the test images, once"):
            probabilities = self._test(final, splits.test)
        result = outcome.Outcome(
            self.config,
            net,
            final,
            data,
            splits.train,
            splits.test,
            measured,
            race,
            standings,
            verdict,
            probabilities,
            given=self.given,
        )
        self.seconds["all"] = time.monotonic() - began
        return self._save(result)

    def _network(self, source: Source, backbone: torch.nn.Module | Net | None) -> Net:
        """The network to start from, once it and the strategies asked for are known to go with the data."""
        net = choose(source, self.config.network, backbone, seed=self.config.seed)
        check_kind(source, net.input)
        if untrained(self.config.network):
            said = f"{self.config.network.backbone} has weights drawn at random: nothing is known before it is trained"
            self.log.event("warning", text=said)
        for note in (net.source or {}).get("notes", ()):
            self.log.event("note", text=note)
        pick(all_arms(net, base_recipe(net, 1, mirror=True, class_weights=False), seed=0), self.config.strategies)
        return net

    def _test(self, net: Net, task: Task) -> NDArray[np.float32]:
        """Calibrated class probabilities `[N, C]` on the test images."""
        logits = torch.from_numpy(answers(net, task)).to(net.device)
        found: NDArray[np.float32] = net.head(task.name).probabilities(logits).detach().cpu().numpy()
        return found

    @contextmanager
    def _phase(self, name: str, text: str) -> Iterator[None]:
        interrupt.check_together()
        self.log.event("phase", name=name, text=text)
        began = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    def _prepare(self, source: Source, net: Net) -> DataSet:
        def progress(done: int, total: int) -> None:
            interrupt.check()
            self.log.tick(done, total, "reading images")

        def read() -> DataSet:
            fit, cache = self.config.images.fit, self.folder.work / "data"
            return prepare(source, size=net.input.size, fit=fit, cache=cache, progress=progress)

        data = distributed.first(read)  # the others map the file that the first one has decoded to
        for warning in (*data.inspection.warnings, *_shrunk(data, net)):
            self.log.event("warning", text=warning)
        return data

    def _begin(self, net: Net, data: DataSet) -> None:
        """From here on the folder is this run's."""
        state = digest(net.state_dict())
        network = hashlib.blake2b("".join(name + state[name] for name in sorted(state)).encode(), digest_size=16)
        self.folder.begin(images=data.fingerprint, network=network.hexdigest())
        self.folder.write("inspection.json", data.inspection.to_json())
        quiet = RunLog(self.folder.log)
        for line in self.early:
            if line["event"] != "tick":
                quiet.event(line["event"], **{name: value for name, value in line.items() if name != "event"})
        self.log = RunLog(self.folder.log, self.listeners)

    def _split(self, data: DataSet) -> Splits:
        config = self.config
        fraction = config.images.test_fraction
        return split(data, test_fraction=fraction, folds=config.folds, seed=config.seed, log=self.log)

    def _race(self, net: Net, splits: Splits, measured: Measures, machine: Machine, bank: FeatureBank) -> Race:
        config = self.config
        recipe = base_recipe(net, len(splits.folds[0][0]), mirror=config.mirror, class_weights=config.class_weights)
        recipe = replace(
            recipe,
            smoothing=config.smoothing,
            mixup=config.mixup,
            patience=config.patience,
            average=config.average,
        )
        every = all_arms(net, recipe, seed=config.seed)
        advised = advised_arm(every, measured.advice.strategy)
        arms = [advised] if config.trust else pick(every, config.strategies)
        if advised.name not in {arm.name for arm in arms}:
            arms = [*arms, advised]
        plan = self._plan(net, arms, advised, splits, measured)
        self.log.event("plan", arms=[arm.name for arm in plan.arms], epochs=plan.epochs, left_out=plan.left_out)
        return Race(
            net,
            splits.train,
            plan.arms,
            splits.folds,
            advised.name,
            (1 - _REFIT_SHARE) * self.budget,
            plan.seconds,
            seed=self.config.seed,
            machine=machine,
            bank=bank,
            folder=self.folder.work / "trials",
            log=self.log,
            balanced=config.class_weights,
        )

    def _plan(self, net: Net, arms: Sequence[Arm], advised: Arm, splits: Splits, measured: Measures) -> Plan:
        """What fits into the budget. It rests on a measured speed, so it is made once and kept for a resumed run."""
        rate = {"seconds_per_mac": measured.seconds_per_mac}
        speed = stored(self.folder.work / "speed.safetensors", lambda: rate, self.log)
        return plan_race(
            net,
            arms,
            advised=advised.name,
            samples=len(splits.folds[0][0]),
            folds=len(splits.folds),
            budget=(1 - _REFIT_SHARE) * self.budget,
            seconds_per_mac=float(speed["seconds_per_mac"]),
        )

    def _refit(self, net: Net, arm: Arm, splits: Splits, machine: Machine, bank: FeatureBank) -> Net:
        final = copy.deepcopy(net)
        log = self.log.within(arm=arm.name, fold="all")
        drive = Drive(final, self.config.seed, machine, self.folder.work / "refit", bank, log)
        try:
            drive.run(STRATEGIES[arm.strategy](final, splits.train, arm.config))
        except NonFiniteLoss as error:
            raise NonFiniteLoss(f"arm {arm.name}, learning on all images: {error}. Or name other --strategies") from error
        return final

    def _save(self, result: outcome.Outcome) -> AdaptResult:
        summary = outcome.summarise(result, self.seconds)

        def write() -> None:
            outcome.write_pictures(result, self.folder.path / "report_data")
            outcome.model_of(result, summary).save(self.folder.path / "model")
            self.folder.write("summary.json", summary)
            self.folder.clean()

        distributed.first(write)
        self.log.event("phase", name="done", text="done")
        return AdaptResult(self.folder.path, summary)
