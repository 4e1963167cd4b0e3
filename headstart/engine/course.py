"""The course of a stage: what is watched, logged, averaged, kept as best, saved and brought back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from headstart.engine import distributed
from headstart.engine.checkpoint import Checkpoints, State
from headstart.engine.evaluate import looking
from headstart.engine.log import RunLog
from headstart.engine.optim import WeightAverage, restore, state_of
from headstart.engine.sampler import Plan
from headstart.engine.trained import Trained
from headstart.errors import NonFiniteLoss, RunFolderMismatch
from headstart.nets.net import Net
from headstart.stage import Evaluate, Stage

KEPT = "The last good checkpoint is kept"
"""Said when a loss is no number."""
_CHECK_EVERY = 25
"""Steps between looks at the loss on an accelerator, where a look waits for the device."""


class Course:
    """Bookkeeping of one stage. The loop tells it what happened; it changes no gradient."""

    def __init__(
        self, net: Net, stage: Stage, trained: Trained, plan: Plan, optimizer: torch.optim.Optimizer, log: RunLog
    ) -> None:
        self.net, self.stage, self.trained, self.plan, self.optimizer = net, stage, trained, plan, optimizer
        self.log = log.within(stage=stage.name)
        self.waits = _waits(net)
        self.done = 0
        self.stopped = False
        self.best: tuple[float, int, dict[str, Tensor]] | None = None
        self.average = WeightAverage(stage.average, self.moving()) if stage.average is not None else None
        self._pending: list[tuple[int, dict[str, Tensor]]] = []
        self._sums: dict[str, list[float]] = {}
        self._weights: dict[str, list[float]] = {}
        self._began = time.monotonic()

    def moving(self) -> dict[str, Tensor]:
        """Every tensor of the net that changes in this stage, by name: trained parameters and live statistics."""
        tensors: dict[str, Tensor] = {
            name: parameter
            for name, parameter in self.trained.parameters.items()
            if not name.startswith(("terms.", "balance."))
        }
        for name, module in self.trained.modules.items():
            tensors.update({f"{name}.{key}": buffer for key, buffer in module.named_buffers(recurse=False)})
        return tensors

    def watch(self, index: int, losses: Mapping[str, Tensor]) -> None:
        """Remember this step's losses and stop the run when one is not finite."""
        if not self.waits:
            self._add(index, losses)
            return
        # Copies, because they are added up over processes in place, and the losses belong to the terms.
        self._pending.append((index, {name: loss.detach().clone() for name, loss in losses.items()}))
        if len(self._pending) >= _CHECK_EVERY:
            self._settle()

    def _settle(self) -> None:
        """Read the pending losses (waits for the device and the other processes), check and add them up."""
        distributed.sum_over_processes([loss for _, losses in self._pending for loss in losses.values()])
        for index, losses in self._pending:
            self._add(index, losses)
        self._pending.clear()

    def _add(self, index: int, losses: Mapping[str, Tensor]) -> None:
        """Add up one step's losses. Raises NonFiniteLoss."""
        for name, loss in losses.items():
            value = loss.item()
            if value - value != 0:
                raise NonFiniteLoss(
                    f"stage {self.stage.name!r}, step {index + 1}: loss {name!r} is {value}. "
                    f"The learning rate {self.stage.optimizer.lr} is probably too high: try a tenth of it. "
                    f"{KEPT}"
                )
            total, count = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = [total + value, count + 1]

    def after(
        self, index: int, losses: Mapping[str, Tensor], weights: Mapping[str, float], optimizer: torch.optim.Optimizer
    ) -> None:
        """A step is done: average, log at the end of an epoch, look, maybe stop."""
        self.done = index + 1
        if self.average is not None:
            self.average.update(self.moving())
        self.log.tick(self.done, self.plan.steps, self.stage.name)
        for name, weight in weights.items():
            mean, count = self._weights.get(name, (weight, 0.0))
            # A running mean: of weights that do not change it is the weight to the bit.
            self._weights[name] = [mean + (weight - mean) / (count + 1), count + 1]
        if not self.plan.ends_epoch(index):
            return
        self._settle()
        epoch = self.plan.epoch(index) + 1
        means = {name: total / count for name, (total, count) in self._sums.items()}
        used = {name: mean for name, (mean, _) in self._weights.items()}
        self._sums, self._weights = {}, {}
        numbers = {**self._balanced(used), **self._look(epoch)}
        self.log.event(
            "epoch",
            epoch=epoch,
            loss=sum(means[name] * used.get(name, 1.0) for name in means),
            losses=means,
            weights=used,
            lr=max(group["lr"] for group in optimizer.param_groups),
            seconds=round(time.monotonic() - self._began, 3),
            **numbers,
        )

    def _balanced(self, used: Mapping[str, float]) -> dict[str, Any]:
        """What the balance says about the epoch: the sum of its tasks' weights, and numbers of its own."""
        balance = self.stage.balance
        found: dict[str, Any] = {}
        if balance.tasks:
            found["weight_sum"] = sum(used[name] for name in balance.tasks if name in used)
        if numbers := balance.report():
            found["balance"] = numbers
        return found

    def _look(self, epoch: int) -> dict[str, float]:
        """Evaluate if it is time, and keep the best where something is monitored."""
        how = self.stage.evaluate
        last = self.plan.epochs == epoch
        if how is None or (epoch % how.every and not last):
            return {}
        with looking(self.net), _as_averaged(self):
            # The first process's numbers count in all: were they to differ, some would stop and the others wait for ever.
            numbers: dict[str, float] = distributed.share(dict(how.fn(self.net)))
        if how.monitor is not None:
            self._keep_best(how, numbers[how.monitor], epoch)
        return numbers

    def _keep_best(self, how: Evaluate, value: float, epoch: int) -> None:
        if self.best is None or value > self.best[0]:
            source = self.average.average if self.average is not None else self.moving()
            self.best = (value, epoch, {name: tensor.detach().clone() for name, tensor in source.items()})
        elif epoch - self.best[1] >= how.patience * how.every:
            self.stopped = True

    def finish(self) -> None:
        """Leave the net with its final weights: the best looked at, the average, or simply the last."""
        self._settle()
        if self.best is not None:
            _overwrite(self.moving(), self.best[2])
        elif self.average is not None:
            _overwrite(self.moving(), self.average.average)

    def save(self, checkpoints: Checkpoints) -> None:
        """Write everything the rest of the stage depends on."""
        self._settle()
        distributed.first(lambda: checkpoints.save(self.state()))

    def state(self) -> State:
        """The stage's state after `done` steps. Random numbers follow from the step's number and need no saving."""
        return {
            "done": self.done,
            "steps": self.plan.steps,
            "processes": distributed.world_size(),
            "threads": torch.get_num_threads(),
            "net": self.moving(),
            "terms": {name: term.state_dict() for name, term in self.stage.terms.items()},
            "balance": self.stage.balance.state_dict(),
            "optimizer": state_of(self.optimizer, self.trained.parameters),
            "average": None if self.average is None else [self.average.count, self.average.average],
            "best": None if self.best is None else list(self.best),
            "sums": self._sums,
            "weights": self._weights,
            "log": self.log.size(),
        }

    def resume(self, checkpoints: Checkpoints | None) -> int:
        """Bring back the newest checkpoint, if there is one; returns the step to go on with."""
        state = checkpoints.load(self.log) if checkpoints is not None else None
        if state is None:
            if checkpoints is not None:
                distributed.first(lambda: self.log.rewind(checkpoints.begun(self.log.size())))
            return 0
        same_surroundings(state, self.stage)
        _overwrite(self.moving(), state["net"])
        for name, term in self.stage.terms.items():
            term.load_state_dict(state["terms"][name])
        self.stage.balance.load_state_dict(state["balance"])
        restore(self.optimizer, self.trained.parameters, state["optimizer"])
        if self.average is not None:
            self.average.count = int(state["average"][0])
            _overwrite(self.average.average, state["average"][1])
        if state["best"] is not None:
            value, epoch, tensors = state["best"]
            self.best = (float(value), int(epoch), {n: t.to(self.net.device) for n, t in tensors.items()})
        self._sums, self._weights = dict(state["sums"]), dict(state["weights"])
        self.log.rewind(int(state["log"]))
        self.log.event("resumed", step=int(state["done"]), steps=self.plan.steps)
        self.done = int(state["done"])
        return self.done


def _waits(net: Net) -> bool:
    """Whether reading a loss waits for a device or for other processes."""
    return net.device.type != "cpu" or distributed.world_size() > 1


def same_surroundings(state: State, stage: Stage) -> None:
    """Raise RunFolderMismatch unless the checkpoint was made by as many processes and threads."""
    present = {"processes": distributed.world_size(), "threads": torch.get_num_threads()}
    for what, value in present.items():
        if int(state[what]) != value:
            raise RunFolderMismatch(
                f"stage {stage.name!r} was begun with {state[what]} {what} and is resumed with {value}; "
                f"results would differ in the last bits. Use {state[what]} {what}, or start again in a new --out folder"
            )


def _overwrite(targets: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(values[name])


class _as_averaged:  # noqa: N801 - reads as a phrase in a with statement
    """While inside, the net carries its averaged weights, if there are any."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.kept: dict[str, Tensor] = {}

    def __enter__(self) -> None:
        if self.course.average is not None:
            self.kept = {name: tensor.detach().clone() for name, tensor in self.course.moving().items()}
            _overwrite(self.course.moving(), self.course.average.average)

    def __exit__(self, *raised: object) -> None:
        if self.kept:
            _overwrite(self.course.moving(), self.kept)
