"""The trainings of a distillation: the same student alone, distilled and born again, from the same weights, once per seed.

Each is kept in a file as it ends, so that a killed job goes on with the next; the one under way goes on from its checkpoint.
"""

from __future__ import annotations

import copy
import shutil
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.strategies import BornAgainConfig, DistillConfig
from headstart.data.task import Task
from headstart.engine import distributed, interrupt
from headstart.engine.checkpoint import load_state, save_state
from headstart.engine.evaluate import answers
from headstart.engine.fit import Machine
from headstart.engine.log import RunLog, read_lines
from headstart.engine.record import Recorded
from headstart.engine.run import Drive
from headstart.errors import CheckpointError
from headstart.metrics.distillation import agreement, mean_kl
from headstart.nets.heads import head_from
from headstart.nets.initialise import reinitialise
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.stage import Evaluate, Stage
from headstart.strategies.born_again import born_again
from headstart.strategies.distill import distill
from headstart.terms.teacher import Live, each_of

Kind = Literal["alone", "distilled", "born_again"]
_LOOKS = 20
"""Looks at the likeness to the teacher in the course of one training."""


@dataclass(frozen=True)
class Run:
    """One training."""

    kind: Kind
    seed: int

    @property
    def key(self) -> str:
        """Name of its files."""
        return f"{self.kind}-{self.seed}"

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')}, seed {self.seed}"


@dataclass(frozen=True, eq=False)
class Watched:
    """Some training images with the teacher's answers `[N, C]`, which the student is compared with while it learns."""

    task: Task
    logits: NDArray[np.float64]

    def look(self, net: Net) -> dict[str, float]:
        """Agreement with the teacher and mean divergence from it, on the plain view."""
        found = mean_answers(net, self.task)
        return {"agreement": agreement(self.logits, found), "kl": mean_kl(self.logits, found)}


def mean_answers(net: Net, task: Task) -> NDArray[np.float64]:
    """Logits `[N, C]`, the mean over all heads: a student with a distillation token has two until the end."""
    return np.asarray(np.mean([answers(net, task, name) for name in net.heads], axis=0, dtype=np.float64))


@dataclass
class Runs:
    """Carries out trainings.

    student    without heads; its weights are drawn anew for every seed
    taught     how the student is distilled; `again` how it is born again
    unlabelled more images for the soft term
    """

    student: Net
    task: Task
    taught: DistillConfig
    again: BornAgainConfig
    teachers: Sequence[Live]
    watched: Watched
    machine: Machine
    folder: Path
    log: RunLog
    unlabelled: Task | None = None
    _kept: dict[Run, dict[str, Any]] = field(default_factory=dict)

    def start(self, seed: int) -> Net:
        """The student before it learns: the same for every kind of training with this seed."""
        net = copy.deepcopy(self.student)
        reinitialise(net, net.block_names, seed_for(seed, "student"))
        return net

    def rehearse(self) -> None:
        """Raise ConfigError for what the student or its teachers cannot do, before anything has been trained."""
        live = replace(self.taught, record=False)
        stages = distill(self.start(0), self.task, live, teachers=self.teachers)
        next(iter(stages))

    def done(self, run: Run) -> bool:
        """Whether it has been carried out, now or earlier."""
        if run not in self._kept:
            found = distributed.first(lambda: self._read(run))
            if found is not None:
                self._kept[run] = found
        return run in self._kept

    def carry_out(self, run: Run) -> None:
        """Train, and keep the weights with what was seen on the way."""
        interrupt.check_together()
        self.log.event("phase", name="trial", text=str(run))
        net, place = self.start(run.seed), self.folder / "runs" / run.key
        kept: list[Recorded] = []
        drive = Drive(net, run.seed, self.machine, place, None, self.log.within(run=run.key))
        drive.run(self._stages(net, run, kept))
        net.to("cpu")
        seen = {**course(self.log.path, run.key), "record": record_of(kept)}
        state = {"net": net.state_dict(), "heads": {name: net.head(name).spec() for name in net.heads}, "seen": seen}
        distributed.first(lambda: save_state(self._file(run), state))
        distributed.first(lambda: self._clear(place, kept))
        if not self.done(run):
            raise CheckpointError(f"{self._file(run)} was written and cannot be read again; check the disk of --out")
        self.log.event("run", run=run.key, seconds=seen["seconds"])

    def net(self, run: Run) -> Net:
        """The trained student."""
        state = load_state(self._file(run))
        net = copy.deepcopy(self.student)
        for name, spec in state["heads"].items():
            net.heads[name] = head_from(spec)
        net.load_state_dict(state["net"])
        return net.eval()

    def seen(self, run: Run) -> dict[str, Any]:
        """What `course` found out about a finished training."""
        assert self.done(run)
        return self._kept[run]

    def recorded(self) -> dict[str, Any] | None:
        """What keeping teachers' answers took for one training; None when they answered live."""
        found = [one["record"] for run, one in self._kept.items() if run.kind == "distilled" and one["record"]]
        if not found:
            return None
        longest = max(found, key=lambda one: float(one["seconds"]))  # one resumed found some of them there
        return {**longest, "dtype": self.taught.dtype, "top_k": self.taught.top_k}

    def _clear(self, place: Path, kept: Sequence[Recorded]) -> None:
        """Remove what only this training needed; other seeds show other renderings."""
        shutil.rmtree(place, ignore_errors=True)
        for path in (one.path for one in kept if one.path is not None):
            for file in path.parent.glob(f"{path.stem}*"):
                file.unlink(missing_ok=True)

    def _stages(self, net: Net, run: Run, kept: list[Recorded]) -> Iterator[Stage]:
        """The strategy's stages, each watched; `kept` gets the answers that were recorded for them."""
        if run.kind == "born_again":
            stages = born_again(net, self.task, replace(self.again, seed=seed_for(run.seed, "born again")))
        elif run.kind == "distilled":
            place = self.folder / "answers"
            stages = distill(net, self.task, self.taught, teachers=self.teachers, unlabelled=self.unlabelled, folder=place)
        else:
            stages = distill(net, self.task, alone_of(self.taught))
        for stage in stages:
            every = max(1, -(-self.taught.recipe.epochs // _LOOKS))
            kept += recorded_for(stage)
            yield replace(stage, evaluate=Evaluate(every, self.watched.look))

    def _file(self, run: Run) -> Path:
        return self.folder / "runs" / f"{run.key}.safetensors"

    def _read(self, run: Run) -> dict[str, Any] | None:
        """None when it is not there, or damaged."""
        try:
            found: dict[str, Any] = load_state(self._file(run))["seen"]
        except (OSError, CheckpointError, KeyError):
            return None
        return found


def alone_of(taught: DistillConfig) -> DistillConfig:
    """The same training without a teacher."""
    return replace(taught, share=0.0, losses=(), token=False, kind="soft", teacher_weights=())


def recorded_for(stage: Stage) -> list[Recorded]:
    """The recorded answers that a stage's terms read."""
    each = [one for term in stage.terms.values() for one in each_of(getattr(term, "teacher", None))]
    return [one for one in each if isinstance(one, Recorded)]


def record_of(kept: Sequence[Recorded]) -> dict[str, Any] | None:
    """Size and cost of recorded answers, of all teachers together."""
    if not kept:
        return None
    seconds = round(sum(one.seconds for one in kept), 3)
    return {"bytes": sum(one.bytes for one in kept), "seconds": seconds, "draws": len(kept[0].array)}


def course(log: Path | None, key: str) -> dict[str, Any]:
    """What the log tells of a training: its epochs one after the other over all its stages, and their time.

    A resumed stage counts its time anew, and its first epoch afterwards is not a whole one.
    """
    points: list[dict[str, Any]] = []
    whole: list[float] = []
    total, before, offset, stage, cut = 0.0, 0.0, 0, None, False
    for line in read_lines(log):
        if line.get("run") != key or line.get("event") not in ("epoch", "resumed"):
            continue
        if line["event"] == "resumed":
            before, cut = 0.0, True
            continue
        if line["stage"] != stage:
            stage, offset, before = line["stage"], points[-1]["epoch"] if points else 0, 0.0
        took = line["seconds"] - before if line["seconds"] >= before else line["seconds"]
        total, before = total + took, line["seconds"]
        if not cut:
            whole.append(took)
        cut = False
        told: dict[str, Any] = {name: line[name] for name in ("agreement", "kl") if name in line}
        points.append({"epoch": offset + line["epoch"], "loss": line["loss"], "losses": line["losses"], **told})
    each = statistics.median(whole) if whole else total / max(len(points), 1)
    return {"points": points, "seconds": round(total, 3), "seconds_per_epoch": round(each, 4)}
