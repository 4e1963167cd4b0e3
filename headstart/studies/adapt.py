"""The main job: from images and a pretrained network to a verified, adapted model.

Inspect, measure, advise, race the advice against its rivals, refit the winner on all training data, read the test images
once, save. Every phase leaves files, so that a killed run goes on where it was.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.catalog.adapt import AdaptConfig
from headstart.catalog.durations import parse_seconds
from headstart.data.sources import Source
from headstart.data.task import Task
from headstart.engine import distributed
from headstart.engine.evaluate import answers
from headstart.engine.features import FeatureBank
from headstart.engine.fit import Machine
from headstart.engine.log import Listener, RunLog
from headstart.engine.model import Model
from headstart.engine.run import Drive, stored
from headstart.engine.run_folder import RunFolder, open_run
from headstart.errors import NonFiniteLoss
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.studies import outcome
from headstart.studies.arms import Plan, advised_arm, all_arms, base_recipe, for_comparing, pick, plan_race
from headstart.studies.checks import check_apart, check_settings, device_of
from headstart.studies.measure import Measures
from headstart.studies.opening import Opening, opened
from headstart.studies.race import Arm, Race
from headstart.studies.result import JobResult
from headstart.studies.splitting import Splits
from headstart.studies.verdict import judge


def _what_runs(race: Race, budget: float) -> str:
    if len(race.arms) == 1:
        return f"judging {race.arms[0].name} on {len(race.folds)} fold{'s' if len(race.folds) > 1 else ''}"
    return f"racing {len(race.arms)} arms for up to {budget:.0f} s"


@dataclass(frozen=True)
class AdaptResult(JobResult):
    """What `headstart adapt` found and made, the model to be loaded on demand. Prints as a table."""

    @property
    def model(self) -> Model:
        """The saved model."""
        return Model.load(self.folder)

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
        done = folder.finished(listeners)
        if done is not None:
            return AdaptResult(folder.path, done)
        given = tuple(name for name, value in (("data", data), ("backbone", backbone)) if value is not None)
        opening = Opening(folder, config.network, config.images, config.folds, config.seed, tuple(listeners))
        source = opened(config.data if data is None else data, config.images)
        return _Job(config, opening, budget, given).run(source, backbone)


@dataclass
class _Job:
    """One run, phase by phase."""

    config: AdaptConfig
    opening: Opening
    budget: float
    given: tuple[str, ...] = ()

    @property
    def folder(self) -> RunFolder:
        return self.opening.folder

    @property
    def log(self) -> RunLog:
        return self.opening.log

    def run(self, source: Source, backbone: torch.nn.Module | Net | None) -> AdaptResult:
        with self.opening.clock.during("all"):
            found = self._found(source, backbone)
        return self._save(found)

    def _found(self, source: Source, backbone: torch.nn.Module | Net | None) -> outcome.Outcome:
        opening = self.opening
        with opening.phase("network", "loading the network"):
            net = opening.load(source, backbone)
            pick(all_arms(net, base_recipe(net, 1, mirror=True, class_weights=False), seed=0), self.config.strategies)
        machine = Machine(device=device_of(self.config.device), cache=self.folder.work / "cache")
        net.to(machine.device)
        with opening.phase("data", "reading and inspecting the images"):
            data, splits = opening.read(source, net)
        opening.begin(net, data)
        bank = opening.bank()
        measured = opening.measure(net, splits, bank)
        race = self._race(net, splits, measured, machine, bank)
        with opening.phase("verify", _what_runs(race, self.budget)):
            standings = race.run()
        verdict = judge(standings, splits.folds, race.advised, seed_for(self.config.seed, "verdict"))
        chosen = next(arm for arm in race.arms if arm.name == verdict.chosen)
        with opening.phase("refit", f"learning the winner, {chosen.label.lower()}, on all training images"):
            final = self._refit(net, chosen, splits, machine, bank)
        with opening.phase("test", "reading the test images, once"):
            probabilities = self._test(final, splits.test)
        return outcome.Outcome(
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

    def _test(self, net: Net, task: Task) -> NDArray[np.float32]:
        """Calibrated class probabilities `[N, C]` on the test images."""
        logits = torch.from_numpy(answers(net, task)).to(net.device)
        found: NDArray[np.float32] = net.head(task.name).probabilities(logits).detach().cpu().numpy()
        return found

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
            for_comparing(self.budget, len(splits.folds)),
            plan.seconds,
            seed=self.config.seed,
            machine=machine,
            bank=bank,
            folder=self.folder.work / "trials",
            log=self.log,
            balanced=config.class_weights,
            left_out=plan.left_out,
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
            budget=for_comparing(self.budget, len(splits.folds)),
            seconds_per_mac=float(speed["seconds_per_mac"]),
        )

    def _refit(self, net: Net, arm: Arm, splits: Splits, machine: Machine, bank: FeatureBank) -> Net:
        final = copy.deepcopy(net)
        log = self.log.within(arm=arm.name, fold="all")
        drive = Drive(final, self.config.seed, machine, self.folder.work / "refit", bank, log)
        try:
            drive.run(arm.stages(final, splits.train))
        except NonFiniteLoss as error:
            raise NonFiniteLoss(f"arm {arm.name}, learning on all images: {error}. Or name other --strategies") from error
        return final

    def _save(self, result: outcome.Outcome) -> AdaptResult:
        summary = outcome.summarise(result, self.opening.seconds)

        def write() -> None:
            outcome.write_pictures(result, self.folder.path / "report_data")
            outcome.model_of(result, summary).save(self.folder.path / "model")
            self.folder.write("summary.json", summary)
            self.folder.clean()

        distributed.first(write)
        self.log.event("phase", name="done", text="done")
        return AdaptResult(self.folder.path, summary)
