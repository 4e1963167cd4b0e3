"""What rotation, relative position and jigsaw refuse before they start, and where their patches lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from headstart.catalog.pretext import JigsawConfig, RelativePositionConfig, RotationConfig
from headstart.catalog.pretrain_methods import PRETRAINING
from headstart.catalog.pretraining import Schooling
from headstart.data.store import store_of
from headstart.data.task import UNKNOWN, Task
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.nets.small import convnet8, mlp
from headstart.stage import Stage
from headstart.strategies.pretrain import PRETRAIN
from headstart.strategies.pretrain.asked import grid_of
from headstart.terms.patches import Grid
from tests.conftest import make_vector_task
from tests.engine.engine_toys import resnet

CONFIGS: dict[str, Callable[..., Any]] = {
    "rotation": RotationConfig,
    "relative_position": RelativePositionConfig,
    "jigsaw": JigsawConfig,
}


def blank(height: int, width: int | None = None, count: int = 4) -> Task:
    pixels = np.zeros((count, height, width or height, 3), np.uint8)
    return Task("toy", store_of(pixels), np.full(count, UNKNOWN), ("a", "b"), np.arange(count))


def first(name: str, net: Net, data: Task, **settings: Any) -> Stage:
    stage = next(PRETRAIN[name](net, data, CONFIGS[name](**settings)))
    assert isinstance(stage, Stage)
    return stage


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (16, Grid(6, 7, 1, 2)),
        (28, Grid(11, 13, 1, 2)),
        (32, Grid(13, 16, 1, 2)),
        (35, Grid(14, 17, 1, 2)),
        (224, Grid(91, 112, 7, 2)),
    ],
)
def test_patches_fit_images_of_any_size(side: int, expected: Grid) -> None:
    grid = grid_of(RelativePositionConfig(), resnet(side), blank(side))
    assert grid == expected
    assert grid.span <= side


@pytest.mark.parametrize(("side", "expected"), [(16, Grid(4, 5, 0)), (32, Grid(8, 10, 1)), (224, Grid(56, 74, 9))])
def test_tiles_lie_in_cells(side: int, expected: Grid) -> None:
    grid = grid_of(JigsawConfig(), resnet(side), blank(side))
    assert grid == expected
    assert grid.span <= side
    assert grid.side + 2 * grid.reach <= grid.step, "two tiles never overlap"


def test_passes_count_patches_by_their_area() -> None:
    assert PRETRAINING["rotation"].passes == 4
    assert PRETRAINING["relative_position"].passes == RelativePositionConfig().passes == 4 * (13 / 32) ** 2
    assert PRETRAINING["jigsaw"].passes == JigsawConfig().passes == 9 / 16
    assert RelativePositionConfig(across=3, patch=1 / 3, gap=0, jitter=0).passes == pytest.approx(1)


def test_rotation_refuses_images_that_are_not_square() -> None:
    with pytest.raises(ConfigError, match="images of 12 x 16 px: a turn would be told by the shape; crop them to squares"):
        first("rotation", resnet(), blank(12, 16))


@pytest.mark.parametrize(("name", "side", "words"), [("relative_position", 8, "four"), ("jigsaw", 12, "nine")])
def test_images_smaller_than_the_grid_are_refused(name: str, side: int, words: str) -> None:
    said = rf"images of {side} px are too small for {words} (patches|tiles): \1 of 3 px \(4 at least\).*larger --size"
    with pytest.raises(ConfigError, match=said):
        first(name, resnet(), blank(side))


@pytest.mark.parametrize(("name", "pixels"), [("relative_position", 13), ("jigsaw", 8)])
def test_patches_that_the_network_cannot_take_are_refused(name: str, pixels: int) -> None:
    net = convnet8(32, 4)
    with pytest.raises(ConfigError, match=rf"does not take images of {pixels} px.*a network that takes any size"):
        first(name, net, blank(32))
    assert not net.training or torch.is_grad_enabled()


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_vectors_and_too_few_images_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="these are vectors"):
        first(name, mlp(6), make_vector_task(8))
    with pytest.raises(ConfigError, match="1 images are too few"):
        first(name, resnet(32), blank(32, count=1))


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_everything_wrong_with_settings_is_said_together(name: str) -> None:
    settings: dict[str, Any] = {"school": Schooling(epochs=0, lr=-1), "pipeline": "flop(2) grey(3)"}
    words = ["epochs=0", "lr=-1", "no step is called 'flop'", "grey(3): p=3"]
    if name == "relative_position":
        settings |= {"across": 4, "patch": 0.6, "gap": -0.1, "colour": "red", "hidden": 0}
        words += ["across=4: 2 or 3", "patch=0.6", "gap=-0.1", "colour='red'", "hidden=0"]
    if name == "jigsaw":
        settings |= {"tile": 0.5, "permutations": 1, "colour": "red", "hidden": 0}
        words += ["tile=0.5", "permutations=1", "colour='red'", "hidden=0"]
    with pytest.raises(ConfigError) as caught:
        first(name, resnet(32), blank(32), **settings)
    for word in words:
        assert word in str(caught.value)
    assert any(
        "more than the image" in fault
        for fault in RelativePositionConfig(across=3).faults() + RelativePositionConfig(patch=0.45).faults()
    )


def test_what_learns_is_the_backbone_and_the_terms_own_head() -> None:
    for name in CONFIGS:
        stage = first(name, resnet(32), blank(32))
        (term,) = stage.terms
        assert f"terms.{term}" in stage.trains
        assert {key for key in stage.trains if key.startswith("blocks.")} == {
            f"blocks.{block}" for block in resnet(32).block_names if block != "pool"
        }
        assert set(stage.views) == {"main"}
