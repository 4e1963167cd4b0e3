"""Patches and the error on hidden ones against loops and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.losses.pixels import masked_error, patches_of, standard_patches


def test_patches_are_squares_row_by_row() -> None:
    images = np.arange(2 * 3 * 4 * 6, dtype=np.float64).reshape(2, 3, 4, 6)
    found = patches_of(torch.from_numpy(images), 2).numpy()
    assert found.shape == (2, 6, 12)
    for n in range(2):
        for row in range(2):
            for column in range(3):
                square = images[n, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                expected = [square[c, y, x] for y in range(2) for x in range(2) for c in range(3)]
                np.testing.assert_array_equal(found[n, 3 * row + column], expected)


def test_patches_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="5 px do not divide images of 12 x 12"):
        patches_of(torch.zeros(1, 3, 12, 12), 5)


def test_standard_patches_forget_brightness_and_contrast() -> None:
    patches = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (2, 3, 12)))
    found = standard_patches(patches, eps=0.0)
    torch.testing.assert_close(found.mean(2), torch.zeros(2, 3, dtype=torch.float64))
    torch.testing.assert_close(found.var(2), torch.ones(2, 3, dtype=torch.float64))
    torch.testing.assert_close(standard_patches(5 * patches + 100, eps=0.0), found)
    assert not standard_patches(torch.ones(1, 1, 12)).any(), "an even patch has nothing to tell"


def test_only_hidden_patches_count() -> None:
    draw = np.random.default_rng(0)
    predicted, target = draw.normal(size=(2, 4, 3)), draw.normal(size=(2, 4, 3))
    hidden = np.array([[True, False, False, True], [True, True, True, False]])
    expected = [
        np.mean([((predicted[n, p] - target[n, p]) ** 2).mean() for p in range(4) if hidden[n, p]]) for n in range(2)
    ]
    p, t, h = torch.from_numpy(predicted).requires_grad_(True), torch.from_numpy(target), torch.from_numpy(hidden)
    np.testing.assert_allclose(masked_error(p, t, h).detach().numpy(), expected, rtol=1e-12)
    gradient = torch.autograd.grad(masked_error(p, t, h).sum(), p)[0]
    assert not gradient[~h].any()
    assert gradient[h].all()
    assert torch.autograd.gradcheck(lambda x: masked_error(x, t, h), (p,))
