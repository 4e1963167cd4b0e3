"""Views, op by op, against plain NumPy for one sample at a time; and random parameters that depend on the sample alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from headstart.data.views import PLAIN, Erase, Flip, Op, ResizedCrop, Shift, View, normalise, standard_view, uniform

Image = NDArray[np.uint8]


def pictures(count: int = 12, height: int = 10, width: int = 14) -> Image:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3)).astype(np.uint8)


def numbers(count: int, columns: int, seed: int = 0) -> NDArray[np.float32]:
    """Parameters as an op gets them, the ends of the range among them."""
    u = np.random.default_rng(seed).random((count, columns)).astype(np.float32)
    u[0], u[1] = 0, np.float32(1 - 2**-24)
    return u


def flip(image: Image, u: NDArray[np.float32], p: float) -> Image:
    return image[:, ::-1] if u[0] < p else image


def shift(image: Image, u: NDArray[np.float32], fraction: float) -> Image:
    moves = []
    for side, value in zip(image.shape[:2], u, strict=True):
        reach = round(side * fraction)
        moves.append(math.floor(value * np.float32(2 * reach + 1)) - reach)
    out = np.empty_like(image)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            out[y, x] = image[np.clip(y + moves[0], 0, image.shape[0] - 1), np.clip(x + moves[1], 0, image.shape[1] - 1)]
    return out


def erase(image: Image, u: NDArray[np.float32], fraction: float, p: float) -> Image:
    out = image.copy()
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            down = abs(y + 0.5 - float(u[0]) * image.shape[0]) < image.shape[0] * fraction / 2
            across = abs(x + 0.5 - float(u[1]) * image.shape[1]) < image.shape[1] * fraction / 2
            if down and across and u[2] < p:
                out[y, x] = 128
    return out


def resized_crop(
    image: Image, u: NDArray[np.float32], scale: tuple[float, float], ratio: tuple[float, float]
) -> NDArray[np.float64]:
    """The crop's corner and size in pixels, then every output pixel's centre looked up between four input pixels."""
    height, width = image.shape[:2]
    area = scale[0] + float(u[0]) * (scale[1] - scale[0])
    aspect = math.exp(math.log(ratio[0]) + float(u[1]) * (math.log(ratio[1]) - math.log(ratio[0])))
    part_x, part_y = min(math.sqrt(area * aspect), 1), min(math.sqrt(area / aspect), 1)
    left, top = float(u[2]) * (1 - part_x) * width, float(u[3]) * (1 - part_y) * height
    out = np.empty(image.shape)
    for y in range(height):
        for x in range(width):
            fy, fx = top + (y + 0.5) * part_y - 0.5, left + (x + 0.5) * part_x - 0.5
            y0, x0 = math.floor(fy), math.floor(fx)
            total = np.zeros(3)
            for dy in (0, 1):
                for dx in (0, 1):
                    weight = (1 - abs(fy - (y0 + dy))) * (1 - abs(fx - (x0 + dx)))
                    total += weight * image[mirrored(y0 + dy, height), mirrored(x0 + dx, width)]
            out[y, x] = total
    return out


def mirrored(place: int, side: int) -> int:
    """Reflection at the outer edges of the border pixels."""
    return -place - 1 if place < 0 else 2 * side - 1 - place if place >= side else place


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_flip(p: float) -> None:
    x, u = pictures(), numbers(12, 1)
    found = Flip(p)(torch.from_numpy(x), torch.from_numpy(u)).numpy()
    np.testing.assert_array_equal(found, [flip(image, row, p) for image, row in zip(x, u, strict=True)])


@pytest.mark.parametrize("fraction", [0.0, 0.125, 0.3])
def test_shift(fraction: float) -> None:
    x, u = pictures(), numbers(12, 2)
    found = Shift(fraction)(torch.from_numpy(x), torch.from_numpy(u)).numpy()
    np.testing.assert_array_equal(found, [shift(image, row, fraction) for image, row in zip(x, u, strict=True)])


@pytest.mark.parametrize(("fraction", "p"), [(0.4, 0.5), (0.25, 1.0), (1.0, 1.0), (0.4, 0.0)])
def test_erase(fraction: float, p: float) -> None:
    x, u = pictures(), numbers(12, 3)
    found = Erase(fraction, p)(torch.from_numpy(x), torch.from_numpy(u)).numpy()
    np.testing.assert_array_equal(found, [erase(image, row, fraction, p) for image, row in zip(x, u, strict=True)])


@pytest.mark.parametrize(
    ("scale", "ratio"), [((0.35, 1.0), (3 / 4, 4 / 3)), ((0.1, 0.2), (1.0, 1.0)), ((1.0, 1.0), (0.5, 2.0))]
)
def test_resized_crop(scale: tuple[float, float], ratio: tuple[float, float]) -> None:
    """To within the rounding of a half: float32 against float64."""
    x, u = pictures(), numbers(12, 4)
    found = ResizedCrop(scale, ratio)(torch.from_numpy(x), torch.from_numpy(u)).numpy().astype(np.float64)
    expected = np.stack([resized_crop(image, row, scale, ratio) for image, row in zip(x, u, strict=True)])
    assert np.abs(found - expected).max() <= 0.5 + 1e-2


def test_the_whole_image_at_its_own_aspect_is_the_image() -> None:
    x = torch.from_numpy(pictures())
    assert torch.equal(ResizedCrop((1.0, 1.0), (1.0, 1.0))(x, torch.from_numpy(numbers(12, 4))), x)


EVERY: list[Op] = [Flip(), Shift(), ResizedCrop(), Erase()]
VIEWS = [View((op,)) for op in EVERY] + [View(tuple(EVERY)), standard_view(32), standard_view(224, mirror=False)]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: "+".join(type(op).__name__ for op in view.ops))
@pytest.mark.parametrize(("height", "width"), [(10, 14), (33, 33), (64, 48)])
def test_a_rendering_does_not_depend_on_its_batch(view: View, height: int, width: int) -> None:
    x, ids = torch.from_numpy(pictures(13, height, width)), torch.arange(100, 113)
    whole = view.render(x, ids, seed=5, draw=2)
    assert whole.dtype == torch.uint8
    assert whole.shape == x.shape
    for part in (slice(3, 4), slice(0, 5), slice(12, None)):
        assert torch.equal(view.render(x[part], ids[part], seed=5, draw=2), whole[part])
    order = torch.randperm(13, generator=torch.Generator().manual_seed(0))
    assert torch.equal(view.render(x[order], ids[order], seed=5, draw=2), whole[order])
    assert view.render(x[:0], ids[:0], seed=5, draw=2).shape == (0, height, width, 3)
    assert torch.equal(x, torch.from_numpy(pictures(13, height, width)))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_number_of_channels(channels: int) -> None:
    x = torch.from_numpy(pictures())[..., :1].expand(-1, -1, -1, channels)
    out = View(tuple(EVERY)).render(x, torch.arange(12), seed=0, draw=0)
    assert torch.equal(out, out[..., :1].expand_as(out))


def test_seed_draw_and_sample_all_change_the_rendering() -> None:
    x = torch.from_numpy(pictures(1, 40, 40)).expand(12, -1, -1, -1)
    view, ids = standard_view(64), torch.arange(12)
    base = view.render(x, ids, seed=5, draw=2)
    assert not torch.equal(view.render(x, ids, seed=6, draw=2), base)
    assert not torch.equal(view.render(x, ids, seed=5, draw=3), base)
    assert len({image.numpy().tobytes() for image in base}) == 12


def test_plain_is_the_sample_itself() -> None:
    x = torch.from_numpy(pictures())
    assert PLAIN.render(x, torch.arange(12), seed=5, draw=2) is x
    assert (PLAIN.is_plain, PLAIN.fixed_draws, PLAIN.draw_at(7)) == (True, 1, 0)


def test_a_fixed_number_of_renderings_comes_round() -> None:
    fresh, fixed = standard_view(32), standard_view(32, draws=3)
    assert fresh.fixed_draws is None
    assert [fresh.draw_at(epoch) for epoch in range(4)] == [0, 1, 2, 3]
    assert fixed.fixed_draws == 3
    assert [fixed.draw_at(epoch) for epoch in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_small_images_are_shifted_and_larger_ones_cropped() -> None:
    kinds = {size: [type(op) for op in standard_view(size).ops] for size in (32, 40, 41)}
    assert kinds == {32: [Shift, Flip], 40: [Shift, Flip], 41: [ResizedCrop, Flip]}
    assert Flip not in [type(op) for op in standard_view(32, mirror=False).ops]


COUNT = 20_000


def sample(seed: int = 123456789012345, draw: int = 0, start: int = 0, columns: int = 4) -> NDArray[np.float64]:
    return uniform(seed, draw, torch.arange(start, start + COUNT), columns).double().numpy()


@pytest.mark.parametrize(
    "values",
    [
        lambda: sample()[:, 0],
        lambda: sample(seed=0)[:, 0],
        lambda: sample(seed=2**62 + 1)[:, 3],
        lambda: sample(start=2**33)[:, 1],
        lambda: np.concatenate([uniform(7, draw, torch.arange(50), 4).numpy().ravel() for draw in range(100)]),
        lambda: np.concatenate([uniform(seed, 0, torch.arange(50), 4).numpy().ravel() for seed in range(100)]),
        lambda: np.concatenate([uniform(7 + (k << 32), 0, torch.arange(50), 4).numpy().ravel() for k in range(100)]),
    ],
    ids=["ids", "seed 0", "large seed", "large ids", "draws", "seeds", "high seeds"],
)
def test_numbers_are_uniform(values: Callable[[], NDArray[np.float64]]) -> None:
    """Kolmogorov-Smirnov and chi-square: fixed streams, so that a pass stays a pass."""
    found = values()
    assert (found >= 0).all()
    assert (found < 1).all()
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    counts = np.histogram(found, 64, (0, 1))[0]
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    "other",
    [
        lambda: sample()[:, 1],
        lambda: sample(draw=1)[:, 0],
        lambda: sample(seed=123456789012346)[:, 0],
        lambda: sample(seed=123456789012345 + 0x5851F42D)[:, 0],
        lambda: sample(start=1)[:, 0],
        lambda: sample(start=2**32)[:, 0],
    ],
    ids=["column", "draw", "seed", "next op", "next sample", "far sample"],
)
def test_neighbouring_streams_are_unrelated(other: Callable[[], NDArray[np.float64]]) -> None:
    """Joint counts on a grid are those of independence, which no correlation of any kind would leave."""
    one, two = sample()[:, 0], other()
    table = np.histogram2d(one, two, 12, [[0, 1], [0, 1]])[0]
    assert stats.chisquare(table.ravel()).pvalue > 1e-3
    assert abs(np.corrcoef(one, two)[0, 1]) < 4 / math.sqrt(COUNT)
    assert (one == two).mean() < 1e-3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(0, 10**6), st.integers(0, 2**40), st.integers(1, 6))
def test_a_number_is_a_function_of_its_arguments_alone(seed: int, draw: int, sample_id: int, columns: int) -> None:
    alone = uniform(seed, draw, torch.tensor([sample_id]), columns)
    among = uniform(seed, draw, torch.tensor([3, sample_id, 9]), columns + 2)
    assert torch.equal(among[1:2, :columns], alone)
    assert ((alone >= 0) & (alone < 1)).all()
    assert torch.equal(alone * 2**24, (alone * 2**24).round())


def test_normalise_is_the_formula_in_channels_last_memory() -> None:
    x, mean, std = pictures(), (0.4, 0.5, 0.3), (0.2, 0.3, 0.25)
    found = normalise(torch.from_numpy(x), mean, std)
    expected = ((x / 255.0 - np.array(mean)) / np.array(std)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_views_of_equal_settings_are_equal_and_say_what_they_are() -> None:
    """The key of a cached prefix is made of their text."""
    assert standard_view(32, draws=2) == standard_view(32, draws=2)
    views = {*VIEWS, PLAIN, standard_view(32, draws=2), View((Shift(0.2),)), View((ResizedCrop((0.3, 1.0)),))}
    assert len({repr(view) for view in views}) == len(views) == len(VIEWS) + 3
