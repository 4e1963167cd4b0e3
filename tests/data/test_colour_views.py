"""Colour ops against Pillow and torchvision, pixel by pixel, with the same parameters per sample."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from headstart.data import colour_views, views
from headstart.data.colour_views import Blur, ColourJitter, Grey, Solarise, blend, turn_hue
from headstart.data.views import Flip, Op, ResizedCrop, View, uniform
from headstart.errors import ConfigError
from tests.data.test_views import EVERY as PLACES
from tests.data.test_views import numbers, pictures

COUNT = 48
ORDERS = list(permutations(("brightness", "contrast", "saturation", "hue")))


def smooth(count: int = COUNT, height: int = 10, width: int = 14) -> NDArray[np.uint8]:
    """Noise, and besides black, white, grey, one bright colour, and two equal channels."""
    x = pictures(count, height, width)
    x[0], x[1], x[2], x[3] = 0, 255, x[2, ..., :1], (255, 0, 0)
    x[4, ..., 1] = x[4, ..., 0]
    x[5, ..., 2] = x[5, ..., 1]
    return x


def grey_level(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).convert("L"))


def apply(op: Op, x: NDArray[np.uint8], u: NDArray[np.float32]) -> NDArray[np.uint8]:
    return op(torch.from_numpy(x), torch.from_numpy(u)).numpy()


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_grey_is_pillows_to_the_bit(p: float) -> None:
    x, u = smooth(), numbers(COUNT, 1)
    expected = [np.repeat(grey_level(i)[..., None], 3, 2) if v[0] < np.float32(p) else i for i, v in zip(x, u, strict=True)]
    np.testing.assert_array_equal(apply(Grey(p), x, u), expected)


@pytest.mark.parametrize(("p", "threshold"), [(0.0, 128), (0.4, 128), (1.0, 128), (1.0, 0), (1.0, 200)])
def test_solarise_is_pillows_to_the_bit(p: float, threshold: int) -> None:
    x, u = smooth(), numbers(COUNT, 1)
    pairs = zip(x, u, strict=True)
    expected = [np.asarray(ImageOps.solarize(Image.fromarray(i), threshold)) if v[0] < p else i for i, v in pairs]
    np.testing.assert_array_equal(apply(Solarise(p, threshold), x, u), expected)


@pytest.mark.parametrize(
    ("kind", "enhancer"), list(enumerate((ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)))
)
def test_one_blend_is_pillows_to_its_roundings(kind: int, enhancer: type[ImageEnhance.Brightness]) -> None:
    """Pillow rounds the greys that it blends with, and cuts off fractions at the end: half a level times 1.2, and one."""
    x, factors = smooth(), np.linspace(0, 2.2, COUNT, dtype=np.float32)
    planes = torch.from_numpy(x).permute(3, 0, 1, 2).float().flatten(2)
    blend(planes, torch.full((COUNT,), kind + 1), torch.from_numpy(factors)[:, None].expand(-1, 3))
    found = planes.view(3, *x.shape[:3]).permute(1, 2, 3, 0).numpy()
    expected = [np.asarray(enhancer(Image.fromarray(i)).enhance(float(f))) for i, f in zip(x, factors, strict=True)]
    assert np.abs(found - np.stack(expected)).max() <= 1.6 + 1e-3


def test_hue_turns_as_in_the_standard_librarys_hsv() -> None:
    import colorsys

    x, turns = smooth(), np.linspace(-0.5, 0.5, COUNT, dtype=np.float32)
    planes = torch.from_numpy(x).permute(3, 0, 1, 2).float().flatten(2)
    turn_hue(planes, torch.from_numpy(turns))
    for place, (image, turn) in enumerate(zip(x, turns, strict=True)):
        for pixel, found in zip(image.reshape(-1, 3)[::7], planes[:, place, ::7].T.numpy(), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
            expected = 255 * np.array(colorsys.hsv_to_rgb((hue + float(turn)) % 1, saturation, value))
            np.testing.assert_allclose(found, expected, atol=2e-3)


def jittered(image: NDArray[np.uint8], u: NDArray[np.float32], op: ColourJitter) -> NDArray[np.float64]:
    """torchvision's functions on a float image, in the order and with the factors that `u` says."""
    functional = pytest.importorskip("torchvision.transforms.functional")
    if u[0] >= op.p:
        return image.astype(np.float64)
    x = torch.from_numpy(image).permute(2, 0, 1).double() / 255
    for name in ORDERS[int(u[5] * np.float32(24))]:
        reach = getattr(op, name)
        if name == "hue":
            x = functional.adjust_hue(x, (float(u[4]) * 2 - 1) * reach)
        else:
            low, high = max(0.0, 1 - reach), 1 + reach
            share = float(u[1 + ("brightness", "contrast", "saturation").index(name)])
            x = getattr(functional, f"adjust_{name}")(x, low + share * (high - low))
    found: NDArray[np.float64] = (x * 255).permute(1, 2, 0).numpy()
    return found


@pytest.mark.parametrize(
    "op",
    [
        ColourJitter(),
        ColourJitter(0.8, 0.8, 0.8, 0.2, 1.0),
        ColourJitter(1.5, 1.5, 1.5, 0.5, 1.0),
        ColourJitter(0, 0, 0, 0, 1),
    ],
    ids=["default", "strong", "extreme", "nothing"],
)
def test_jitter_is_torchvisions_to_half_a_level(op: ColourJitter) -> None:
    """Every order occurs. Half a level is the rounding at the end; torchvision's grey has 0.2989 of red, Pillow's 0.299."""
    x, u = smooth(), numbers(COUNT, 6)
    u[:, 5] = (np.arange(COUNT) % 24 + 0.5) / 24
    expected = np.stack([jittered(image, row, op) for image, row in zip(x, u, strict=True)])
    assert np.abs(apply(op, x, u) - expected).max() <= 0.5 + 0.2


def test_a_jitter_that_is_not_drawn_changes_nothing() -> None:
    x = np.random.default_rng(1).integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)
    np.testing.assert_array_equal(apply(ColourJitter(1, 1, 1, 0.5, p=0.0), x, numbers(4, 6)), x)


def blurred(image: NDArray[np.uint8], sigma: float, radius: int) -> NDArray[np.float64]:
    """One pixel at a time, reflected at the border's pixels, the kernel's sum one."""
    kernel = np.array([math.exp(-0.5 * (d / sigma) ** 2) for d in range(-radius, radius + 1)])
    kernel /= kernel.sum()
    padded = np.pad(image.astype(np.float64), ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    out = np.zeros(image.shape)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            window = padded[y : y + 2 * radius + 1, x : x + 2 * radius + 1]
            out[y, x] = np.einsum("i,j,ijc->c", kernel, kernel, window)
    return out


@pytest.mark.parametrize(("share", "radius"), [(0.2, 1), (0.4, 2), (0.9, 4)])
def test_blur_is_the_formula_to_half_a_level(share: float, radius: int) -> None:
    x, u = smooth(8), numbers(8, 2)
    expected = [
        blurred(image, 0.1 + float(row[1]) * 1.9, radius) if row[0] < 0.5 else image for image, row in zip(x, u, strict=True)
    ]
    assert np.abs(apply(Blur(0.5, (0.1, 2.0), share), x, u) - np.stack(expected)).max() <= 0.5 + 0.01


def test_blur_is_torchvisions_at_full_size() -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    x = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3)).astype(np.uint8)
    found = apply(Blur(1.0), x, np.array([[0, 0.25], [0, 0.9]], np.float32))
    for image, result, share in zip(x, found, (0.25, 0.9), strict=True):
        planes = torch.from_numpy(image).permute(2, 0, 1).double()
        expected = functional.gaussian_blur(planes, [23, 23], [0.1 + share * 1.9] * 2).permute(1, 2, 0).numpy()
        assert np.abs(result - expected).max() <= 0.5 + 0.01


def test_images_too_small_for_a_kernel_are_left_sharp() -> None:
    x = smooth(8)
    np.testing.assert_array_equal(apply(Blur(1.0), x, numbers(8, 2)), x)


EVERY: list[Op] = [Grey(0.5), Solarise(0.5), Blur(0.5, share=0.3), ColourJitter(0.8, 0.8, 0.8, 0.2, 0.8)]
VIEWS = [View((op,)) for op in EVERY] + [View((ResizedCrop(), Flip(), *EVERY))]


def test_no_op_is_forgotten() -> None:
    """What is said of every op, here and beside, is said of all that there are: those with `params` and a call."""
    there = {
        one
        for module in (views, colour_views)
        for one in vars(module).values()
        if isinstance(one, type) and hasattr(one, "params") and "__call__" in vars(one) and one is not Op
    }
    assert {type(op) for op in (*EVERY, *PLACES)} == there


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: "+".join(type(op).__name__ for op in view.ops))
@pytest.mark.parametrize("side", [12, 64, 230])
def test_a_rendering_does_not_depend_on_its_batch(view: View, side: int) -> None:
    """At 230 pixels one image is more than a sum of one thread, which must not show."""
    count = 13 if side < 200 else 4
    x, ids = torch.from_numpy(pictures(count, side, side + 2)), torch.arange(100, 100 + count)
    whole = view.render(x, ids, seed=5, draw=2)
    assert (whole.dtype, whole.shape) == (torch.uint8, x.shape)
    assert not torch.equal(whole, x)
    for part in (slice(1, 2), slice(0, 3), slice(count - 1, None)):
        assert torch.equal(view.render(x[part], ids[part], seed=5, draw=2), whole[part])
    assert torch.equal(x, torch.from_numpy(pictures(count, side, side + 2)))


def test_nor_on_the_number_of_threads() -> None:
    """One sum over more than 2^15 pixels is split between threads."""
    before = torch.get_num_threads()
    x, ids, view = torch.from_numpy(pictures(2, 190, 190)), torch.arange(2), View((EVERY[-1],))
    one = view.render(x, ids, seed=1, draw=0)
    try:
        torch.set_num_threads(2)
        assert torch.equal(view.render(x, ids, seed=1, draw=0), one)
    finally:
        torch.set_num_threads(before)


def test_one_channel_has_brightness_and_contrast_alone() -> None:
    x = torch.from_numpy(smooth()[..., :1])
    grey = x.expand(-1, -1, -1, 3).contiguous()
    u = uniform(3, 0, torch.arange(COUNT), 6)
    for op in EVERY:
        assert torch.equal(op(x, u), op(grey, u)[..., :1]), op
    assert torch.equal(Grey(1.0)(x, u), x)


def test_four_channels_are_refused_by_what_needs_colours() -> None:
    x = torch.zeros(2, 8, 8, 4, dtype=torch.uint8)
    for op in (Grey(), ColourJitter()):
        with pytest.raises(ConfigError, match="1 or 3 channels, these have 4"):
            op(x, torch.zeros(2, 6))
