"""Looking at teachers before they teach: are they right about the student's own images, and are their classes where they
seem to be?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from headstart.data.task import Task
from headstart.engine import interrupt
from headstart.engine.evaluate import batch_for
from headstart.engine.source_statistics import evenly
from headstart.metrics.classification import calibration_error, confusion
from headstart.metrics.distillation import log_softmax
from headstart.metrics.intervals import Interval, wilson
from headstart.nets.cost import block_flops, head_macs
from headstart.nets.net import Net, count_parameters
from headstart.studies.distill_teachers import Order, Teacher, detached
from headstart.terms.grouped import Grouped
from headstart.terms.teacher import Live

LIMIT = 2_000
"""Training images that are looked at, at most."""
_FAR = 0.2
"""How much better another order of classes must be to be offered."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A teacher's answers `[N, C]` on images, in the data's classes, and how good they are."""

    logits: NDArray[np.float32]
    accuracy: float
    interval: Interval
    calibration_error: float


@dataclass(frozen=True, eq=False)
class Audit:
    """A teacher that has been looked at. `warnings` are sentences about it."""

    teacher: Teacher
    order: Order
    live: Live
    train: Seen
    warnings: tuple[str, ...]


def live(teacher: Teacher, order: Order) -> Live:
    """The teacher as it is asked: in eval mode, its classes in the data's order."""
    net = detached(teacher)
    if order.alone is not None:
        return Live(net, teacher.head, order=order.alone)
    return Grouped(net, teacher.head, order.places)


def answers_of(asked: Live, task: Task, device: str) -> NDArray[np.float32]:
    """Logits `[N, C]` on the plain view of every sample of `task`, as the student's own pipeline shows it."""
    asked.to(device)
    width = batch_for(asked.net.input, torch.device(device).type)
    parts = []
    for start in range(0, len(task), width):
        interrupt.check()
        samples = task.store.gather(task.rows[start : start + width]).to(device)
        parts.append(asked.of(samples).float().cpu().numpy())
    return np.concatenate(parts)


def seen(logits: NDArray[np.float32], task: Task) -> Seen:
    """How good answers are."""
    right = logits.argmax(1) == task.targets
    return Seen(
        logits,
        float(right.mean()),
        wilson(int(right.sum()), len(task)),
        calibration_error(task.targets, np.exp(log_softmax(logits))),
    )


def audit(teacher: Teacher, order: Order, train: Task, student: Net, device: str) -> Audit:
    """Look at a teacher on at most `LIMIT` training images, evenly spread."""
    asked, some = live(teacher, order), train.take(evenly(len(train), LIMIT))
    found = seen(answers_of(asked, some, device), some)
    warnings = [*_size(teacher, student), *_order(teacher, order, found, some)]
    return Audit(teacher, order, asked, found, tuple(warnings))


def _size(teacher: Teacher, student: Net) -> list[str]:
    theirs, ours = teacher.net.input, student.input
    if theirs.kind != "image" or theirs.size <= 1.5 * ours.size:
        return []
    return [
        f"it was made for {theirs.size} px and is shown the {ours.size} px that the student sees, enlarged; a larger --size "
        "shows both of them more"
    ]


def _order(teacher: Teacher, order: Order, found: Seen, task: Task) -> list[str]:
    """Whether its classes seem to be where they are taken to be."""
    chance = float(task.counts.max() / len(task))
    wrong = found.interval.low <= chance
    told = []
    if order.kind == "assumed":
        check = "" if wrong else f", as its being right on {found.accuracy:.1%} of the training images confirms"
        told.append(
            f"nothing says what its classes are called; they are taken to be those of the data in their order{check}"
        )
    if wrong:
        told.append(f"it is right on {found.accuracy:.1%} of the training images, no more often than chance ({chance:.1%})")
        told += _other_order(teacher, order, found, task)
    return told


def _other_order(teacher: Teacher, order: Order, found: Seen, task: Task) -> list[str]:
    """The order of classes that fits the labels best, where it is far better."""
    table = confusion(task.targets, found.logits.argmax(1), task.num_classes)
    ours, theirs = linear_sum_assignment(-table)
    best = float(table[ours, theirs].sum() / len(task))
    if best < found.accuracy + _FAR or order.alone is None:
        return ["it knows nothing about these images"]
    names = [teacher.classes[order.alone[place]] for place in theirs]
    lines = " ".join(f"{name},{task.classes[n]}" for name, n in zip(names, ours, strict=True))
    return [
        f"its classes are probably in another order: in the one that fits these labels best it is right on {best:.1%}. "
        f"As lines of a file for --map-classes: {lines}"
    ]


def together(logits: Sequence[NDArray[np.float32]], weights: Sequence[float], average: str) -> NDArray[np.float64]:
    """What several teachers say as one `[N, C]`; see `terms.teacher.Several`."""
    shares = np.array(weights or [1.0] * len(logits), np.float64)
    shares /= shares.sum()
    if average == "logits":
        return np.asarray(sum(share * np.asarray(one, np.float64) for share, one in zip(shares, logits, strict=True)))
    mixed = sum(share * np.exp(log_softmax(one)) for share, one in zip(shares, logits, strict=True))
    return np.asarray(np.log(np.maximum(mixed, np.finfo(np.float64).tiny)))


def size_record(net: Net, head: str) -> dict[str, Any]:
    """Parameters, bytes and floating-point operations of a network that answers with one head."""
    own = [net.blocks, net.head(head)]
    tensors = [tensor for part in own for tensor in part.state_dict().values()]
    return {
        "parameters": sum(count_parameters(part) for part in own),
        "bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        "flops": 2 * (sum(block_flops(net).values()) + head_macs(net, head)),
    }
