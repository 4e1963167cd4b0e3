"""Methods with negatives: two processes as one, what they learn, and what they refuse or say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from headstart.catalog.contrast import AmdimConfig, CpcConfig, MocoConfig, SimclrConfig, TripletConfig
from headstart.catalog.pretraining import Schooling
from headstart.engine.fit import Machine, fit
from headstart.engine.log import RunLog
from headstart.engine.run import Drive
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.nets.patches import cpc_encoder
from headstart.nets.rng import forked
from headstart.stage import Budget, Stage
from headstart.strategies.pretrain import PRETRAIN
from headstart.strategies.pretrain.amdim import maps_of
from headstart.terms.chunked import Pooled
from tests.conftest import make_image_task, make_vector_task
from tests.engine.engine_toys import differing, perceptron, resnet, state
from tests.strategies.pretrain import with_negatives as methods
from tests.strategies.pretrain.pretrain_toys import SCHOOL, TOYS, mapped, parted, patchwise

Found = dict[str, Tensor]


@pytest.fixture(scope="module")
def both(in_two: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Found]:
    folder = tmp_path_factory.mktemp("with")
    in_two(methods.process, folder)
    return load_file(folder / "0.safetensors"), load_file(folder / "1.safetensors")


@pytest.mark.parametrize("name", methods.METHODS)
def test_two_processes_learn_what_one_does(name: str, both: tuple[Found, Found]) -> None:
    """Embeddings are compared with those of both, batch normalisation sees both, and the queue is the same in both."""
    first, second = ({k.partition("/")[2]: v for k, v in one.items() if k.startswith(f"{name}/")} for one in both)
    assert not differing(first, second)
    weights, others = parted(first, methods.learned(name), state(methods.METHODS[name][1].net()))
    assert weights < 1e-4
    assert others < 1e-4


def stage_of(name: str, net: Net, cfg: Any, count: int = 24, size: int | None = None) -> Stage:
    stage = next(iter(PRETRAIN[name](net, make_image_task(count, size=size or net.input.size), cfg)))
    assert isinstance(stage, Stage)
    return stage


def test_losses_fall_below_chance() -> None:
    """On images of three classes made of colours and places every method learns something in a few dozen steps."""
    school = Schooling(epochs=12, batch_size=12, lr=0.05)
    adam = replace(school, epochs=30, optimizer="adamw", lr=1e-2)
    cases = {
        "simclr": (resnet(), SimclrConfig(school)),
        "moco": (resnet(), MocoConfig(replace(school, epochs=24), groups=2, queue=24, momentum=0.9)),
        "triplet": (resnet(), TripletConfig(school)),
        "cpc": (patchwise(), CpcConfig(adam, width=32)),
    }
    for name, (net, cfg) in cases.items():
        lines: list[dict[str, Any]] = []
        stage = stage_of(name, net, replace(cfg, pipeline="plain" if name == "cpc" else "crop(0.5, 1.0) flip(0.5)"))
        Drive(net, log=RunLog(None, (lines.append,))).run(iter([stage]))
        (term,) = stage.terms.values()
        last = [line["loss"] for line in lines if line["event"] == "epoch"][-1]
        assert last < 0.95 * term.chance, (name, last, term.chance)


@pytest.mark.parametrize(
    ("name", "cfg", "net"),
    [
        ("simclr", SimclrConfig(SCHOOL, temperature=1e6), resnet),
        ("simclr", SimclrConfig(SCHOOL, temperature=1e6, objective="info_nce"), resnet),
        ("cpc", CpcConfig(SCHOOL, width=8, layers=1, temperature=1e6), patchwise),
        ("amdim", AmdimConfig(SCHOOL, dimensions=8, clip=1e-6, penalty=0.0), mapped),
    ],
)
def test_guessing_costs_chance_where_batches_do_not_divide_the_images(name: str, cfg: Any, net: Callable[[], Net]) -> None:
    """Of 9 images in batches of 8 a last batch of one or two would be much easier to guess: its chance is another."""
    lines: list[dict[str, Any]] = []
    stage = stage_of(name, made := net(), cfg, count=9)
    fit(made, replace(stage, budget=Budget(epochs=1)), log=RunLog(None, (lines.append,)))
    (term,) = stage.terms.values()
    (loss,) = [line["loss"] for line in lines if line["event"] == "epoch"]
    assert loss == pytest.approx(term.chance, rel=1e-4)


@pytest.mark.parametrize("name", ["simclr", "moco", "cpc", "amdim", "triplet"])
def test_losses_are_in_full_precision_where_the_rest_is_in_half(name: str) -> None:
    toy = TOYS[name]
    lines: list[dict[str, Any]] = []
    losses: list[torch.dtype] = []
    net = toy.net()
    stage = replace(stage_of(name, net, toy.config), budget=Budget(steps=2))
    (term,) = stage.terms.values()
    term.register_forward_hook(lambda module, given, loss: losses.append(loss.dtype))
    fit(net, stage, machine=Machine(precision="bf16"), log=RunLog(None, (lines.append,)))
    assert losses == [torch.float32] * 2
    assert all(np.isfinite(line["loss"]) for line in lines if line["event"] == "epoch")


def test_chunks_of_queries_change_nothing_without_batch_normalisation() -> None:
    found = []
    for chunk in (None, 3):
        net = patchwise()
        stage = replace(stage_of("moco", net, MocoConfig(SCHOOL, queue=20, chunk=chunk)), optimizer=methods.PLAIN_SGD)
        fit(net, replace(stage, budget=Budget(steps=2)))
        found.append(state(net))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-5)


def test_chunks_with_batch_normalisation_are_told() -> None:
    for net, said in ((resnet(), 1), (patchwise(), 0)):
        lines: list[dict[str, Any]] = []
        cfg = SimclrConfig(SCHOOL, chunk=4)
        task = make_image_task(8, size=net.input.size)
        Drive(net, log=RunLog(None, (lines.append,))).run(PRETRAIN["simclr"](net, task, cfg))
        told = [line["text"] for line in lines if line["event"] == "warning"]
        assert len(told) == said
        assert all("batch normalisation" in text and "chunks of 4" in text for text in told)


def test_the_queue_by_default_holds_half_the_images_and_a_batch_at_least() -> None:
    for count, batch, expected in ((24, 8, 12), (21, 20, 11), (6, 128, 6)):
        cfg = MocoConfig(replace(SCHOOL, batch_size=batch), groups=2)
        (term,) = stage_of("moco", resnet(), cfg, count).terms.values()
        assert len(term.queue) == expected


@pytest.mark.parametrize("name", ["simclr", "moco", "cpc", "amdim", "triplet"])
def test_one_image_has_no_negatives_and_vectors_no_views(name: str) -> None:
    net = {"cpc": patchwise, "amdim": mapped}.get(name, resnet)()
    with pytest.raises(ConfigError, match="negatives are other images, and there is 1"):
        next(iter(PRETRAIN[name](net, make_image_task(1, classes=1, size=net.input.size), None)))
    with pytest.raises(ConfigError, match="takes vectors"):
        next(iter(PRETRAIN[name](perceptron(), make_vector_task(), None)))


@pytest.mark.parametrize(
    ("name", "cfg", "said"),
    [
        (
            "simclr",
            SimclrConfig(temperature=0.0, dimensions=0, chunk=1),
            r"temperature=0.0[\s\S]*dimensions=0[\s\S]*chunk=1",
        ),
        ("simclr", SimclrConfig(pipeline="crop(2) blurr"), r"pipeline:[\s\S]*blurr"),
        (
            "moco",
            MocoConfig(queue=64, momentum=1.5, groups=0),
            r"momentum=1.5[\s\S]*groups=0[\s\S]*queue=64: at least a batch",
        ),
        (
            "cpc",
            CpcConfig(rows=0, layers=0, patch=0, stride=0, width=0),
            r"patch=0[\s\S]*stride=0[\s\S]*rows=0[\s\S]*width=0",
        ),
        ("amdim", AmdimConfig(clip=0.0, penalty=-1.0, dimensions=0), r"dimensions=0[\s\S]*clip=0.0[\s\S]*penalty=-1.0"),
        ("triplet", TripletConfig(margin=0.0), "margin=0.0"),
    ],
)
def test_settings_that_cannot_be_are_named_together(name: str, cfg: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        stage_of(name, resnet(), cfg)


def test_cpc_refuses_batch_normalisation_and_names_a_network() -> None:
    with pytest.raises(ConfigError, match=r"batch normalisation \(in stem, .*headstart:cpc_encoder"):
        stage_of("cpc", resnet(), CpcConfig())


def test_cpc_refuses_grids_that_leave_nothing_to_predict() -> None:
    with pytest.raises(ConfigError, match=r"16x16 px give 1 rows of 1 patches"):
        stage_of("cpc", patchwise(), CpcConfig(patch=12))
    with pytest.raises(ConfigError, match=r"give 0 rows"):
        stage_of("cpc", patchwise(), CpcConfig(patch=20))
    with pytest.raises(ConfigError, match=r"does not take patches of 2 px"):
        stage_of("cpc", patchwise(), CpcConfig(patch=2))


def test_cpc_predicts_the_rows_that_share_no_pixel() -> None:
    for cfg, ahead in ((CpcConfig(), (2, 3, 4, 5, 6)), (CpcConfig(rows=2), (2, 3)), (CpcConfig(patch=8, stride=4), (2,))):
        (term,) = stage_of("cpc", patchwise(), cfg).terms.values()
        assert term.ahead == ahead


def test_amdim_needs_maps_of_three_sides() -> None:
    assert maps_of(mapped()) == {1: "map1", 5: "map5", 7: "down2"}
    with pytest.raises(ConfigError, match=r"none of 5x5 or 7x7 \(it has 12x12, 6x6, 3x3, 1x1\)\. .*headstart:amdim_encoder"):
        stage_of("amdim", resnet(), AmdimConfig())


def test_features_are_those_before_the_projection() -> None:
    """What is kept is the backbone; the projection is the term's, and gone."""
    with forked(1):
        net = cpc_encoder(16, 8, 1)
    stage = stage_of("simclr", net, SimclrConfig(SCHOOL, dimensions=5))
    (term,) = stage.terms.values()
    assert isinstance(term.features, Pooled)
    assert term.features.channels == 8
    assert sorted(stage.trains) == sorted([*(f"blocks.{name}" for name in net.block_names), "terms.simclr"])
    assert not np.isnan(term.chance)
