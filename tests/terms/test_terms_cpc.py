"""Predictive coding: what patches and contexts see, by gradient, and the loss by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from headstart.nets.patches import cpc_encoder
from headstart.nets.rng import forked
from headstart.terms.cpc import Context, Cpc, PatchGrid
from tests.losses import naive_contrast
from tests.terms.shown import Shown
from tests.terms.viewed import noise

GRID = PatchGrid(4, 2)


@pytest.mark.parametrize(
    ("side", "patch", "stride", "places", "nearest"),
    [(32, 8, 4, 7, 2), (64, 16, 8, 7, 2), (33, 8, 4, 7, 2), (32, 8, 8, 4, 1), (32, 8, 3, 9, 3), (7, 8, 4, 0, 2)],
)
def test_grids(side: int, patch: int, stride: int, places: int, nearest: int) -> None:
    grid = PatchGrid(patch, stride)
    assert grid.shape(side, 2 * side)[0] == places
    assert grid.nearest == nearest
    assert nearest * stride >= patch, "the nearest row predicted shares no pixel"
    assert (nearest - 1) * stride < patch


def test_patches_are_cut_in_reading_order() -> None:
    x = noise(2, 12)
    patches = PatchGrid(6, 3).cut(x)
    assert patches.shape == (2 * 9, 6, 6, 3)
    for image, row, column in ((0, 0, 0), (0, 1, 2), (1, 2, 1)):
        expected = x[image, 3 * row : 3 * row + 6, 3 * column : 3 * column + 6]
        assert torch.equal(patches[9 * image + 3 * row + column], expected)


@pytest.mark.parametrize("layers", [1, 4])
def test_a_context_sees_nothing_that_comes_after_it(layers: int) -> None:
    with forked(0):
        context = Context(3, 32, layers).double()
    x = torch.rand(1, 3, 7, 7, dtype=torch.float64, requires_grad=True)
    out = context(x)
    for row, column in ((0, 0), (2, 3), (6, 6), (4, 0)):
        total = out[0, :, row, column].sum()
        seen = torch.autograd.grad(total, x, retain_graph=True)[0][0].abs().sum(0) > 0
        later = [(i, j) for i in range(7) for j in range(7) if (i, j) > (row, column)]
        assert not any(bool(seen[i, j]) for i, j in later)
        assert seen[row, column]
        if row and column:
            assert seen[row - 1, column]
            assert seen[row, column - 1]
        if row and column < 6:
            assert seen[row - 1, column + 1]


def made(objective: str = "info_nce") -> tuple[Cpc, Shown]:
    with forked(1):
        net = cpc_encoder(16, 4, 1)
    step = Shown(net, {"one": GRID.cut(noise(3, 16))}, images=3)
    how = {"width": 5, "layers": 2, "images": (3,), "objective": objective, "temperature": 0.7}
    return Cpc(net, net.last, GRID.shape(16, 16), (2, 4), **how).double(), step  # type: ignore[arg-type]


@pytest.mark.parametrize("objective", ["info_nce", "nce"])
def test_the_loss_by_hand(objective: str) -> None:
    term, step = made(objective)
    z = term._patches(step).detach()
    context = term.context(z).detach()
    means = []
    for k, predict in zip((2, 4), term.predict, strict=True):
        targets = [(n, i, j) for n in range(3) for i in range(k, 7) for j in range(7)]
        rows = []
        for n, i, j in targets:
            predicted = (predict.weight[:, :, 0, 0] @ context[n, :, i - k, j]).detach().numpy()
            scores = np.array([float(predicted @ z[m, :, a, b].numpy()) / 0.7 for m, a, b in targets])
            rows.append(getattr(naive_contrast, objective)(scores, targets.index((n, i, j))))
        means.append(np.mean(rows))
    assert term(step).item() == pytest.approx(np.mean(means), rel=1e-8)
    assert step.asked == [("one",)]
    assert len(step.samples("one")) == 3 * 49


def test_no_prediction_knows_a_pixel_of_what_it_predicts() -> None:
    """Of the pixels of a patch that is predicted none has a gradient in the context that predicts it."""
    term, step = made()
    with forked(2):  # of some images, units that see the nearest row are off
        x = torch.rand(1, 16, 16, 3, dtype=torch.float64, requires_grad=True)
    patches = GRID.cut(x)
    z = step.net.run(patches.permute(0, 3, 1, 2))[step.net.last].view(1, 7, 7, -1).permute(0, 3, 1, 2)
    context = term.context(z)
    for row, column in ((0, 3), (2, 2), (4, 6)):
        seen = torch.autograd.grad(context[0, :, row, column].sum(), x, retain_graph=True)[0][0].abs().sum(2) > 0
        top = 2 * (row + GRID.nearest)
        assert not seen[top:].any()
        assert seen[top - 1].any(), "one row nearer would be seen in part"


def test_chance_is_the_loss_of_predictions_that_say_nothing() -> None:
    term, step = made()
    with torch.no_grad():
        for predict in term.predict:
            predict.weight.zero_()
    assert term.chance is not None
    assert term(step).item() == pytest.approx(term.chance)
    assert term.chance == pytest.approx((math.log(3 * 5 * 7) + math.log(3 * 3 * 7)) / 2)
