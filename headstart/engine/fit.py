"""The one training loop. It fits any stage and knows no method's name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from headstart.engine import distributed, interrupt
from headstart.engine.allocator import keep_freed_memory
from headstart.engine.checkpoint import Checkpoints
from headstart.engine.course import Course
from headstart.engine.inputs import Inputs
from headstart.engine.log import SILENT, RunLog
from headstart.engine.optim import Carried, OptimizerState, factor, make_optimizer, restore, set_rate, state_of
from headstart.engine.sampler import plan_for
from headstart.engine.trained import (
    Trained,
    digest,
    frozen_state,
    leave_out_masked,
    release,
    resolve,
    restore_masked,
    set_modes,
)
from headstart.errors import FrozenChanged, Interrupted
from headstart.nets.net import Net
from headstart.nets.sync_batchnorm import sync_batchnorm
from headstart.seeding import seed_for
from headstart.stage import Stage


@dataclass(frozen=True)
class Machine:
    """How a stage is carried out, as opposed to what it does.

    device            `cpu`, `cuda`, ...
    precision         `auto` is bf16 autocast on CUDA and float32 elsewhere
    cache             folder for cached prefixes; None: none are cached
    cache_limit       bytes that all cached prefixes in that folder may take together
    checkpoint_every  seconds between checkpoints within a stage
    """

    device: str = "cpu"
    precision: Literal["auto", "float32", "bf16"] = "auto"
    cache: Path | None = None
    cache_limit: int = 8_000_000_000
    checkpoint_every: float = 30.0

    @property
    def autocast(self) -> torch.dtype | None:
        """The type that autocast computes in, None for float32 throughout."""
        wanted = self.precision == "bf16" or (self.precision == "auto" and self.device.startswith("cuda"))
        return torch.bfloat16 if wanted else None


@dataclass
class FitResult:
    """What a stage left behind.

    steps, epochs  done (fewer than planned after an early stop)
    seconds        of this process since the stage began or was resumed
    optimizer      its memory by parameter name, for a next stage that carries it on
    trained        number of trained parameters
    """

    steps: int
    epochs: int
    seconds: float
    trained: int
    stopped_early: bool = False
    optimizer: OptimizerState = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        early = " (stopped early)" if self.stopped_early else ""
        rows = {"epochs": f"{self.epochs}{early}", "steps": self.steps, "weights": self.trained}
        rows["seconds"] = f"{self.seconds:.2f}"
        return "\n".join(f"{name:<8} {value}" for name, value in rows.items())


def fit(
    net: Net,
    stage: Stage,
    *,
    seed: int = 0,
    machine: Machine | None = None,
    log: RunLog = SILENT,
    checkpoints: Checkpoints | None = None,
    carried: Carried | None = None,
) -> FitResult:
    """Train `net` in place as `stage` says.

    seed         everything random in the stage follows from it and the stage's name
    checkpoints  where to save and look for an interrupted stage; None: nowhere
    carried      optimiser memory of the stage before, used when `stage.carry`, for parameters that are still the same ones

    Raises NonFiniteLoss naming stage, step and term; Interrupted after saving; ConfigError for a stage that cannot be.
    """
    machine = machine or Machine(device=str(net.device))
    run_seed, seed = seed, seed_for(seed, "stage", stage.name)
    began = time.monotonic()
    trained = resolve(net, stage)
    plan = plan_for(stage, seed)
    with _prepared(net, stage, trained, machine, seed):
        frozen = digest(frozen_state(net, stage, trained))
        optimizer = make_optimizer(stage.optimizer, trained)
        # A tower gets its first gradient when somebody asks for its answer, which the first step need not do.
        at_once = plan.mix is None and net.towers is None
        memory = carried.still(trained.parameters) if carried is not None and stage.carry else {}
        restore(optimizer, trained.parameters, memory, all_at_once=at_once)
        inputs = Inputs.of(net, stage, trained, plan, machine, run_seed, log)
        course = Course(net, stage, trained, plan, optimizer, log)
        first = course.resume(checkpoints)
        _loop(course, inputs, first, machine, checkpoints, seed)
        course.finish()
        moved = [name for name, mark in digest(frozen_state(net, stage, trained)).items() if frozen.get(name) != mark]
        if moved:
            raise FrozenChanged(f"stage {stage.name!r} moved what it declared frozen: {moved[:5]}")
    memory = state_of(optimizer, trained.parameters)
    size = sum(parameter.numel() for parameter in trained.parameters.values())
    epochs = -(-course.done // plan.per_epoch)
    return FitResult(course.done, epochs, time.monotonic() - began, size, course.stopped, memory)


def _loop(course: Course, inputs: Inputs, first: int, machine: Machine, checkpoints: Checkpoints | None, seed: int) -> None:
    """From step `first` to the end of the plan. This is the only place where a step is taken."""
    stage, plan, trained, optimizer = course.stage, course.plan, course.trained, course.optimizer
    groups = _groups(trained)
    gradients = list(trained.parameters.values())
    masked = _masked_values(trained)
    dtype, kind = machine.autocast, torch.device(machine.device).type
    saved_at = time.monotonic()
    stage.balance.begin(plan.steps, plan.per_epoch)
    for index in range(first, plan.steps):
        _seed(torch.device(machine.device), seed_for(seed, "step", index, distributed.rank()))
        set_rate(optimizer, stage.optimizer.lr * factor(stage.optimizer, index, plan.steps))
        with torch.autocast(kind, dtype) if dtype is not None else nullcontext():
            step = inputs.step(index)
            losses = {name: term(step) for name, term in stage.terms.items() if not term.absent(step)}
            if not losses:
                step.taps()  # statistics adapt in the forward pass, which no loss asks for
        course.watch(index, losses)
        weights = stage.balance.backward(losses, groups, index) if gradients and losses else {}
        answers = distributed.sum_over_processes(
            [p.grad for p in gradients if p.grad is not None], _signals(saved_at, machine)
        )
        for term in stage.terms.values():
            term.after_backward(step)
        if stage.optimizer.clip is not None:
            leave_out_masked(trained)
            nn.utils.clip_grad_norm_(gradients, stage.optimizer.clip, foreach=False)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        restore_masked(trained, masked)
        for term in stage.terms.values():
            term.after_step(step)
        course.after(index, losses, weights, optimizer)
        over = course.stopped or index + 1 == plan.steps
        stop, due = answers if distributed.world_size() > 1 else _signals(saved_at, machine)
        if checkpoints is not None and not over and (stop or due):
            course.save(checkpoints)
            saved_at = time.monotonic()
        if stop and not over:
            raise Interrupted(f"stopped in stage {stage.name!r} after step {index + 1} of {plan.steps}")
        if over:
            break


def _seed(device: torch.device, seed: int) -> None:
    """`torch.manual_seed` for the CPU and this device alone: for all devices it takes 0.3 ms where CUDA has not started."""
    if device.type not in ("cpu", "cuda"):
        torch.manual_seed(seed)
        return
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _signals(saved_at: float, machine: Machine) -> list[bool]:
    """Whether to stop, and whether a checkpoint is due: by the first process's clock."""
    due = distributed.is_first() and time.monotonic() - saved_at >= machine.checkpoint_every
    return [interrupt.STOP.requested, due]


@contextmanager
def _prepared(net: Net, stage: Stage, trained: Trained, machine: Machine, seed: int) -> Iterator[None]:
    """Place, modes and seeds for a stage, and the net released afterwards whatever happens."""
    device = torch.device(machine.device)
    keep_freed_memory()
    for module in (net, stage.balance, *stage.terms.values()):
        module.to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    set_modes(net, stage, trained)
    devices = [device] if device.type == "cuda" else []
    try:
        # A term may hold networks of its own, with statistics of their own.
        parts = nn.ModuleList([net, *stage.terms.values()])
        with sync_batchnorm(parts), torch.random.fork_rng(devices), _repeatable(device):
            _seed(device, seed)
            yield
    finally:
        release(net)


def _repeatable(device: torch.device) -> AbstractContextManager[None]:
    """On CUDA, convolutions by algorithms that give the same bits every time, as exact resume needs."""
    if device.type != "cuda":
        return nullcontext()
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
    return flags


def _groups(trained: Trained) -> dict[str, list[nn.Parameter]]:
    """Trained parameters by role, as balances want them."""
    role = {"blocks": "shared", "heads": "heads", "terms": "terms", "balance": "balance"}
    groups: dict[str, list[nn.Parameter]] = {name: [] for name in role.values()}
    for name, parameter in trained.parameters.items():
        groups[role[name.split(".")[0]]].append(parameter)
    return groups


def _masked_values(trained: Trained) -> dict[str, Tensor]:
    """Present values of the parameters some of whose elements must stay."""
    named = {name for name, rule in trained.rules.items() if name in (rule.mask or {})}
    return {name: trained.parameters[name].detach().clone() for name in named}
