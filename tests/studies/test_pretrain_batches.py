"""Images enough for a method's steps: what is refused before training, and what is warned of."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from headstart.catalog.pretrain_methods import PRETRAINING
from headstart.catalog.self_supervision import SwavConfig
from headstart.errors import ConfigError
from headstart.stage import Stage
from headstart.strategies.pretrain import PRETRAIN
from headstart.studies.pretrain_batches import few_for_batches, small_steps
from tests.conftest import make_image_task
from tests.strategies.pretrain.pretrain_toys import TOYS, images
from tests.studies.pretrain_toys import arrays, run


@pytest.mark.parametrize("name", PRETRAIN)
def test_batches_are_even_where_a_loss_is_about_all_images_of_a_step(name: str) -> None:
    """Negatives, codes and statistics over a batch: else images left over for the last would have another loss."""
    toy = TOYS[name]
    stage = next(iter(PRETRAIN[name](toy.net(), images(toy, labelled=PRETRAINING[name].labels), toy.config)))
    assert isinstance(stage, Stage)
    assert stage.even == (PRETRAINING[name].family in ("contrastive", "without negatives"))


def test_few_images_are_told_what_would_do() -> None:
    (said,) = few_for_batches(230, 90, 128)
    assert said.startswith("230 images to learn from (90 others are set aside to judge by) are too few for batches of 128")
    assert "give --batch-size 115 or less, or 256 images to learn from" in said
    assert not list(few_for_batches(230, 90, 115))
    assert "set aside" not in next(few_for_batches(230, 0, 128))
    assert next(few_for_batches(2, 1, 2)) == (
        "2 images are too few (1 other is set aside to judge by): give four at least, and thousands to learn something"
    )


def test_small_steps_are_warned_of() -> None:
    pool = make_image_task(100, size=12)
    for name in PRETRAIN:
        about, config = PRETRAINING[name], TOYS[name].config
        few = replace(config, school=replace(config.school, batch_size=max(2, about.least - 1)))
        found = [text for text in small_steps(name, about, few, pool) if "learns from all images" in text]
        assert len(found) == (about.least > 2), name
        enough = replace(config, school=replace(config.school, batch_size=about.least))
        assert not [text for text in small_steps(name, about, enough, pool) if "learns from all images" in text]


def test_fewer_images_than_prototypes_are_warned_of() -> None:
    """100 images in batches of 40 at most are three steps of 33 or 34."""
    pool, about, config = make_image_task(100, size=12), PRETRAINING["swav"], SwavConfig()
    config = replace(config, school=replace(config.school, batch_size=40), prototypes=43)
    (said,) = small_steps("swav", about, config, pool)
    assert "43 prototypes, and there are 33 (with those of the queue)" in said
    assert "--settings prototypes=33 or queue=10" in said
    assert not list(small_steps("swav", about, replace(config, queue=10), pool))
    assert not list(small_steps("swav", about, replace(config, prototypes=None), pool))


def test_it_is_said_before_the_first_epoch(tmp_path: Path) -> None:
    result = run(tmp_path / "run", arrays(60), "simclr", batch_size=8, epochs=1, looks=0)
    lines = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    events = [line["event"] for line in lines]
    told = [place for place, line in enumerate(lines) if "learns from all images of a step" in line.get("text", "")]
    assert len(told) == 1
    assert told[0] < events.index("epoch")
    assert "should be 32 or more, and there are 8: give --batch-size 32" in lines[told[0]]["text"]


@pytest.mark.parametrize(
    ("method", "views", "said"),
    [
        ("supervised", "crop(0.5, 1.0) | flip(0.5)", "--views describes several views, and one is drawn"),
        ("simclr", "", "both views of an image would be the image as it is"),
        ("simclr", "dino", "'dino' describes 3 views, and 2 are drawn; give 2 at most, .* or one of plain, .*byol$"),
        ("rotation", "byol", "'byol' describes 2 views, and 1 is drawn; give steps of one view, or one of .*moco$"),
    ],
)
def test_views_that_a_method_cannot_show_are_refused(method: str, views: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        run(tmp_path / "run", arrays(60), method, views=views, batch_size=8, epochs=1, looks=0)
