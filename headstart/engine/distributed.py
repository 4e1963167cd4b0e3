"""One process or many (torchrun): the few collective operations the engine needs, all no-ops in one process.

What only the first process can do (write files, look at measured seconds) goes through `first`: a failure there is then a
failure of all, and none waits for an answer that will never come.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from headstart import errors
from headstart.errors import ConfigError, HeadstartError, TrainingError

Value = TypeVar("Value")

_DEFECT = 70
"""Exit code of what nobody expected, as the command line has it."""
_ALONE: ContextVar[bool] = ContextVar("alone", default=False)
"""Whether this is work of the first process alone: the others wait for its end, and can take part in nothing."""


def start(device: str = "cpu") -> None:
    """Join the process group that torchrun describes in the environment; nothing happens without torchrun.

    device  what the job computes on: `cpu` or `cuda`, of which each process takes the one torchrun numbers it for

    Raises ConfigError for a device with a number, which all processes would share, and when there are too few devices.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ or dist.is_initialized():
        return
    # Its functions take the group that exists when it is imported as a default argument. Imported later, by a library, it
    # would keep the group's threads alive after `stop`, and one that needs Python while Python ends aborts the process.
    from torch.distributed.nn import functional  # noqa: F401

    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.startswith("cuda"):
        _check_devices(device, local)
        torch.cuda.set_device(local)
        where = torch.device("cuda", local)
        dist.init_process_group("nccl", timeout=timedelta(hours=2), device_id=where)
    else:
        dist.init_process_group("gloo", timeout=timedelta(hours=2))


def _check_devices(device: str, local: int) -> None:
    if ":" in device:
        raise ConfigError(
            f"--device {device}: torchrun gives every process a device of its own; use --device cuda, and choose among them "
            "by CUDA_VISIBLE_DEVICES"
        )
    wanted, there = int(os.environ.get("LOCAL_WORLD_SIZE", local + 1)), torch.cuda.device_count()
    if wanted > there:
        raise ConfigError(
            f"torchrun started {wanted} processes on a machine with {there} CUDA device{'s' if there != 1 else ''}; "
            f"use --nproc-per-node {there}, or --device cpu"
        )


def stop() -> None:
    """Leave the process group, if one was joined."""
    if dist.is_initialized():
        dist.destroy_process_group()


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this process writes files and speaks."""
    return rank() == 0


def _many() -> bool:
    """Whether there are others to talk to now."""
    return world_size() > 1 and not _ALONE.get()


def barrier() -> None:
    """Wait for all processes."""
    if _many():
        with _others_there():
            dist.barrier()


def share(value: Any) -> Any:
    """The first process's `value` (anything picklable made by headstart itself), in every process."""
    if not _many():
        return value
    box = [value]
    with _others_there():
        dist.broadcast_object_list(box, src=0)
    return box[0]


class _Failure(NamedTuple):
    """An error on its way to the other processes. kind: the nearest class in `headstart.errors`."""

    kind: str
    text: str
    exit_code: int


def first(compute: Callable[[], Value]) -> Value:
    """What `compute` returns in the first process, which alone calls it; the same (pickled) in every process.

    What it raises there is raised in all: the same HeadstartError, and for anything unexpected a plain one, with `told` set
    where it is the first process that tells the user. Within `compute` collective operations are as in one process.
    """
    if not _many():
        return compute()
    if not is_first():
        received: Value = _received(share(None))
        return received
    token = _ALONE.set(True)
    try:
        value = compute()
    except Exception as error:
        _ALONE.reset(token)
        _send_failure(error)
        raise
    except BaseException:  # Ctrl-C for the second time: no more waiting for anyone
        _ALONE.reset(token)
        raise
    _ALONE.reset(token)
    share(("ok", value))
    return value


def _received(message: tuple[str, Any]) -> Any:
    kind, content = message
    if kind == "ok":
        return content
    error: HeadstartError = getattr(errors, content.kind)(content.text)
    error.exit_code, error.told = content.exit_code, True
    raise error


def _send_failure(error: Exception) -> None:
    if isinstance(error, HeadstartError):
        kind = next(one.__name__ for one in type(error).__mro__ if one.__module__ == errors.__name__)
        failure = _Failure(kind, str(error), error.exit_code)
    else:
        said = f"the first process failed by {type(error).__name__}: {error}"
        failure = _Failure(HeadstartError.__name__, said, _DEFECT)
    try:
        share(("error", failure))
    except TrainingError:
        return  # there is nobody left to tell, and the first error is the one that matters


@contextmanager
def _others_there() -> Iterator[None]:
    """Around a collective operation: a process that has ended is no defect of this one."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        lost = TrainingError("another process of this run has ended, and says why itself; mend that and go on with --resume")
        lost.told = not is_first()
        raise lost from error


def sum_over_processes(tensors: Iterable[Tensor], asked: Sequence[bool] = ()) -> list[bool]:
    """Replace each tensor by its sum over all processes, in one message per kind of number.

    asked  questions, the same number everywhere; the answer to each is whether any process says yes. They travel with the
           tensors: a message of their own would cost as much again
    """
    if not _many():
        return list(asked)
    by_kind: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_kind.setdefault(tensor.dtype, []).append(tensor)
    answers = torch.tensor([float(yes) for yes in asked])
    if asked and not by_kind:
        by_kind[answers.dtype] = []
    for number, (dtype, group) in enumerate(by_kind.items()):
        told = answers.to(group[0].device if group else _device(), dtype) if number == 0 else None
        parts = [*group] if told is None else [*group, told]
        flat = torch.cat([tensor.reshape(-1) for tensor in parts])
        with _others_there():
            dist.all_reduce(flat)
        start = 0
        for tensor in parts:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()
        answers = answers if told is None else told
    return [bool(answer) for answer in answers.tolist()]


def _device() -> torch.device:
    """Where messages of this process's group live."""
    return torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")


def from_first(tensors: Iterable[Tensor]) -> None:
    """Overwrite each tensor by the first process's."""
    if _many():
        for tensor in tensors:
            with _others_there():
                dist.broadcast(tensor, src=0)


def parts(total: int) -> list[slice]:
    """The part of a batch of `total` samples that each process has; they are contiguous and differ by one at most."""
    edges = [total * place // world_size() for place in range(world_size() + 1)]
    return [slice(low, high) for low, high in itertools.pairwise(edges)]


def my_slice(total: int) -> slice:
    """The part of a batch of `total` samples that is this process's."""
    return parts(total)[rank()]
