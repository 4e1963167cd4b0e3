"""What weightings that look at every task's gradient take besides a step: further backward passes, counted."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from headstart.balance.gradients import gradient_of
from headstart.data.mix import Mix
from headstart.data.task import valid
from headstart.engine.sampler import plan_for
from headstart.engine.trained import resolve
from headstart.nets.cost import input_shape
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.multitask import last_shared


def task_gradients(net: Net, stage: Stage, family: str) -> dict[str, float]:
    """Floating-point operations of a stage that go into gradients of single tasks, beyond one backward pass per step.

    family  of the weighting, see `catalog/weightings.py`. `by gradient norm`: every task's gradient by the weights of the
            last shared block, and nothing below it. `by gradients`: a backward pass of every task in the place of one of
            all together. Others take none

    Counted on one sample by differentiating the answers, so that what a task's loss does not reach (another task's tower)
    counts nothing. Which tasks are in a step is seen in the batches of an epoch; a task that is absent has no gradient.
    Element-wise work does not count, nor does comparing gradients once per epoch, which is no part of a weighting.
    """
    if family not in ("by gradient norm", "by gradients") or not isinstance(stage.data, Mix):
        return {}
    plan = plan_for(stage, 0)
    visits = plan.steps / plan.per_epoch * plan.samples
    passes = _Passes(net, set(resolve(net, stage).parameters), list(stage.data.tasks), whole=family == "by gradients")
    each = sum(share * passes.besides(names) for names, share in _present(stage.data, plan.batch_size).items())
    return {"task gradients": visits * each} if each else {}


def _present(mix: Mix, batch_size: int) -> Mapping[tuple[str, ...], float]:
    """Which tasks have labels in a batch, and in which share of the samples that are shown."""
    counts: Counter[tuple[str, ...]] = Counter()
    for batch in mix.batches(batch_size, 0, 0):
        rows = mix.rows[batch]
        counts[tuple(name for name, labels in mix.labels.items() if valid(labels[rows]).any())] += len(batch)
    return {names: count / counts.total() for names, count in counts.items()}


class _Passes:
    """Backward passes through a copy of a network, for one sample.

    trained  names of what trains
    whole    by all of it; else by the weights of the last shared block
    """

    def __init__(self, net: Net, trained: set[str], tasks: Sequence[str], *, whole: bool) -> None:
        self.whole = whole
        net = copy.deepcopy(net).cpu().eval()  # the counter does not see what a device's own thread does
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(name in trained)
        self.held = [one for one in (net.parameters() if whole else last_shared(net)) if one.requires_grad]
        taps = {tap for name in tasks for tap in net.head(name).reads}
        # The products that fused attention is made of are known to the counter in both directions.
        with sdpa_kernel(SDPBackend.MATH):
            seen = net.run(torch.zeros(input_shape(net)), until=max(taps, key=net.block_names.index), taps=taps)
        self.answers = {name: net.answer(seen, name).sum() for name in tasks}
        self.single = {name: self._counted([name]) for name in tasks}

    def besides(self, names: Sequence[str]) -> int:
        """Operations for these tasks' own gradients, less those of their sum where that is not needed then."""
        return sum(self.single[name] for name in names) - (self._counted(names) if self.whole and names else 0)

    def _counted(self, names: Sequence[str]) -> int:
        with FlopCounterMode(display=False) as counter:
            gradient_of(torch.stack([self.answers[name] for name in names]).sum(), self.held, keep=True)
        return int(counter.get_total_flops())
