"""Patches: where they lie and what they show, against plain NumPy for one patch at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from headstart.data.views import uniform
from headstart.terms.patches import NOISE, Grid, cut, guarded, projected, standardised

GRID = Grid(side=5, step=7, reach=1)


def pictures(count: int = 6, height: int = 26, width: int = 30) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, height, width, 3)).astype(np.uint8))


@pytest.mark.parametrize("grid", [GRID, Grid(4, 4, 0), Grid(8, 9, 0), Grid(4, 6, 2), Grid(9, 11, 2, 2)])
def test_patches_are_those_of_the_grid(grid: Grid) -> None:
    x = pictures()
    u = torch.from_numpy(np.random.default_rng(1).random((6, grid.numbers)).astype(np.float32))
    u[0], u[1] = 0, 1 - 2**-24
    found = cut(x, grid, u)
    assert found.shape == (6, grid.across**2, grid.side, grid.side, 3)
    v = u.numpy()
    for image in range(6):
        for place in range(grid.count):
            top, left = (
                int(np.floor(v[image, axis] * np.float32(side - grid.span + 1)))
                + int(np.floor(v[image, 2 + grid.count * axis + place] * np.float32(2 * grid.reach + 1)))
                + number * grid.step
                for axis, (side, number) in enumerate(((26, place // grid.across), (30, place % grid.across)))
            )
            assert 0 <= top <= 26 - grid.side
            assert 0 <= left <= 30 - grid.side
            expected = x[image, top : top + grid.side, left : left + grid.side]
            assert torch.equal(found[image, place], expected)


def test_gaps_stay_at_least_what_jitter_leaves_of_them() -> None:
    rows, columns = GRID.places(26, 30, uniform(0, 0, torch.arange(500), GRID.numbers))
    for edges, along in ((rows, 3), (columns, 1)):
        near = edges[:, along:] - edges[:, :-along]
        pairs = [p for p in range(GRID.count - along) if along == 3 or p % 3 < 2]
        assert int((near[:, pairs] - GRID.side).min()) == GRID.step - GRID.side - 2 * GRID.reach
    assert set(rows[:, 0].tolist()) == set(range(26 - GRID.span + 1 + 2 * GRID.reach))


def test_standardised_is_mean_0_deviation_1_over_pixels_and_channels() -> None:
    patches = cut(pictures(), GRID, uniform(0, 0, torch.arange(6), GRID.numbers))
    patches[0, 0] = 200
    patches[0, 1] = 200
    patches[0, 1, 0, 0, 0] = 201
    found = standardised(patches).numpy()
    x = patches.numpy().astype(np.float64)
    axes = (-3, -2, -1)
    expected = (x - x.mean(axes, keepdims=True)) / np.maximum(x.std(axes, keepdims=True), 1)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (found[0, 0] == 0).all()
    assert np.abs(found[0, 1]).max() <= 1


def test_one_channel_is_left_and_the_others_are_faint_noise() -> None:
    ids = torch.arange(300)
    patches = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (300, 9, 5, 5, 3)).astype(np.uint8))
    found = guarded(patches, "drop", 3, 1, ids)
    spread = found.std((2, 3))
    kept = spread.argmax(-1)
    assert (torch.bincount(kept.flatten(), minlength=3) > 2700 / 3 - 100).all()
    each = patches.gather(-1, kept[:, :, None, None, None].expand(-1, -1, 5, 5, 1))
    own = found.gather(-1, kept[:, :, None, None, None].expand(-1, -1, 5, 5, 1))
    assert torch.equal(own, standardised(each))
    others = found[torch.arange(3).expand(found.shape) != kept[:, :, None, None, None]]
    assert stats.kstest(others.numpy()[:20000] / NOISE, "norm").pvalue > 1e-3
    assert abs(float(others.std()) / NOISE - 1) < 0.02


def test_grey_shows_the_same_in_every_channel() -> None:
    patches = cut(pictures(), GRID, uniform(0, 0, torch.arange(6), GRID.numbers))
    found = guarded(patches, "grey", 0, 0, torch.arange(6))
    grey = (patches.double() @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64))[..., None]
    torch.testing.assert_close(found, standardised(grey).expand_as(patches), atol=1e-4, rtol=0)


def test_projection_takes_what_lies_between_green_and_magenta_and_nothing_else() -> None:
    """B = I - a^T a / (a a^T) with a = (-1, 2, -1), Doersch et al. 2015, section 3.1."""
    a = np.array([[-1.0, 2.0, -1.0]])
    x = cut(pictures(), GRID, uniform(0, 0, torch.arange(6), GRID.numbers))
    found = projected(x)
    expected = x.numpy().astype(np.float64) @ (np.eye(3) - a.T @ a / (a @ a.T))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)
    assert np.abs(found.numpy() @ a[0]).max() < 1e-3, "nothing is left along the axis"
    grey = torch.full((1, 3), 90)
    torch.testing.assert_close(projected(grey), grey.float(), msg="greys stay")
    torch.testing.assert_close(guarded(x, "project", 0, 0, torch.arange(6)), standardised(found))


@pytest.mark.parametrize("colour", ["drop", "project", "grey", "keep"])
def test_what_a_patch_shows_depends_on_nothing_but_its_image_and_the_epoch(colour: str) -> None:
    patches, ids = cut(pictures(), GRID, uniform(0, 0, torch.arange(6), GRID.numbers)), torch.arange(50, 56)
    whole = guarded(patches, colour, 7, 2, ids)  # type: ignore[arg-type]
    part = guarded(patches[2:4], colour, 7, 2, ids[2:4])  # type: ignore[arg-type]
    torch.testing.assert_close(part, whole[2:4], atol=1e-6, rtol=0)
    if colour == "drop":
        assert not torch.equal(guarded(patches, "drop", 7, 3, ids), whole)
        assert not torch.equal(guarded(patches, "drop", 8, 2, ids), whole)


@pytest.mark.parametrize("colour", ["drop", "project", "grey", "keep"])
def test_one_channel_needs_no_guard(colour: str) -> None:
    patches = cut(pictures()[..., :1], GRID, uniform(0, 0, torch.arange(6), GRID.numbers))
    found = guarded(patches, colour, 0, 0, torch.arange(6))  # type: ignore[arg-type]
    assert torch.equal(found, standardised(patches))
