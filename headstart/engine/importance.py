"""How important each weight is for what a network has learned: diagonal Fisher information, and MAS.

All are means over samples of a measure of single samples' gradients, in eval mode on the plain view. Four kinds of Fisher
go by that name and differ by orders of magnitude, so a penalty's strength belongs to one kind:

    exact      F = E_x E_{y ~ p(y|x)} (d log p(y|x) / d theta)^2, over the model's own answers (Kirkpatrick et al. 2017)
    empirical  the same with the sample's label for y: small where the model is right
    batch      the squared gradient of the mean loss of a batch: about as many times smaller as a batch has samples
    likeliest  the same with the model's likeliest answers for labels (the program of Hsu et al. 2018): where the model is
               wrong, its own doubt counts and not the error

With z the logits, E_y (d log p)(d log p)^T = J^T (diag p - p p^T) J, whatever the number of classes C, has rank C - 1: any
V with V V^T = diag p - p p^T gives it in C - 1 backward passes, of which none computes a weight's gradient.

Where the gradients of single samples come from is decided for every weight by a trial on a few samples:

    closed form  weights of linear, convolution and normalisation layers that are used once, from the layer's input and the
                 gradient of its output (`importance_layers`), where these reproduce what autograd says of each sample
    vmap         all others (tokens, positions, layers used twice, layers of other kinds): `torch.func`, samples in chunks
    one by one   those again, where an operation of the network cannot be vectorised
    none         weights that the heads' answers do not depend on: zero
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.data.task import UNKNOWN, Task
from headstart.engine import interrupt
from headstart.engine.evaluate import batch_for
from headstart.engine.importance_plan import Answering, Plan, plan_of
from headstart.engine.log import SILENT, RunLog
from headstart.engine.step import present
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.seeding import permutation

Kind = Literal["exact", "empirical", "batch", "likeliest"]
KINDS: tuple[Kind, ...] = ("exact", "empirical", "batch", "likeliest")
Importances = dict[str, Tensor]
_Directions = Callable[[Tensor, Tensor], list[Tensor]]
"""From logits `[B, C]` and labels `[B]`: K directions `[B, C]` in which the logits' gradients are taken."""


def fisher(
    net: Net,
    task: Task,
    heads: str | Sequence[str],
    *,
    kind: Kind = "exact",
    samples: int | None = None,
    seed: int = 0,
    batch: int = 128,
    log: RunLog = SILENT,
) -> Importances:
    """The diagonal of the Fisher information of what `heads` answer, a number >= 0 per weight, of the log-likelihood.

    heads    one, or several whose classes make one list; labels count from the first class of the last head
    kind     see the head of this file. `empirical` and `batch` take labelled samples only
    samples  how many of the task's, drawn by `seed`; None: all
    batch    samples per batch of kinds `batch` and `likeliest`; the last may be smaller, and counts as much less

    Returns full parameter names (`blocks.`, `heads.`) -> float32 tensors of the parameters' shapes, for the blocks and those
    heads. Modes, gradients and BatchNorm statistics stay as they are. Raises ConfigError for an unknown kind or head, and
    where there is no sample.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind={kind!r} of Fisher is unknown; there are {', '.join(KINDS)}")
    answering = Answering(net, _several(heads))
    rows = _rows(task, samples, seed, labelled=kind in ("empirical", "batch"))
    if kind in ("batch", "likeliest"):
        return _of_batches(answering, task, rows, batch, log, own=kind == "likeliest")
    return _mean(answering, task, rows, _exact if kind == "exact" else _empirical, torch.square, log)


def mas_importance(
    net: Net,
    task: Task,
    heads: str | Sequence[str],
    *,
    samples: int | None = None,
    seed: int = 0,
    log: RunLog = SILENT,
) -> Importances:
    """Mean over samples of |d ||f(x)||^2 / d theta|, f the logits (Aljundi et al. 2018, eq. 2 with 3); needs no labels.

    Arguments and result as of `fisher`; f is the logits of all `heads` side by side.
    """
    answering = Answering(net, _several(heads))
    return _mean(answering, task, _rows(task, samples, seed, labelled=False), _length, torch.abs, log)


def factor(logits: Tensor) -> Tensor:
    """V `[B, C, C - 1]` with V V^T = diag p - p p^T for p the softmax of `logits` `[B, C]`.

    With q = sqrt p that matrix is diag(q) (1 - q q^T) diag(q), and what stands between is the projection on all that is
    orthogonal to q: a reflection that takes the last axis to -q takes the other axes there.
    """
    q = torch.softmax(logits, 1).sqrt()
    share = q[:, :-1] / (1 + q[:, -1:])
    axes = torch.eye(q.shape[1], dtype=q.dtype, device=q.device)
    mirror = q + axes[-1]
    return q[:, :, None] * (axes[None, :, :-1] - mirror[:, :, None] * share[:, None, :])


def _exact(logits: Tensor, labels: Tensor) -> list[Tensor]:
    return list(factor(logits).unbind(2))


def _empirical(logits: Tensor, labels: Tensor) -> list[Tensor]:
    return [F.one_hot(labels, logits.shape[1]).to(logits.dtype) - torch.softmax(logits, 1)]


def _length(logits: Tensor, labels: Tensor) -> list[Tensor]:
    return [2 * logits]


def _several(heads: str | Sequence[str]) -> tuple[str, ...]:
    found = (heads,) if isinstance(heads, str) else tuple(heads)
    if not found:
        raise ConfigError("importances are of what heads answer; name one at least")
    return found


def _rows(task: Task, samples: int | None, seed: int, *, labelled: bool) -> NDArray[np.int64]:
    """Rows of the store, in the task's order."""
    rows = task.rows[task.targets != UNKNOWN] if labelled else task.rows
    if samples is not None and samples < 1:
        raise ConfigError(f"samples={samples}: importances need one sample at least, or none for all")
    if not len(rows):
        raise ConfigError(f"task {task.name!r} has no {'labelled ' if labelled else ''}sample to find importances on")
    if samples is None or samples >= len(rows):
        return rows
    return rows[np.sort(permutation(len(rows), seed, "importance")[:samples])]


def _mean(
    answering: Answering,
    task: Task,
    rows: NDArray[np.int64],
    directions: _Directions,
    measure: Callable[[Tensor], Tensor],
    log: RunLog,
) -> Importances:
    """Mean over `rows` of the sum over directions of `measure` of single samples' gradients."""
    with _observed(answering.net):
        first, labels = _shown(answering, task, rows[:4])
        with torch.no_grad():
            count = len(directions(answering(first), labels))
        total = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in answering.named().items()}
        if count:
            plan = plan_of(answering, first, count)
            log.event("importance", samples=len(rows), **plan.told())
            # Layers in the closed form take as many samples as fit; a batch no larger than evaluation's would waste them.
            width = max(min(plan.width, 4 * batch_for(answering.net.input, str(answering.net.device))), 1)
            for part in _passes(rows, width, log):
                _add(plan, *_shown(answering, task, part), directions, measure, total)
    return {name: (value / len(rows)).float() for name, value in total.items()}


def _add(
    plan: Plan,
    x: Tensor,
    labels: Tensor,
    directions: _Directions,
    measure: Callable[[Tensor], Tensor],
    total: Importances,
) -> None:
    logits, seen = plan.forward(x)
    chosen = directions(logits.detach(), labels)
    for name, value in plan.closed_form(logits, seen, chosen, measure):
        total[name] += value
    for name, value in plan.others(x, chosen, measure):
        total[name] += value


def _of_batches(
    answering: Answering, task: Task, rows: NDArray[np.int64], batch: int, log: RunLog, *, own: bool
) -> Importances:
    """Squared gradients of the mean loss of every batch, averaged by the batches' sizes.

    own  the likeliest answers stand for the labels
    """
    if batch < 1:
        raise ConfigError(f"batch={batch}: a batch has one sample at least")
    named = answering.named()
    total = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in named.items()}
    with _observed(answering.net):
        for part in _passes(rows, batch, log):
            x, labels = _shown(answering, task, part)
            logits = answering(x)
            loss = F.cross_entropy(logits, logits.argmax(1) if own else labels)
            gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
            for name, gradient in zip(named, gradients, strict=True):
                if gradient is not None:
                    total[name] += gradient.double().square() * len(part)
    return {name: (value / len(rows)).float() for name, value in total.items()}


def _passes(rows: NDArray[np.int64], width: int, log: RunLog) -> Iterator[NDArray[np.int64]]:
    starts = range(0, len(rows), width)
    for number, start in enumerate(starts):
        interrupt.check()
        yield rows[start : start + width]
        log.tick(number + 1, len(starts), "finding what matters")


def _shown(answering: Answering, task: Task, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Plain samples as the net wants them, and labels in the one list of classes."""
    net = answering.net
    like = next(iter(net.parameters()))
    x = present(task.store.gather(rows).to(like.device), net.input).to(like.dtype)
    before = sum(net.head(name).num_classes for name in answering.heads[:-1])
    labels = torch.from_numpy(task.labels[rows]).to(like.device)
    return x, labels + before


@contextmanager
def _observed(net: Net) -> Iterator[None]:
    """Eval mode, every weight with a gradient, the random streams forked; all as before afterwards."""
    modes = [(module, module.training) for module in net.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in net.parameters()]
    devices = [net.device] if net.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices), torch.enable_grad():
            net.eval()
            _each(net.parameters())
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, before in wanted:
            parameter.requires_grad_(before)


def _each(parameters: Iterable[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.requires_grad_(True)
