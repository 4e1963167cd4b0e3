"""What somebody else says about a batch: a teacher that runs on it, several of them together, or answers kept on disk.

A teacher is no part of what trains: it is hidden from `parameters()` and `modules()` of the term that holds it, so that no
optimiser, no train mode and no name prefix reaches it; it moves between devices with the term all the same.
"""

from __future__ import annotations

import hashlib
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.data.views import Rendering, normalise
from headstart.errors import CheckpointError, ConfigError, problems
from headstart.nets.net import Activation, InputSpec, Net
from headstart.terms.base import StepLike


class Answers(Protocol):
    """What somebody else says about a batch."""

    def logits(self, step: StepLike, view: str = "main") -> Tensor:
        """`[B, C]` logits in the order of the task's classes, without gradient."""
        ...


class Sees(Protocol):
    """The samples of a stage as a teacher is to see them where that is not as the student does, e.g. at its own size."""

    @property
    def fingerprint(self) -> str:
        """Hash of them."""
        ...

    def __call__(self, rows: NDArray[np.int64], how: Rendering, device: torch.device) -> Tensor:
        """The rendering `how` of `rows` of the stage's store. Raises ConfigError for one that cannot be had."""
        ...


class Live(nn.Module):
    """A teacher that runs on the very samples the student sees, mixed and augmented as they are.

    net    taken over, not copied: it moves to the student's device, and training it is a mistake that resuming finds
    head   which of its heads answers
    beside heads whose answers stand before those of `head` in one list, all from one pass of the network
    reads  blocks whose outputs `taps` gives
    order  `order[k]` is the teacher's class that is the task's class k; None: the same classes in the same order
    sees   where its samples come from, which are those that the student sees, drawn alike; None: from the student

    Always in eval mode and without gradient, whatever its parent does. It normalises the samples itself, and resizes
    images of another size (bilinear with antialiasing, unrounded) first; what a smaller size has lost, only `sees` can
    have. Not saved with its term but named there by a digest: loading the state of another teacher raises CheckpointError.

    Raises ConfigError for a head or blocks that the net does not have, or an order that is none.
    """

    net: Net

    def __init__(
        self,
        net: Net,
        head: str,
        *,
        beside: Sequence[str] = (),
        reads: Sequence[str] = (),
        order: Sequence[int] | None = None,
        sees: Sees | None = None,
    ) -> None:
        super().__init__()
        self.head, self.heads, self.reads, self.sees = head, (*beside, head), tuple(reads), sees
        self.order = None if order is None else tuple(int(k) for k in order)
        problems(ConfigError, "the teacher cannot be used as asked:", _faults(net, self.heads, self.reads, self.order))
        # Past nn.Module's own bookkeeping, see the head of this file.
        object.__setattr__(self, "net", net.eval().requires_grad_(False).to(memory_format=torch.channels_last))  # type: ignore[call-overload]
        self._seen: tuple[weakref.ref[StepLike], dict[str, dict[str, Activation]]] | None = None
        self._marked: tuple[tuple[Any, ...], str] | None = None

    @property
    def num_classes(self) -> int:
        """Classes it answers about, after `order`."""
        return sum(self.net.head(name).num_classes for name in self.heads) if self.order is None else len(self.order)

    @property
    def who(self) -> str | tuple[str, ...]:
        """The head that answers, or the heads: what digests and keys are made of."""
        return self.head if len(self.heads) == 1 else self.heads

    def logits(self, step: StepLike, view: str = "main") -> Tensor:
        """`[B, num_classes]`, without gradient. One pass per step and view serves `logits` and `taps`."""
        return self._answer(self._passed(step, view))

    def taps(self, step: StepLike, view: str = "main") -> Mapping[str, Activation]:
        """Outputs of the blocks it `reads`, without gradient."""
        passed = self._passed(step, view)
        return {name: passed[name] for name in self.reads}

    @torch.no_grad()
    def of(self, samples: Tensor) -> Tensor:
        """`[B, num_classes]` answers about samples `[B, H, W, C]` uint8 or `[B, D]`, as `logits` gives them."""
        return self._answer(self._pass(samples))

    def also_reads(self, blocks: Sequence[str]) -> None:
        """Have `taps` give these blocks' outputs too. Raises ConfigError for blocks that the net does not have."""
        problems(ConfigError, "the teacher cannot be used as asked:", _faults(self.net, self.heads, tuple(blocks), None))
        self.reads = tuple(dict.fromkeys((*self.reads, *blocks)))
        self._seen = None

    def pooled(self, step: StepLike, block: str, view: str = "main") -> Tensor:
        """`[B, C]` output of a block it reads, averaged over places."""
        return self.net.pooled(block, self.taps(step, view)[block])

    @torch.no_grad()
    def _answer(self, passed: Mapping[str, Activation]) -> Tensor:
        each = [self.net.answer(passed, name) for name in self.heads]
        logits = each[0] if len(each) == 1 else torch.cat(each, 1)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return logits if self.order is None else logits[:, list(self.order)]

    def _passed(self, step: StepLike, view: str) -> dict[str, Activation]:
        if self._seen is None or self._seen[0]() is not step:
            # A weak reference: the step's activations must not live until the next one.
            self._seen = (weakref.ref(step), {})
        views = self._seen[1]
        if view not in views:
            samples = step.samples(view)
            if self.sees is not None:
                samples = self.sees(step.ids.cpu().numpy(), step.rendering(view), samples.device)
            views[view] = self._pass(samples)
        return views[view]

    @torch.no_grad()
    def _pass(self, samples: Tensor) -> dict[str, Activation]:
        self.net.eval()  # another holder of the net may have switched it
        wanted = {*self.reads, *(tap for name in self.heads for tap in self.net.head(name).reads)}
        until = max(wanted, key=self.net.block_names.index)
        return self.net.run(shown(samples, self.net.input), until=until, taps=wanted)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Live:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.net._apply(fn)  # type: ignore[no-untyped-call]
        self._seen = None
        return self

    def digest(self, *, again: bool = False) -> str:
        """Hash of everything its answers depend on: weights, statistics, blocks, input, head, order, own samples.

        again  look at every number, also where torch has not heard of a change (of `weight.data`, say)
        """
        tensors = dict(self.net.state_dict(keep_vars=True))
        versions = tuple((name, tensor.data_ptr(), tensor._version) for name, tensor in tensors.items())
        if again or self._marked is None or self._marked[0] != versions:
            mark = hashlib.blake2b(digest_size=16)
            mark.update(repr((self.net.block_names, self.net.input, self.who, self.order)).encode())
            mark.update(("" if self.sees is None else self.sees.fingerprint).encode())
            for name, tensor in tensors.items():
                mark.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
                flat = tensor.detach().cpu().contiguous().reshape(-1)
                mark.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
            self._marked = (versions, mark.hexdigest())
        return self._marked[1]

    def get_extra_state(self) -> dict[str, str]:
        """What a checkpoint keeps of the teacher."""
        return {"teacher": self.digest()}

    def set_extra_state(self, state: Mapping[str, str]) -> None:
        """Check that the checkpoint was made with this teacher. Raises CheckpointError otherwise."""
        if state["teacher"] != self.digest():
            raise CheckpointError(
                f"the checkpoint was made with another teacher ({state['teacher']}) than the one given now "
                f"({self.digest()}). Give the same teacher, or start again in a new --out folder"
            )


def same_classes(head: str, student: Tensor, teacher: Tensor) -> None:
    """Raise ConfigError unless logits of student and teacher are about equally many classes."""
    if student.shape[1] != teacher.shape[1]:
        raise ConfigError(
            f"the student's head {head!r} answers about {student.shape[1]} classes, the teacher about {teacher.shape[1]}; "
            "say which of the teacher's classes each of the student's is (order=)"
        )


def _faults(net: Net, heads: Sequence[str], reads: Sequence[str], order: Sequence[int] | None) -> list[str]:
    faults = [f"it has no block {name!r}; there are {net.block_names}" for name in reads if name not in net.blocks]
    if lacking := [name for name in heads if name not in net.heads]:
        return [*faults, f"it has no head {', '.join(map(repr, lacking))}; heads are {sorted(net.heads) or 'none'}"]
    known = sum(net.head(name).num_classes for name in heads)
    if order is not None and not order:
        faults.append("order is empty; name the teacher's class for every class of the task")
    wrong = sorted({k for k in order or () if not 0 <= k < known})
    if wrong:
        faults.append(f"order names classes {wrong}; the teacher's {known} classes are 0 to {known - 1}")
    twice = sorted({k for k in order or () if list(order or ()).count(k) > 1})
    if twice:
        faults.append(f"order names classes {twice} more than once; one class of the teacher answers for one of the task")
    return faults


def shown(samples: Tensor, spec: InputSpec) -> Tensor:
    """Samples `[B, H, W, C]` (or `[B, D]`) as a network with another input wants to see them: resized and normalised.

    Raises ConfigError when they are of another kind, or have another number of channels or features.
    """
    image = samples.ndim == 4
    if image != (spec.kind == "image"):
        theirs, ours = ("images", spec.kind + "s") if image else ("vectors", spec.kind + "s")
        raise ConfigError(f"the data are {theirs}, the teacher wants {ours}; give a teacher for the same kind of data")
    if not image:
        if samples.shape[1] != spec.size:
            raise ConfigError(f"the data have {samples.shape[1]} features, the teacher wants {spec.size}")
        return samples
    if samples.shape[3] != len(spec.mean):
        raise ConfigError(f"the images have {samples.shape[3]} channels, the teacher wants {len(spec.mean)}")
    if samples.shape[1:3] != (spec.size, spec.size) and len(samples):
        maps = samples.permute(0, 3, 1, 2).float()
        with torch.autocast(samples.device.type, enabled=False):
            maps = F.interpolate(maps, (spec.size, spec.size), mode="bilinear", antialias=True)
        samples = maps.permute(0, 2, 3, 1).clamp(0, 255)
    return normalise(samples, spec.mean, spec.std)


class Several(nn.Module):
    """The answers of several teachers as one: their weighted average.

    weights  one number >= 0 per teacher, made to sum to 1; None: all alike
    average  `logits` (the geometric mean of probabilities, at every temperature), or `probabilities`, given as the
             logarithm of the mean of their softmax at temperature 1

    Raises ConfigError for no teachers, weights that do not fit them, or teachers of different numbers of classes.
    """

    def __init__(self, answers: Sequence[Answers], weights: Sequence[float] | None = None, average: str = "logits") -> None:
        super().__init__()
        given = [1.0] * len(answers) if not weights else [float(w) for w in weights]
        problems(ConfigError, "the teachers cannot be averaged:", _several_faults(answers, given, average))
        self.answers, self.average = tuple(answers), average
        self.weights = tuple(w / sum(given) for w in given)
        # So that those that are modules move and are saved with it.
        self.teachers = nn.ModuleList([one for one in answers if isinstance(one, nn.Module)])

    @torch.no_grad()
    def logits(self, step: StepLike, view: str = "main") -> Tensor:
        """`[B, C]`: averaged logits, or log of averaged probabilities; without gradient."""
        chosen = [(one, weight) for one, weight in zip(self.answers, self.weights, strict=True) if weight > 0]
        found = [one.logits(step, view) for one, _ in chosen]
        classes = sorted({logits.shape[1] for logits in found})
        if len(classes) > 1:
            raise ConfigError(f"the teachers answer about {classes} classes; map them all to the task's classes (order=)")
        if self.average == "logits":
            return torch.stack([logits * weight for logits, (_, weight) in zip(found, chosen, strict=True)]).sum(0)
        logs = [F.log_softmax(logits, 1) + math.log(weight) for logits, (_, weight) in zip(found, chosen, strict=True)]
        return torch.stack(logs).logsumexp(0)


def each_of(answers: Answers | None) -> list[Answers]:
    """Every one of several teachers, one by one; none of None."""
    return [] if answers is None else list(answers.answers) if isinstance(answers, Several) else [answers]


def _several_faults(answers: Sequence[Answers], weights: Sequence[float], average: str) -> list[str]:
    faults = [] if answers else ["there are none; give at least one"]
    if len(weights) != len(answers):
        faults.append(f"{len(weights)} weights were given for {len(answers)} teachers; give one for each")
    if any(not 0 <= w < math.inf for w in weights) or (weights and not sum(weights) > 0):
        faults.append(f"weights {list(weights)} must be numbers >= 0 and not all zero")
    if average not in ("logits", "probabilities"):
        faults.append(f"average={average!r} is not one of 'logits', 'probabilities'")
    return faults
