"""What a strategy costs, counted and not measured: operations of training and of answering, what has to be stored.

Operations are floating-point operations, a multiply-add counting two, of matrix products, convolutions and attention, and of
the decompositions that solvers use.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from headstart.data.mix import Mix
from headstart.data.task import Task
from headstart.engine import distributed
from headstart.engine.features import FeatureBank
from headstart.engine.fit import Machine
from headstart.engine.inputs import decide
from headstart.engine.prefix_cache import Prefix
from headstart.engine.record import Recorded
from headstart.engine.sampler import plan_for
from headstart.engine.solve import solve
from headstart.engine.trained import release, resolve
from headstart.nets.cost import block_flops, head_macs, tensors_apart
from headstart.nets.net import Net
from headstart.stage import Solve, Stage, Train
from headstart.terms.teacher import Live, each_of

FORWARD, PASSED, LEARNED = 1, 2, 3
"""Forward passes' worth of work of a block per sample: only run; run with the gradient passing through; trained."""


@dataclass(frozen=True)
class Course:
    """What one way to adapt does, from its stages.

    flops       floating-point operations of learning
    old_images  samples of other data than the task's that it needs again
    """

    flops: float
    old_images: int


def course_of(
    net: Net,
    stages: Iterable[Stage | Solve],
    task: Task,
    machine: Machine,
    flops: Mapping[str, int],
    bank: FeatureBank | None = None,
    seed: int = 0,
) -> Course:
    """Go through `stages` of a strategy on `net` and count what they do; training is not carried out, solving is.

    flops  multiply-adds of the net's blocks, `block_flops(net)`
    bank   features that heads are solved on; None leaves the solvers' own work out
    seed   of the run, which folds of a cross-validation follow from

    A block that trains costs three forward passes a sample and epoch (forward, gradient of the weights, gradient of the
    input), one that lies above it untrained two, one below only the forward pass; a prefix that the engine keeps counts once
    per rendering it keeps (of one computed from what an earlier stage kept, the blocks since then), and so do a teacher's
    answers. A view that shows pieces of an image counts all of them; a method's own modules and copies do not count. Of a
    solved head the features count once, and what its solver does on them (see `solving`), its cross-validation included.
    Looking at held-out images does not count.
    """
    total, others = 0.0, set[tuple[str, int]]()
    for stage in stages:
        if isinstance(stage, Solve):
            total += len(stage.task) * 2.0 * _forward(net, _solved_reads(net, stage), flops)
            total += 0 if bank is None else solving(net, stage, bank, seed)
            others |= _others(stage.task, task)
        else:
            total += sum(stage_parts(net, stage, machine, flops).values())
            others |= _others(stage.data, task)
        release(net)
    return Course(total, len(others))


def solving(net: Net, stage: Solve, bank: FeatureBank, seed: int = 0) -> int:
    """Floating-point operations of finding a head on features that are there, counted by finding it once more.

    How many steps a solver takes depends on the data, so that no formula tells. Counted are products with a matrix, and
    decompositions as usual (Golub & Van Loan 2013): n^3 / 3 of Cholesky's, 2 n^3 / 3 of Gauss's, 9 n^3 of a symmetric
    matrix into all eigenvalues and vectors.
    """

    def once() -> int:
        found, counter = copy.deepcopy(net), FlopCounterMode(display=False, custom_mapping=_EXTRA)
        names = sorted({*_solved_reads(net, stage)}, key=net.block_names.index)
        bank.get(found, stage.task.store, stage.task.rows, names)  # by now, so that the backbone is not counted here
        with _one_thread(), counter:  # the counter does not see what other threads do
            solve(found, stage, seed=seed, bank=bank)
        return int(counter.get_total_flops())

    return int(distributed.first(once))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


Shape = Sequence[int]


def _triangles(right: Shape, matrix: Shape, *_: Any, **__: Any) -> int:
    return 2 * matrix[-1] ** 2 * right[-1]


def _gauss(matrix: Shape, right: Shape, *_: Any, **__: Any) -> int:
    n = matrix[-1]
    return math.prod(matrix[:-2]) * (2 * n**3 // 3 + 2 * n**2 * (right[-1] if len(right) == len(matrix) else 1))


def _eigen(matrix: Shape, *_: Any, **__: Any) -> int:
    return math.prod(matrix[:-2]) * 9 * matrix[-1] ** 3


def _cholesky(matrix: Shape, *_: Any, **__: Any) -> int:
    return math.prod(matrix[:-2]) * matrix[-1] ** 3 // 3


_EXTRA: dict[Any, Callable[..., int]] = {
    torch.ops.aten.addmm_: lambda _, left, right, **__: 2 * math.prod(left) * right[-1],
    torch.ops.aten.mv: lambda matrix, *_, **__: 2 * math.prod(matrix),
    torch.ops.aten.addmv: lambda _, matrix, *__, **___: 2 * math.prod(matrix),
    torch.ops.aten._linalg_eigh: _eigen,
    torch.ops.aten.linalg_cholesky_ex: _cholesky,
    torch.ops.aten.cholesky_solve: _triangles,
    torch.ops.aten._linalg_solve_ex: _gauss,
}
"""What PyTorch's counter does not know, from the shapes of the arguments."""


def _others(data: Task | Mix, task: Task) -> set[tuple[str, int]]:
    """Samples of `data` that are none of the task's: the store they are in and their row."""
    rows = np.setdiff1d(data.rows, task.rows) if data.store is task.store else data.rows
    return {(data.store.fingerprint, int(row)) for row in rows}


def _solved_reads(net: Net, stage: Solve) -> list[str]:
    return [name for names in (stage.reads or (net.head(stage.head).reads,)) for name in names]


def _forward(net: Net, reads: Sequence[str], flops: Mapping[str, int]) -> int:
    """Multiply-adds of the blocks up to the deepest of `reads`."""
    return sum(flops[name] for name in net.between(None, max(reads, key=net.block_names.index)))


def stage_parts(net: Net, stage: Stage, machine: Machine, flops: Mapping[str, int]) -> dict[str, float]:
    """Floating-point operations of a stage by what they are for: `samples`, `prefix` kept, `teacher`, `replay`."""
    trained, plan = resolve(net, stage), plan_for(stage, 0)
    prefix = Prefix(net, trained.first, plan.batch_size)
    learned = {name.split(".")[1] for name in trained.parameters if name.startswith("blocks.")}
    shares, above = dict[str, int](), False
    for name in net.block_names:
        above = above or name in learned
        if name not in prefix.names:
            shares[name] = LEARNED if name in learned else PASSED if above else FORWARD

    def answered(heads: Iterable[str]) -> int:
        rules = {head: trained.rules.get(f"heads.{head}.linear.weight") for head in heads}
        return sum(head_macs(net, head) * (LEARNED if isinstance(rule, Train) else PASSED) for head, rule in rules.items())

    visits = plan.steps / plan.per_epoch * plan.samples
    fresh = prefix.names if stage.below not in prefix.names else net.between(stage.below, prefix.end)
    own = answered({head for term in stage.terms.values() if not term.also_runs for head in term.heads})
    kept, shown, replayed = 0.0, 0.0, 0.0
    for view in stage.views.values():
        cached = decide(net, stage, view, prefix, plan, machine).cached
        seen = block_flops(net, view.shape(stage.data.store.array.shape[1:]))
        below = sum(seen[name] for name in prefix.names)
        kept += 2.0 * sum(seen[name] for name in fresh) * (view.fixed_draws or 1) * plan.samples if cached else 0.0
        shown += 2.0 * visits * (_weighed(shares, seen) + own + (0 if cached else below))
    whole = _weighed(shares, flops) + sum(flops[name] for name in prefix.names)
    for term in (term for term in stage.terms.values() if term.also_runs):
        replayed += 2.0 * plan.steps * term.also_runs * (whole + answered(term.heads))
    parts = {"samples": shown, "prefix": kept, "teacher": _taught_flops(stage, plan.samples, visits), "replay": replayed}
    return {name: value for name, value in parts.items() if value}


def _weighed(shares: Mapping[str, int], flops: Mapping[str, int]) -> int:
    return sum(share * flops[name] for name, share in shares.items())


def solve_parts(net: Net, stage: Solve, flops: Mapping[str, int]) -> dict[str, float]:
    """Operations of the features that a head is solved on; what the solver does on them is left out."""
    return {"features": len(stage.task) * 2.0 * _forward(net, _solved_reads(net, stage), flops)}


def passing_flops(net: Net, machine: Machine, stage: Stage | Solve) -> float | None:
    """Operations of the network's own passes in a stage; None where its terms show the blocks something else than its views,
    as a masked autoencoder does. See `course_of` for what counts."""
    flops = block_flops(net)
    if isinstance(stage, Solve):
        return sum(solve_parts(net, stage, flops).values())
    if not any(term.reads or term.heads for term in stage.terms.values()):
        return None
    return sum(stage_parts(net, stage, machine, flops).values())


def _taught_flops(stage: Stage, samples: int, visits: float) -> float:
    """What the stage's teachers do: one pass for every recorded rendering, or for every sample they see live."""
    asked = {id(one): one for term in stage.terms.values() for one in each_of(getattr(term, "teacher", None))}
    asked |= {id(one): one for term in stage.terms.values() if isinstance(one := getattr(term, "answers", None), Live)}
    total = 0.0
    for one in asked.values():
        if isinstance(one, Recorded):
            total += int(one.filled.any(1).sum()) * samples * _answer_flops(one.teacher)
        elif isinstance(one, Live):
            total += visits * _answer_flops(one)
    return total


def _answer_flops(teacher: Live) -> int:
    """Of one pass that answers with all the heads it has."""
    more = sum(2 * head_macs(teacher.net, head) for head in teacher.heads if head != teacher.head)
    return inference_flops(teacher.net, teacher.head) + more


def inference_flops(net: Net, head: str, flops: Mapping[str, int] | None = None) -> int:
    """Floating-point operations of one answer of `head`: the blocks up to the deepest it reads, and itself."""
    counted = block_flops(net) if flops is None else flops
    return 2 * (_forward(net, net.head(head).reads, counted) + head_macs(net, head))


@dataclass(frozen=True)
class Stored:
    """What must be kept besides the network one started from, to answer this task too.

    parameters  numbers learned
    bytes       of these, and of buffers such as batch normalisation's statistics
    blocks      numbers of the backbone that changed; 0 where it is as it was
    """

    parameters: int
    bytes: int
    blocks: int


def stored(before: Net, after: Net, head: str) -> Stored:
    """Parameters and buffers of the blocks that differ from `before`, and the head. Counters of steps are not needed."""
    numbers = tensors_apart(before.blocks, after.blocks)
    module = after.head(head)
    learned = [*numbers.parameters, *module.parameters()]
    rest = [*numbers.buffers, *(b for b in module.buffers() if b.is_floating_point())]
    size = sum(tensor.numel() * tensor.element_size() for tensor in (*learned, *rest))
    blocks = sum(tensor.numel() for tensor in (*numbers.parameters, *numbers.buffers))
    return Stored(sum(tensor.numel() for tensor in learned), size, blocks)
