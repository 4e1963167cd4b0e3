"""Carrying out one way to train several tasks, once per seed: kept as it ends, resumed where it was."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from headstart.catalog.sharing import Sharing, SharingConfig
from headstart.catalog.weightings import weighting
from headstart.data.mix import Mix
from headstart.data.task import Task
from headstart.engine import distributed, interrupt
from headstart.engine.checkpoint import load_state, save_state
from headstart.engine.evaluate import outputs
from headstart.engine.fit import Machine
from headstart.engine.log import RunLog, read_lines
from headstart.engine.run import Drive
from headstart.errors import CheckpointError
from headstart.losses.sharing import distance
from headstart.nets.cost import block_flops
from headstart.nets.net import Net
from headstart.nets.parallel import tower_parameters
from headstart.nets.towers import towers, towers_from
from headstart.seeding import seed_for
from headstart.stage import Stage
from headstart.strategies.multitask import multitask
from headstart.studies.costs import stage_parts
from headstart.studies.elapsed import Elapsed
from headstart.studies.live_tensors import training_peak
from headstart.studies.multitask_gradients import task_gradients
from headstart.studies.peak_memory import PeakMemory

Role = Literal["single", "sum", "asked", "without"]


@dataclass(frozen=True)
class Arm:
    """One way to train some of the tasks.

    name     what it is called, and the name of its files
    role     `single`: a network for one task alone; `sum`: all tasks, plain sum, one backbone; `asked`: what the user asked
             for; `without`: the same without one task
    tasks    in the order of their towers
    sharing  see `catalog/sharing.py`
    shared   lower blocks that stay one where there are towers
    stitch   blocks after which units mix the towers
    """

    name: str
    role: Role
    tasks: tuple[str, ...]
    config: SharingConfig
    sharing: Sharing = "hard"
    shared: int = 0
    stitch: tuple[str, ...] = ()

    @property
    def towers(self) -> bool:
        return self.sharing != "hard" and len(self.tasks) > 1


@dataclass(frozen=True)
class Run:
    """One arm with one seed."""

    arm: Arm
    seed: int

    @property
    def key(self) -> str:
        """Name of its files."""
        return f"{self.arm.name}-{self.seed}"

    def __str__(self) -> str:
        return f"{self.arm.name}, seed {self.seed}"


@dataclass
class Runs:
    """Carries out runs.

    base   the network every run begins with a copy of, without heads; by seed, where its weights are drawn at random
    mix    what is learned from
    parts  what the outcome is looked at on: `validation` and `test`, tasks by name, all over the same rows
    """

    base: Callable[[int], Net]
    mix: Mix
    parts: Mapping[str, Mapping[str, Task]]
    machine: Machine
    folder: Path
    log: RunLog
    _kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    def done(self, run: Run) -> bool:
        """Whether it has been carried out, now or earlier."""
        if run.key not in self._kept:
            found = distributed.first(lambda: _read(self._file(run)))
            if found is not None:
                self._kept[run.key] = found
        return run.key in self._kept

    def seen(self, run: Run) -> dict[str, Any]:
        """What was found out: `outputs` by part and task, `flops`, `parameters`, `bytes`, `curves`, `seconds`, `memory`, and
        `distance` between its towers when it began and ended. Costs are its own, see `begun_as`; memory is the device's
        peak, or on a processor that of its tensors, where the process's would depend on what ran before."""
        assert self.done(run)
        return self._kept[run.key]

    def kept(self, key: str) -> dict[str, Any]:
        """The same of a run in `begun_as`."""
        return self._kept[key]

    def carry_out(self, run: Run) -> None:
        """Train, and look at the validation and test images."""
        interrupt.check_together()
        self.log.event("phase", name="trial", text=str(run))
        place = self.folder / "runs" / run.key
        clock = Elapsed()
        clock.keep_in(place / "seconds.json")
        log = RunLog(self.log.path, (*self.log.listeners, clock.heard), **self.log.context).within(run=run.key)
        net = self.start(run)
        mix = self.mix.only(*run.arm.tasks)
        costs: dict[str, float] = {}
        begun, family = apart_of(net), weighting(run.arm.config.weighting).family

        def counted() -> Iterator[Stage]:
            for stage in multitask(net, mix, run.arm.config):
                costs.update(stage_parts(net, stage, self.machine, block_flops(net)))
                costs.update(task_gradients(net, stage, family))
                yield stage

        drive = Drive(net, seed_for(run.seed, "multitask", *run.arm.tasks), self.machine, place, None, log)
        memory = self._memory_of(net, mix, run.arm.config)
        with clock.during("training"), memory if isinstance(memory, PeakMemory) else nullcontext():
            drive.run(counted())
        net.to("cpu")
        state = {
            "outputs": {part: self._look(net, part, run.arm.tasks) for part in self.parts},
            "net": net.state_dict(),
            "flops": costs,
            "memory": memory.bytes if isinstance(memory, PeakMemory) else memory,
            "distance": None if begun is None else {"begin": begun, "end": apart_of(net)},
            "curves": curves_of(self.log.path, run.key),
            "seconds": round(clock.seconds["training"], 3),
            **size_of(net),
        }
        distributed.first(lambda: save_state(self._file(run), state))
        if not self.done(run):
            raise CheckpointError(f"{self._file(run)} was written and cannot be read again; check the disk of --out")
        distributed.first(lambda: shutil.rmtree(place, ignore_errors=True))
        distributed.first(lambda: shutil.rmtree(self.machine.cache or place / "none", ignore_errors=True))
        self.log.event("run", run=run.key, seconds=state["seconds"])

    def _memory_of(self, net: Net, mix: Mix, config: SharingConfig) -> PeakMemory | int:
        """What watches the device while training, or on a processor what tensors take at once, counted beforehand."""
        if self.machine.device.startswith("cuda"):
            return PeakMemory(self.machine.device)
        return training_peak(net, lambda copied: multitask(copied, mix, replace(config, watch=False)))

    def begun_as(self, run: Run) -> list[str]:
        """Keys of the runs whose networks its towers begin as. Those of cross-stitch begin as the networks trained for their
        tasks alone, as published, where there are such and nothing is shared below them; what those cost is needed too."""
        arm = run.arm
        keys = [f"{single_name(task)}-{run.seed}" for task in arm.tasks]
        published = arm.towers and arm.sharing == "cross_stitch" and not arm.shared
        return keys if published and all(key in self._kept for key in keys) else []

    def start(self, run: Run) -> Net:
        """The network a run begins with: a copy of the base, towers that all are such copies, or those of `begun_as`."""
        arm = run.arm
        if begun := self.begun_as(run):
            net = towers_from([self._blocks_of(key, run.seed) for key in begun], arm.tasks, stitch=arm.stitch)
        elif arm.towers:
            net = towers(self.base(run.seed), arm.tasks, shared=arm.shared, stitch=arm.stitch)
        else:
            net = copy.deepcopy(self.base(run.seed))
        return net.to(self.machine.device)

    def net_of(self, run: Run) -> Net:
        """The trained network of a finished run."""
        net = self.start(run).cpu()
        for _ in multitask(net, self.mix.only(*run.arm.tasks), replace(run.arm.config, watch=False)):
            break  # its heads are made; nothing is trained
        net.load_state_dict(self.seen(run)["net"])
        return net.eval()

    def _blocks_of(self, key: str, seed: int) -> Net:
        """The backbone of a finished run with this seed."""
        net, found = copy.deepcopy(self.base(seed)), self._kept[key]["net"]
        net.load_state_dict({name: value for name, value in found.items() if not name.startswith("heads.")})
        return net

    def _look(self, net: Net, part: str, names: Sequence[str]) -> dict[str, torch.Tensor]:
        """Logits `[N, C]` of every head on its task's samples of a part; of a number what it says, `[N]`."""
        tasks = self.parts[part]
        found = {}
        for name, said in outputs(net, tasks[names[0]], names).items():  # all are about the same samples
            values = torch.from_numpy(said)
            found[name] = net.head(name).numbers(values) if tasks[name].kind == "number" else values
        return found

    def _file(self, run: Run) -> Path:
        return self.folder / "runs" / f"{run.key}.safetensors"


def single_name(task: str) -> str:
    """What the arm of a network for one task is called."""
    return f"only {task}"


def apart_of(net: Net) -> float | None:
    """How far its towers are from their mean, relative to their weights (`losses.sharing.distance`); None without towers."""
    return None if net.towers is None else distance(tower_parameters(net))


def size_of(net: Net) -> dict[str, int]:
    """Parameters, and bytes of everything that is kept."""
    tensors = {tensor.data_ptr(): tensor for tensor in (*net.parameters(), *net.buffers())}
    return {
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()),
    }


def curves_of(path: Path | None, key: str) -> list[dict[str, Any]]:
    """Per epoch losses, weights, their sum, and what the balance tells, from the log."""
    return [
        {name: line[name] for name in ("epoch", "losses", "weights", "weight_sum", "balance") if name in line}
        for line in read_lines(path)
        if line.get("event") == "epoch" and line.get("run") == key
    ]


def _read(path: Path) -> dict[str, Any] | None:
    """None when it is not there, or damaged."""
    try:
        return load_state(path)
    except (OSError, CheckpointError):
        return None
