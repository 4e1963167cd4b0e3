"""Crops resampled to any size, against Pillow with the same box."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from headstart.data.crops import CropTo, boxes, resampled
from headstart.data.views import View
from tests.data.test_views import numbers, pictures


def pillow(image: NDArray[np.uint8], top: float, height: float, left: float, width: float, size: int) -> NDArray[np.uint8]:
    tall, wide = image.shape[:2]
    box = (left * wide, top * tall, min((left + width) * wide, wide), min((top + height) * tall, tall))
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=box))


@pytest.mark.parametrize("size", [5, 9, 16, 40])
@pytest.mark.parametrize("scale", [(0.05, 0.4), (0.4, 1.0), (1.0, 1.0)])
def test_it_is_pillows_bilinear_filter_to_a_level(size: int, scale: tuple[float, float]) -> None:
    """Pillow rounds between rows and columns, this does not."""
    x, u = pictures(16, 21, 30), numbers(16, 4)
    op = CropTo(size, scale)
    found = op(torch.from_numpy(x), torch.from_numpy(u)).numpy()
    rows, columns = boxes(torch.from_numpy(u).double(), op.scale, op.ratio)
    assert found.shape == (16, size, size, 3)
    for place, image in enumerate(x):
        expected = pillow(image, *(float(one[place]) for one in (*rows, *columns)), size)
        assert np.abs(found[place].astype(int) - expected).max() <= 1


def test_the_whole_image_at_half_its_size_is_a_triangle_average() -> None:
    """One row of eight: the triangle of half width 2 has weights 1, 3, 3, 1 of 8; at the border 3, 3, 1 of 7."""
    x = torch.tensor([0, 8, 16, 80, 160, 8, 0, 240], dtype=torch.uint8).view(1, 1, 8, 1).expand(1, 8, 8, 1)
    whole = (torch.zeros(1), torch.ones(1))
    found = resampled(x, whole, whole, (4, 4))[0, 1, :, 0].tolist()
    assert found == [
        round((0 * 3 + 8 * 3 + 16) / 7),
        round((8 + 48 + 240 + 160) / 8),
        round((80 + 480 + 24 + 0) / 8),
        round((8 + 0 + 720) / 7),
    ]


def test_boxes_lie_within_and_have_the_area_asked_for() -> None:
    u = torch.rand(2000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (top, height), (left, width) = boxes(u, (0.2, 0.6), (3 / 4, 4 / 3))
    for start, extent in ((top, height), (left, width)):
        assert (start >= 0).all()
        assert (start + extent <= 1 + 1e-12).all()
    area = height * width
    assert area.min() >= 0.2 - 1e-9
    assert area.max() <= 0.6 + 1e-9
    assert abs(area.mean() - 0.4) < 0.01


def test_a_crop_does_not_depend_on_its_batch() -> None:
    x, ids = torch.from_numpy(pictures(13, 64, 48)), torch.arange(13)
    view = View((CropTo(20, (0.1, 1.0)),))
    whole = view.render(x, ids, seed=5, draw=2)
    for part in (slice(3, 4), slice(0, 5), slice(12, None)):
        assert torch.equal(view.render(x[part], ids[part], seed=5, draw=2), whole[part])
