"""Made-up questions: what the network is shown, what is asked, and that colours alone do not answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.catalog.pretext import RelativePositionConfig
from headstart.catalog.pretraining import Schooling
from headstart.data.store import store_of
from headstart.data.task import UNKNOWN, Task
from headstart.data.views import View, normalise
from headstart.engine.log import RunLog
from headstart.engine.run import Drive
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.strategies.pretrain import PRETRAIN
from headstart.terms.patches import Grid, cut, standardised
from headstart.terms.pretext import DIRECTIONS, Jigsaw, PatchQuestion, Question, RelativePosition, Rotation, pairs_of
from tests.engine.engine_toys import resnet

GRID, SEED = Grid(4, 5, 0), 11


class Fake:
    """A step of images with ids for a term, that keeps what the net was shown."""

    def __init__(
        self, net: Net, images: Tensor, term: Question, *, first: int = 0, epoch: int = 0, whole: int | None = None
    ) -> None:
        self.net, self.images, self.epoch = net, images, epoch
        self.view = View(pieces=term.pieces)
        self.ids = torch.arange(first, first + len(images))
        self.whole = len(images) if whole is None else whole
        self.seen: list[Tensor] = []

    def rendering(self, view: str) -> Any:
        return SimpleNamespace(seed=SEED)

    def taps(self, view: str) -> Mapping[str, Tensor]:
        samples = self.view.render(self.images, self.ids, seed=SEED, draw=self.epoch)
        self.seen.append(normalise(samples, self.net.input.mean, self.net.input.std))
        return self.net.run(self.seen[-1])  # type: ignore[return-value]

    def mean_all(self, per_sample: Tensor) -> Tensor:
        return per_sample.sum() / self.whole


def pictures(count: int = 5, side: int = 16) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.uint8))


def numbers(term: PatchQuestion, step: Fake, what: str, count: int) -> Tensor:
    return term.pieces.numbers(what, step.ids, count, seed=SEED, draw=step.epoch)


def evaluating(size: int = 16) -> Net:
    return resnet(size).eval()


def test_rotation_asks_for_all_four_turns_of_every_image() -> None:
    net, x = evaluating(), pictures()
    term = Rotation(net)
    step = Fake(net, x, term)
    loss = term(step)
    expected = []
    for turns in range(4):
        turned = np.rot90(x.numpy(), turns, (1, 2)).copy()
        seen = normalise(torch.from_numpy(turned), net.input.mean, net.input.std)
        torch.testing.assert_close(step.seen[0][turns::4], seen)
        logits = term.head(net.run(seen)["pool"])
        expected.append(F.cross_entropy(logits, torch.full((5,), turns)))
    assert len(step.seen) == 1, "they pass in one batch"
    torch.testing.assert_close(loss, torch.stack(expected).mean(), atol=1e-6, rtol=1e-6)


def test_rotation_refuses_images_that_are_not_square() -> None:
    net = evaluating()
    with pytest.raises(ConfigError, match="square images, these are 16 x 12 px"):
        Rotation(net)(Fake(net, pictures()[:, :, :12], Rotation(net)))


def test_a_neighbours_direction_is_asked_beside_the_middle_patch() -> None:
    net, x = evaluating(), pictures()
    term = RelativePosition(net, GRID, colour="keep", hidden=7)
    step = Fake(net, x, term)
    loss = term(step)
    patches = standardised(cut(x, GRID, numbers(term, step, "places", GRID.numbers)))
    torch.testing.assert_close(step.seen[0], patches.flatten(0, 1).permute(0, 3, 1, 2), atol=1e-4, rtol=0)
    features = net.run(patches.flatten(0, 1).permute(0, 3, 1, 2))["pool"].view(5, 9, -1)
    expected = [
        F.cross_entropy(term.head(torch.cat([features[:, 4], features[:, place]], 1)), torch.full((5,), answer))
        for answer, place in enumerate((0, 1, 2, 3, 5, 6, 7, 8))
    ]
    assert DIRECTIONS == ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
    torch.testing.assert_close(loss, torch.stack(expected).mean(), atol=1e-4, rtol=1e-4)


def test_four_patches_are_asked_for_from_each_other_every_direction_alike() -> None:
    pairs = pairs_of(2)
    assert sorted(answer for _, _, answer in pairs) == sorted([*range(8)] * 2), "guessing costs ln 8"
    assert {(one, other) for one, other, _ in pairs} == {(a, b) for a in range(4) for b in range(4) if a != b}
    for one, other, answer in pairs:
        down, right = other // 2 - one // 2, other % 2 - one % 2
        assert DIRECTIONS[answer] == (down, right)
    net, x, grid = evaluating(), pictures(), Grid(6, 7, 1, 2)
    term = RelativePosition(net, grid, colour="keep", hidden=7)
    step = Fake(net, x, term)
    loss = term(step)
    features = term.features(step, 4)
    expected = [
        F.cross_entropy(term.head(torch.cat([features[:, one], features[:, other]], 1)), torch.full((5,), answer))
        for one, other, answer in pairs
    ]
    torch.testing.assert_close(loss, torch.stack(expected).mean(), atol=1e-5, rtol=1e-5)


def test_jigsaw_lays_the_features_in_the_order_asked_for() -> None:
    net, x = evaluating(), pictures(40)
    orders = [[0, 1, 2, 3, 4, 5, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1, 0], [1, 2, 0, 4, 5, 3, 7, 8, 6]]
    term = Jigsaw(net, GRID, orders, colour="grey", hidden=7)
    step = Fake(net, x, term)
    loss = term(step)
    features = net.run(step.seen[0])["pool"].view(40, 9, -1)
    which = (numbers(term, step, "orders", 1)[:, 0] * 3).long().tolist()
    assert set(which) == {0, 1, 2}
    mixed = torch.stack([features[image][orders[answer]].flatten() for image, answer in enumerate(which)])
    torch.testing.assert_close(loss, F.cross_entropy(term.head(mixed), torch.tensor(which)), atol=1e-5, rtol=1e-5)


def terms(net: Net) -> list[Any]:
    return [Rotation(net), RelativePosition(net, GRID, hidden=8), Jigsaw(net, GRID, [list(range(9))[::s] for s in (1, -1)])]


def test_guessing_costs_the_logarithm_of_the_answers() -> None:
    net = evaluating()
    for term, answers in zip(terms(net), (4, 8, 2), strict=True):
        last = term.head if isinstance(term.head, nn.Linear) else term.head[-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        assert term.chance == math.log(answers)
        assert term(Fake(net, pictures(), term)).item() == pytest.approx(term.chance, abs=1e-6)


@pytest.mark.parametrize("number", range(3))
def test_two_parts_of_a_batch_add_up_to_the_whole(number: int) -> None:
    """As two processes share it, with frozen statistics: what is asked of an image depends on the image and the epoch."""
    net, x = evaluating(), pictures(6)
    term = terms(net)[number]
    whole = term(Fake(net, x, term, epoch=3))
    parts = [term(Fake(net, x[part], term, first=part.start, epoch=3, whole=6)) for part in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(sum(parts), whole, atol=1e-5, rtol=1e-5)
    if number:
        assert term(Fake(net, x, term, epoch=4)).item() != whole.item()


def test_heads_are_drawn_by_their_seed_and_move_no_global_generator(rng_guard: None) -> None:
    net = evaluating()
    same, again, other = (Rotation(net, seed=seed).head.weight for seed in (0, 0, 1))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)


def tinted(*tints: tuple[float, float, float], count: int = 96, side: int = 16) -> Task:
    """Noise that is the same everywhere, and no form to see: the first tint grows from left to right, the second downwards,
    as if a lens bent colours by place."""
    draw = np.random.default_rng(0)
    noise = draw.normal(0, 12, (count, side, side, 1))
    places = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    tint = sum(place[..., None] * np.array(colour) for place, colour in zip(places, tints, strict=True))
    pixels = np.clip(128 + noise + tint, 0, 255).astype(np.uint8)
    return Task("tint", store_of(pixels), np.full(count, UNKNOWN), ("a", "b"), np.arange(count))


EVEN = ((-35.2, 17.9, 0.0), (-10.3, 0.0, 26.9))
"""From red to green, and to blue, at equal brightness."""
LENS = ((-40.0, 80.0, -40.0), (-20.0, 40.0, -20.0))
"""Between magenta and green, as lenses err."""


def last_loss(colour: str, tint: tuple[tuple[float, float, float], ...]) -> float:
    """Of the last epoch, relative to chance."""
    config = RelativePositionConfig(Schooling(epochs=8, batch_size=16, lr=0.02), pipeline="shift(0.0)", hidden=32)
    lines: list[dict[str, Any]] = []
    drive = Drive(resnet(16), seed=0, log=RunLog(None, (lines.append,)))
    drive.run(PRETRAIN["relative_position"](drive.net, tinted(*tint), replace(config, colour=colour)))  # type: ignore[arg-type]
    return float([line["loss"] for line in lines if line["event"] == "epoch"][-1]) / math.log(8)


def test_a_tint_tells_the_place_without_a_guard_and_not_with_one() -> None:
    """The shortcut of Doersch et al. 2015, section 3.1: colours that change across the image."""
    assert last_loss("keep", EVEN) < 0.85
    assert last_loss("drop", EVEN) > 0.97
    assert last_loss("grey", EVEN) > 0.97
    assert last_loss("keep", LENS) < 0.93
    assert last_loss("project", LENS) > 0.97
