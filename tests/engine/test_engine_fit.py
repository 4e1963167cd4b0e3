"""The loop: what a stage does to a net, step by step, against training written out by hand."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.data.task import UNKNOWN, Task
from headstart.data.views import normalise
from headstart.engine.fit import Machine, fit
from headstart.engine.log import RunLog
from headstart.engine.optim import factor
from headstart.engine.sampler import plan_for
from headstart.errors import FrozenChanged
from headstart.nets.net import BlockInfo, InputSpec, Net
from headstart.seeding import seed_for
from headstart.stage import Adapt, Budget, Optimizer, Stage, Train
from headstart.terms.base import StepLike, Term
from headstart.terms.supervised import Supervised
from tests.conftest import make_vector_task
from tests.engine.engine_toys import differing, images, stage, state, vectors


def by_hand(net: Net, task: Task, plan_stage: Stage, seed: int) -> None:
    """The plainest training loop that does the same arithmetic."""
    plan = plan_for(plan_stage, seed_for(seed, "stage", plan_stage.name))
    rule = plan_stage.optimizer
    net.train()
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": rule.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=rule.lr, momentum=rule.momentum, nesterov=True)
    for index in range(plan.steps):
        rows = plan.batches(plan.epoch(index))[index % plan.per_epoch]
        x = task.store.gather(rows)
        x = normalise(x, net.input.mean, net.input.std) if net.input.kind == "image" else x
        for group in optimizer.param_groups:
            group["lr"] = rule.lr * factor(rule, index, plan.steps)
        optimizer.zero_grad()
        F.cross_entropy(net(x, "toy"), torch.from_numpy(task.labels[rows])).backward()
        optimizer.step()
    net.eval()


@pytest.mark.parametrize("make", [vectors, images])
def test_equals_training_written_by_hand(make: Any) -> None:
    net, task = make()
    twin = copy.deepcopy(net)
    result = fit(net, stage(task), seed=4)
    by_hand(twin, task, stage(task), 4)
    assert (result.steps, result.epochs, result.stopped_early) == (6, 2, False)
    assert result.trained == sum(p.numel() for p in net.parameters())
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_a_rate_scale_is_a_smaller_rate() -> None:
    net, task = vectors()
    twin = copy.deepcopy(net)
    once = {"budget": Budget(steps=1), "optimizer": Optimizer(lr=0.1, momentum=0, weight_decay=0, warmup=0)}
    with torch.no_grad():
        for one in (net, twin):
            one.head("toy").linear.weight.copy_(torch.linspace(-1, 1, 30).view(3, 10))
    before = state(net)
    fit(net, stage(task, **once))
    fit(twin, stage(task, trains={"blocks.layer0": 0.25, "blocks.layer1": 1.0, "heads": 1.0}, **once))
    for name, start in before.items():
        share = 0.25 if "layer0" in name else 1.0
        moved, slower = net.state_dict()[name] - start, twin.state_dict()[name] - start
        torch.testing.assert_close(slower, moved * share, rtol=1e-3, atol=1e-6)


def test_adapt_moves_statistics_only_and_they_are_those_of_the_data() -> None:
    net, task = images()
    plan = stage(task, trains={"blocks": Adapt()}, terms={}, budget=Budget(epochs=1), batch_size=35)
    twin, before = copy.deepcopy(net).train(), state(net)
    result = fit(net, plan)
    moved = differing(state(net), before)
    assert moved
    assert all(name.endswith(("running_mean", "running_var", "num_batches_tracked")) for name in moved)
    assert result.trained == 0
    with torch.no_grad():
        order = plan_for(plan, seed_for(0, "stage", "s")).order(0)
        twin.run(normalise(task.store.gather(order), twin.input.mean, twin.input.std))
    for name in moved:
        torch.testing.assert_close(net.state_dict()[name], twin.state_dict()[name])


def test_adapt_with_a_loss_to_watch() -> None:
    net, task = images()
    lines: list[Mapping[str, Any]] = []
    before = state(net)
    fit(net, stage(task, trains={"blocks.layer3_0": Adapt()}), log=RunLog(None, (lines.append,)))
    assert all(("layer3_0" in name and "running" in name) or "tracked" in name for name in differing(state(net), before))
    losses = [line["loss"] for line in lines if line["event"] == "epoch"]
    assert losses == pytest.approx([np.log(3)] * 2)


def test_frozen_norm_trains_its_scales_with_fixed_statistics() -> None:
    net, task = images()
    with torch.no_grad():
        net.head("toy").linear.weight.copy_(torch.linspace(-1, 1, 48).view(3, 16))
    before = state(net)
    fit(net, stage(task, trains={"blocks": Train(1.0, norm="frozen"), "heads": 1.0}))
    moved = set(differing(state(net), before))
    statistics = {name for name in before if name.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    assert moved.isdisjoint(statistics)
    assert "blocks.layer1_0.bn1.weight" in moved
    assert {name for name, _ in net.named_parameters()} == moved


def test_masked_elements_stay_to_the_bit_under_momentum_and_decay() -> None:
    net, task = vectors()
    mask = torch.randint(0, 2, (12, 6), generator=torch.Generator().manual_seed(0))
    name = "blocks.layer0.0.weight"
    before = state(net)[name]
    fit(net, stage(task, trains={"blocks": Train(1.0, mask={name: mask}), "heads": 1.0}))
    moved = state(net)[name] != before
    assert not moved[mask == 0].any()
    assert moved[mask == 1].all()


def test_a_largest_gradient_norm_is_kept() -> None:
    net, task = vectors()
    once = {"budget": Budget(steps=1), "batch_size": 35}
    rule = Optimizer(lr=1.0, momentum=0, weight_decay=0, warmup=0, clip=1e-3)
    before = state(net)
    fit(net, stage(task, optimizer=rule, **once))
    change = torch.cat([(state(net)[name] - before[name]).reshape(-1) for name in before])
    assert float(change.norm()) == pytest.approx(1e-3, rel=1e-3)


def test_a_largest_gradient_norm_is_that_of_what_may_move() -> None:
    net, task = vectors()
    with torch.no_grad():
        net.head("toy").linear.weight.copy_(torch.linspace(-1, 1, net.head("toy").linear.weight.numel()).view(3, -1))
    name = "blocks.layer0.0.weight"
    mask = torch.zeros_like(state(net)[name])
    mask[0] = 1
    rule = Optimizer(lr=1.0, momentum=0, weight_decay=0, warmup=0, clip=1e-4)
    before = state(net)[name]
    one = {"trains": {name: Train(1.0, mask={name: mask})}, "budget": Budget(steps=1), "batch_size": 35}
    fit(net, stage(task, optimizer=rule, **one))
    assert float((state(net)[name] - before).norm()) == pytest.approx(1e-4, rel=1e-3)


def test_the_average_replaces_the_weights() -> None:
    """Against the recursion over the weights after every step, which a term records."""
    net, task = images()
    recorder = Recorder(net)
    fit(net, stage(task, terms={"supervised": Supervised("toy"), "recorder": recorder}, average=0.5))
    name = "blocks.layer1_0.conv1.weight"
    expected = recorder.seen[0][name].double()
    for count, weights in enumerate(recorder.seen[1:]):
        decay = min(0.5, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * weights[name]
    torch.testing.assert_close(state(net)[name].double(), expected, rtol=1e-5, atol=1e-6)
    last = recorder.seen[-1]["blocks.layer1_0.bn1.num_batches_tracked"]
    assert torch.equal(state(net)["blocks.layer1_0.bn1.num_batches_tracked"], last)


class Recorder(Term):
    """Keeps the weights before the first and after every step. Holds the net outside its own modules."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.watched = [net]
        self.seen = [state(net)]

    def forward(self, step: StepLike) -> Tensor:
        return torch.zeros(())

    def after_step(self, step: StepLike) -> None:
        self.seen.append(state(self.watched[0]))


class Meddling(Term):
    """Moves a weight that is none of its business."""

    def __init__(self, net: Net, name: str) -> None:
        super().__init__()
        self.target = [net.state_dict()[name]]

    def forward(self, step: StepLike) -> Tensor:
        return torch.zeros(())

    def after_step(self, step: StepLike) -> None:
        with torch.no_grad():
            self.target[0][(0,) * self.target[0].ndim] += 1


@pytest.mark.parametrize("name", ["blocks.stem.conv1.weight", "blocks.stem.bn1.running_mean"])
def test_a_frozen_tensor_that_moves_is_noticed(name: str) -> None:
    net, task = images()
    terms = {"supervised": Supervised("toy"), "meddling": Meddling(net, name)}
    with pytest.raises(FrozenChanged, match=rf"stage 's'.*{name}"):
        fit(net, stage(task, trains={"heads": 1.0}, terms=terms))


class Order(Term):
    """Writes down when its methods are called and what is there at the time."""

    def __init__(self, net: Net, notes: list[str]) -> None:
        super().__init__()
        self.net, self.notes = [net], notes
        self.before: Tensor | None = None

    def _weight(self) -> nn.Parameter:
        return self.net[0].head("toy").linear.bias

    def forward(self, step: StepLike) -> Tensor:
        self.notes.append(f"forward grad={self._weight().grad is not None}")
        self.before = self._weight().detach().clone()
        return torch.zeros(())

    def after_backward(self, step: StepLike) -> None:
        moved = not torch.equal(self._weight(), self.before)
        self.notes.append(f"after_backward grad={self._weight().grad is not None} moved={moved}")

    def after_step(self, step: StepLike) -> None:
        moved = not torch.equal(self._weight(), self.before)
        self.notes.append(f"after_step grad={self._weight().grad is not None} moved={moved}")


def test_terms_are_called_at_the_promised_moments() -> None:
    net, task = vectors()
    notes: list[str] = []
    fit(net, stage(task, budget=Budget(steps=2), terms={"supervised": Supervised("toy"), "order": Order(net, notes)}))
    moments = ["forward grad=False", "after_backward grad=True moved=False", "after_step grad=False moved=True"]
    assert notes == 2 * moments


def test_samples_without_a_label_count_for_nothing() -> None:
    net, task = vectors()
    twin = copy.deepcopy(net)
    known = np.flatnonzero(task.labels != 1)
    labels = np.where(task.labels == 1, UNKNOWN, task.labels)
    hidden = Task("toy", task.store, labels, task.classes, task.rows)
    fit(net, stage(hidden, budget=Budget(steps=1), batch_size=35))
    fit(twin, stage(task.take(known), budget=Budget(steps=1), batch_size=35))
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_a_batch_without_any_label_is_a_step_without_gradient() -> None:
    net, task = vectors()
    blank = Task("toy", task.store, np.full(35, UNKNOWN), task.classes, task.rows)
    before = state(net)
    fit(net, stage(blank, optimizer=Optimizer(weight_decay=0)))
    assert not differing(state(net), before)


def test_mixed_images_are_what_the_network_sees_and_their_labels_are_mixed_alike() -> None:
    """A linear net trained one step by mixup, against the mix computed here from the inputs the net was given."""

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Tensor] = []

        def forward(self, x: Tensor) -> Tensor:
            self.seen.append(x.detach().clone())
            return x

    spy = Spy()
    net = Net({"spy": spy}, InputSpec(6, (0.0,), (1.0,), "vector"), {"spy": BlockInfo("nc", 6)}, None)
    net.add_head("toy", 3)
    task = make_vector_task(35)
    rule = Optimizer(lr=1.0, momentum=0, weight_decay=0, warmup=0)
    plan = stage(task, trains={"heads": 1.0}, optimizer=rule, budget=Budget(steps=1), batch_size=35, mixup=0.4)
    fit(net, plan)
    mixed = spy.seen[0].double().numpy()
    order = plan_for(plan, seed_for(0, "stage", "s")).order(0)
    x, y = np.asarray(task.store.array[order], np.float64), np.eye(3)[task.labels[order]]
    share, partner = np.empty(35), np.empty(35, int)
    for i in range(35):  # every mixed sample lies between its own and exactly one other
        fits = []
        for j in range(35):
            towards = x[i] - x[j]
            t = 1.0 if i == j else float((mixed[i] - x[j]) @ towards / (towards @ towards))
            fits.append((float(np.abs(t * x[i] + (1 - t) * x[j] - mixed[i]).max()), t))
        partner[i] = int(np.argmin([gap for gap, _ in fits]))
        gap, share[i] = fits[partner[i]]
        assert gap < 1e-5
        assert -1e-6 <= share[i] <= 1 + 1e-6
    assert sorted(partner) == list(range(35)) or (share > 1 - 1e-6).any()
    target = share[:, None] * y + (1 - share[:, None]) * y[partner]
    gradient = (np.full((35, 3), 1 / 3) - target).T @ mixed / 35
    np.testing.assert_allclose(net.head("toy").linear.weight.detach().numpy(), -gradient, atol=1e-5)


def test_mixup_is_never_cached_and_says_so(tmp_path: Path) -> None:
    net, task = images()
    lines: list[Mapping[str, Any]] = []
    plan = stage(task, trains={"heads": 1.0}, mixup=0.4, cache="on")
    fit(net, plan, machine=Machine(cache=tmp_path), log=RunLog(None, (lines.append,)))
    assert [line["cached"] for line in lines if line["event"] == "cache"] == [False]


def test_bfloat16_trains_and_float32_masters_stay() -> None:
    net, task = images()
    fit(net, stage(task, budget=Budget(epochs=4)), machine=Machine(precision="bf16"))
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    twin, _ = images()
    fit(twin, stage(task, budget=Budget(epochs=4)), machine=Machine(precision="float32"))
    assert differing(state(net), state(twin))


def test_the_budget_in_steps_and_epochs() -> None:
    for budget, steps, epochs in ((Budget(steps=4), 4, 2), (Budget(epochs=2), 6, 2), (Budget(epochs=0), 0, 0)):
        net, task = vectors()
        result = fit(net, stage(task, budget=budget))
        assert (result.steps, result.epochs) == (steps, epochs)
    with pytest.raises(ValueError, match="epochs or in steps"):
        Budget()
    with pytest.raises(ValueError, match="epochs or in steps"):
        Budget(1, 1)
