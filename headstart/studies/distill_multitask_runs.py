"""Training a student for several questions, alone or taught, once per seed: kept as it ends, resumed where it was."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.catalog.sharing import SharingConfig
from headstart.data.mix import Mix
from headstart.data.store import Store
from headstart.data.task import Task
from headstart.engine import distributed, interrupt
from headstart.engine.checkpoint import load_state, save_state
from headstart.engine.evaluate import outputs
from headstart.engine.fit import Machine
from headstart.engine.log import RunLog
from headstart.engine.multi_answers import Question
from headstart.engine.run import Drive
from headstart.errors import CheckpointError
from headstart.nets.heads import head_from
from headstart.nets.initialise import reinitialise
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.stage import Stage
from headstart.strategies.distill_multitask import distill_multitask
from headstart.strategies.multitask import multitask
from headstart.studies.elapsed import Elapsed
from headstart.studies.multitask_runs import curves_of

Kind = Literal["alone", "distilled"]
KINDS: tuple[Kind, ...] = ("alone", "distilled")


@dataclass(frozen=True)
class Run:
    """The student alone or taught, with one seed."""

    kind: Kind
    seed: int

    @property
    def key(self) -> str:
        """Name of its files."""
        return f"{self.kind}-{self.seed}"

    def __str__(self) -> str:
        return f"{self.kind}, seed {self.seed}"


@dataclass
class Runs:
    """Carries out runs.

    student    without heads; every run draws its weights anew, the same for both kinds with one seed
    teacher    and the `questions` it answers
    mix        what is learned from: questions that labels are known of
    test       the same questions about the test images
    shown      all samples as the teacher sees them, at its own size
    """

    student: Net
    teacher: Net
    questions: Sequence[Question]
    mix: Mix
    test: Mapping[str, Task]
    config: SharingConfig
    temperature: float
    share: float
    machine: Machine
    folder: Path
    log: RunLog
    shown: Store
    _kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    def done(self, run: Run) -> bool:
        """Whether it has been carried out, now or earlier."""
        if run.key not in self._kept:
            found = distributed.first(lambda: self._read(run))
            if found is not None:
                self._kept[run.key] = found
        return run.key in self._kept

    def seen(self, run: Run) -> dict[str, Any]:
        """`outputs` by question on the test images, `seconds`, `curves`, `net` and its `heads`."""
        assert self.done(run)
        return self._kept[run.key]

    def carry_out(self, run: Run) -> None:
        """Train, and look at the test images."""
        interrupt.check_together()
        self.log.event("phase", name="trial", text=str(run))
        place, clock = self.folder / "runs" / run.key, Elapsed()
        clock.keep_in(place / "seconds.json")
        net = copy.deepcopy(self.student)
        reinitialise(net, net.block_names, seed_for(run.seed, "student"))
        net.to(self.machine.device)
        log = RunLog(self.log.path, (*self.log.listeners, clock.heard), **self.log.context).within(run=run.key)
        drive = Drive(net, seed_for(run.seed, "distill multitask"), self.machine, place, None, log)
        with clock.during("training"):
            drive.run(self._stages(net, run, place))
        net.to("cpu")
        state = {
            "outputs": {name: torch.from_numpy(one) for name, one in self.look(net).items()},
            "net": net.state_dict(),
            "heads": {name: net.head(name).spec() for name in net.heads},
            "seconds": round(clock.seconds["training"], 3),
            "curves": curves_of(self.log.path, run.key),
        }
        distributed.first(lambda: save_state(self._file(run), state))
        if not self.done(run):
            raise CheckpointError(f"{self._file(run)} was written and cannot be read again; check the disk of --out")
        distributed.first(lambda: shutil.rmtree(place, ignore_errors=True))
        distributed.first(lambda: shutil.rmtree(self.machine.cache or place / "none", ignore_errors=True))
        self.log.event("run", run=run.key, seconds=state["seconds"])

    def _stages(self, net: Net, run: Run, place: Path) -> Iterator[Stage]:
        if run.kind == "alone":
            return multitask(net, self.mix, self.config)
        return distill_multitask(
            net,
            self.mix,
            self.config,
            teacher=copy.deepcopy(self.teacher),
            questions=self.questions,
            temperature=self.temperature,
            share=self.share,
            folder=place / "answers",
            shown=None if self.shown is self.mix.store else self.shown,
        )

    def look(self, net: Net) -> dict[str, NDArray[np.float32]]:
        """Per question a student's logits `[N, C]` (of a number what is said, `[N]`) on the test images."""
        return self._in_unit(net, outputs(net, next(iter(self.test.values())), list(self.test)), {})

    def taught_by(self) -> dict[str, NDArray[np.float32]]:
        """The same of the teacher, which sees the images at its own size."""
        heads = {one.name: one.head for one in self.questions if one.name in self.test}
        net = copy.deepcopy(self.teacher).to(self.machine.device)
        found = outputs(net, replace(next(iter(self.test.values())), store=self.shown), list(heads.values()))
        return self._in_unit(net.cpu(), found, heads)

    def _in_unit(
        self, net: Net, found: Mapping[str, NDArray[np.float32]], heads: Mapping[str, str]
    ) -> dict[str, NDArray[np.float32]]:
        """Outputs by question; numbers in the unit of the labels."""
        made = {}
        for name in self.test:
            head = heads.get(name, name)
            own = net.head(head)
            made[name] = own.numbers(torch.from_numpy(found[head])).numpy() if own.kind == "number" else found[head]
        return made

    def net(self, run: Run) -> Net:
        """The trained student."""
        state, net = self.seen(run), copy.deepcopy(self.student)
        for name, spec in state["heads"].items():
            net.heads[name] = head_from(spec)
        net.load_state_dict(state["net"])
        return net.eval()

    def _file(self, run: Run) -> Path:
        return self.folder / "runs" / f"{run.key}.safetensors"

    def _read(self, run: Run) -> dict[str, Any] | None:
        """None when it is not there, or damaged."""
        try:
            return load_state(self._file(run))
        except (OSError, CheckpointError):
            return None
