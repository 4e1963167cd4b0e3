"""What a step shows: rendered samples, and which rendering they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.data.store import store_of
from headstart.data.task import UNKNOWN, task_of
from headstart.data.views import PLAIN, Erase, Flip, Rendering, ResizedCrop, Shift, View
from headstart.engine import distributed
from headstart.engine.fit import Machine, fit
from headstart.engine.inputs import Inputs
from headstart.engine.log import RunLog
from headstart.engine.sampler import plan_for
from headstart.engine.step import render
from headstart.engine.trained import resolve
from headstart.stage import Budget
from headstart.terms.base import StepLike, Term
from tests.engine.engine_toys import images, stage


@pytest.mark.parametrize("op", [Flip(), Shift(), ResizedCrop(), Erase()], ids=lambda op: type(op).__name__)
def test_a_view_is_the_same_under_half_precision(op: Flip | Shift | ResizedCrop | Erase) -> None:
    """Augmentation happens inside the loop's autocast, which must not touch pixels."""
    images = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    task = task_of("main", store_of(images), np.zeros(6, np.int64), ("a", "b"))
    cpu = torch.device("cpu")
    plain = render(task.store, task.rows, View((op,)), seed=1, draw=2, device=cpu)
    with torch.autocast("cpu", torch.bfloat16):
        half = render(task.store, task.rows, View((op,)), seed=1, draw=2, device=cpu)
    assert torch.equal(plain, half)


class Looker(Term):
    """Keeps what a step showed it."""

    heads = ("toy",)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Tensor, Rendering]] = []

    def forward(self, step: StepLike) -> Tensor:
        again = step.samples()
        assert step.samples() is again  # rendered once
        self.seen.append((step.ids, again, step.rendering()))
        ones = torch.ones(len(step.ids))
        assert step.mean_all(ones) == 1  # known or not
        assert step.mean(ones, "toy") == 1  # only known ones
        return step.logits("toy").sum() * 0


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    "view", [PLAIN, View((Shift(), Flip()), 2), View((Shift(), Flip()))], ids=["plain", "fixed", "anew"]
)
def test_a_term_sees_the_pixels_that_the_net_sees(view: View, frozen: bool, tmp_path: Path) -> None:
    """Also where the net itself is trained on cached activations and no pixel is needed."""
    net, task = images()
    labels = task.labels.copy()
    labels[task.rows[::3]] = UNKNOWN
    term = Looker()
    trains = {"heads": 1.0} if frozen else {"blocks": 1.0, "heads": 1.0}
    how = stage(
        replace(task, labels=labels), trains=trains, terms={"looker": term}, views={"main": view}, budget=Budget(epochs=3)
    )
    fit(net, how, seed=4, machine=Machine(cache=tmp_path))
    draws = [rendering.draw for _, _, rendering in term.seen]
    per_epoch = len(draws) // 3
    assert draws == [view.draw_at(epoch) for epoch in range(3) for _ in range(per_epoch)]
    for ids, samples, rendering in term.seen:
        assert rendering.view is view
        assert not rendering.mixed
        cpu = torch.device("cpu")
        alone = render(task.store, ids.numpy(), view, seed=rendering.seed, draw=rendering.draw, device=cpu)
        assert torch.equal(samples, alone)


def test_mixed_samples_say_so() -> None:
    net, task = images()
    term = Looker()
    labels = task.labels.copy()
    labels[task.rows[::3]] = UNKNOWN  # a sample mixed with one of these teaches nothing, and does not count
    fit(net, stage(replace(task, labels=labels), terms={"looker": term}, mixup=0.4, budget=Budget(epochs=1)))
    assert all(rendering.mixed for _, _, rendering in term.seen)
    ids, samples, _ = term.seen[0]
    assert not torch.equal(samples, torch.from_numpy(task.store.array[ids.numpy()]))


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_every_process_counts_the_labels_of_the_whole_batch(mixup: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts differ in size, partners come from the same part, and what all parts count together is what each divides by."""
    net, task = images()
    labels = task.labels.copy()
    labels[task.rows[::4]] = UNKNOWN
    how = stage(replace(task, labels=labels), mixup=mixup)
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    found = []
    for process in range(3):
        monkeypatch.setattr(distributed, "rank", lambda process=process: process)
        trained = resolve(net, how)
        found.append(Inputs.of(net, how, trained, plan_for(how, 0), Machine(), 0, RunLog(None)).step(1))
    assert sum(int(step.valid("toy").sum()) for step in found) == found[0].counted("toy") > 0
    assert len({step.counted("toy") for step in found}) == 1
    ones = [step.mean(torch.ones(len(step.ids)), "toy") for step in found]
    assert float(sum(ones)) == pytest.approx(1)
