"""Methods without negatives: two processes as one, no collapse, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from headstart.catalog.greedy import GreedyConfig
from headstart.catalog.pretraining import Schooling
from headstart.catalog.self_supervision import (
    BarlowConfig,
    ByolConfig,
    DeepClusterConfig,
    DinoConfig,
    MaeConfig,
    SimSiamConfig,
    SwavConfig,
    VicregConfig,
)
from headstart.data.task import Task
from headstart.engine.features import FeatureBank
from headstart.engine.fit import Machine
from headstart.engine.log import RunLog
from headstart.engine.run import Drive
from headstart.errors import ConfigError
from headstart.losses.agreement import negative_cosine
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain import PRETRAIN
from headstart.strategies.pretrain.byol import first_decay
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.strategies.pretrain.greedy import greedy
from headstart.strategies.pretrain.seen import many_views, pair_of_views
from headstart.terms.base import StepLike
from headstart.terms.bootstrap import PAIR, Bootstrap, Siamese
from tests.conftest import make_image_task
from tests.engine.engine_toys import differing, perceptron, resnet, state
from tests.strategies.pretrain import without_negatives as methods
from tests.strategies.pretrain.pretrain_toys import TOYS, parted, transformer

Found = dict[str, Tensor]


@pytest.fixture(scope="module")
def both(in_two: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Found]:
    folder = tmp_path_factory.mktemp("without")
    in_two(methods.process, folder)
    return load_file(folder / "0.safetensors"), load_file(folder / "1.safetensors")


@pytest.mark.parametrize("name", methods.CASES)
def test_two_processes_learn_what_one_does(name: str, both: tuple[Found, Found]) -> None:
    """Statistics over a batch (correlation, covariance, codes, centre, batch normalisation) are over both parts of it."""
    first, second = ({k.partition("/")[2]: v for k, v in one.items() if k.startswith(f"{name}/")} for one in both)
    assert not differing(first, second)
    weights, others = parted(first, methods.learned(name), state(methods.CASES[name].toy.net()))
    assert weights < 1e-4
    assert others < 1e-4


SHORT = Schooling(epochs=20, batch_size=32, lr=0.05)


def spread_and_rank(net: Net, data: Task) -> tuple[float, float]:
    """Of embeddings of length 1: mean deviation per dimension times sqrt(D), 1 on the sphere; and the effective rank."""
    z = FeatureBank().get(net, data.store, data.rows, (net.last,))[net.last].astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    shares = np.linalg.svd(z - z.mean(0), compute_uv=False) ** 2
    shares = shares[shares > 0] / shares.sum()
    return float(z.std(0).mean() * z.shape[1] ** 0.5), float(np.exp(-(shares * np.log(shares)).sum()))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("byol", ByolConfig(SHORT, dimensions=32, hidden=64, momentum=0.9)),
        ("simsiam", SimSiamConfig(SHORT, dimensions=32, hidden=8)),
    ],
)
def test_embeddings_stay_apart(name: str, config: Any) -> None:
    """An untrained network's deviate by a tenth; collapsed ones would not at all."""
    net, data = resnet(), make_image_task(64, classes=4, size=12)
    Drive(net).run(PRETRAIN[name](net, data, config))
    spread, rank = spread_and_rank(net, data)
    assert spread > 0.2
    assert rank > 3


class Flowing(Siamese):
    """SimSiam with a gradient through what is predicted."""

    def forward(self, step: StepLike) -> Tensor:
        z = [self.projection(self.features(step, view)) for view in PAIR]
        p = [self.predictor(one) for one in z]
        return step.mean_all(0.5 * (negative_cosine(p[0], z[1]) + negative_cosine(p[1], z[0])))


def test_the_stopped_gradient_is_what_keeps_them_apart() -> None:
    """Chen & He 2021, figure 2: without it the loss falls to its least, -1, and few dimensions are left."""
    found = []
    for kind in (Siamese, Flowing):
        net, data, lines = resnet(), make_image_task(64, classes=4, size=12), list[dict[str, Any]]()
        term = kind(net, dimensions=32, hidden=8, seed=0)
        stage = pretrain_stage("siamese", net, data, {"siamese": term}, pair_of_views(net, "simclr"), SHORT)
        Drive(net, log=RunLog(None, (lines.append,))).run(iter([stage]))
        losses = [line["loss"] for line in lines if line["event"] == "epoch"]
        found.append((losses[-1], spread_and_rank(net, data)[1]))
    (loss, rank), (flowing_loss, flowing_rank) = found
    assert flowing_loss < loss - 0.2
    assert rank > 1.5 * flowing_rank


BAD: list[tuple[str, Any, Callable[[], Net], str]] = [
    ("byol", ByolConfig(momentum=1.5), resnet, r"momentum=1.5: from 0 to 1"),
    ("byol", ByolConfig(), perceptron, "this network takes vectors"),
    ("byol", ByolConfig(pipeline="crop(0.2, 1.0) twist(3)"), resnet, "no step is called 'twist'"),
    ("byol", ByolConfig(pipeline="flip(0.5) ; flip(0.1) ; flip(0.2)"), resnet, "3 views, and 2 are drawn"),
    ("byol", ByolConfig(pipeline="plain | "), resnet, "equal pictures teach nothing"),
    ("dino", DinoConfig(pipeline="plain | plain | flip(0.5)"), resnet, "equal pictures teach nothing"),
    ("simsiam", SimSiamConfig(hidden=0), resnet, "hidden=0: one at least"),
    ("barlow", BarlowConfig(weight=-1, scale=0), resnet, r"weight=-1: 0 or more\n.*scale=0: above 0"),
    ("vicreg", VicregConfig(spread=-2), resnet, "spread=-2: 0 or more"),
    ("dino", DinoConfig(teacher_start=0), resnet, "teacher_start=0: above 0"),
    ("dino", DinoConfig(local=2), transformer, r"small views of 5 px cannot pass this network.*use local=0"),
    ("dino", DinoConfig(pipeline="flip(0.5)", local=-1), resnet, "local=-1: 0 or more"),
    (
        "swav",
        SwavConfig(pipeline="flip(0.5) ; flip(0.5) ; crop(0.1, 0.3, size=6) ; crop(0.1, 0.3, size=8)", local=2),
        resnet,
        r"small views of \[6, 8\] px",
    ),
    ("swav", SwavConfig(prototypes=1, eps=0), resnet, r"prototypes=1: two at least\n.*eps=0: above 0"),
    ("deepcluster", DeepClusterConfig(clusters=30), resnet, "clusters=30 of 24 images"),
    ("mae", MaeConfig(), resnet, "transformer whose layers take any number of tokens"),
    ("mae", MaeConfig(share=1.0), transformer, "share=1.0: above 0, below 1"),
]


@pytest.mark.parametrize(("name", "config", "net", "said"), BAD)
def test_what_cannot_be_is_refused_before_anything_is_learned(
    name: str, config: Any, net: Callable[[], Net], said: str
) -> None:
    made = net()
    before = state(made)
    with pytest.raises(ConfigError, match=said):
        next(PRETRAIN[name](made, make_image_task(24, size=12), config))
    assert not differing(before, state(made))


@pytest.mark.parametrize("name", methods.METHODS)
def test_usual_settings_have_no_faults_and_every_fault_is_named(name: str) -> None:
    kind = type(TOYS[name].config)
    assert kind().faults() == []
    faults = kind(school=Schooling(epochs=0, lr=-1), pipeline="crop(2)").faults()
    assert len(faults) == 3


def test_one_image_is_too_few() -> None:
    with pytest.raises(ConfigError, match="1 images are too few"):
        next(PRETRAIN["byol"](resnet(), make_image_task(1, size=12), None))


def test_small_views_are_small_and_the_pipeline_may_have_a_text_for_them() -> None:
    net = resnet()
    views = many_views(net, "dino", 3)
    assert [*views] == ["one", "two", "small1", "small2", "small3"]
    x = torch.zeros(2, 12, 12, 3, dtype=torch.uint8)
    shapes = [tuple(view.render(x, torch.arange(2), seed=0, draw=0).shape) for view in views.values()]
    assert shapes == [(2, 12, 12, 3)] * 2 + [(2, 5, 5, 3)] * 3
    assert [*many_views(net, "dino", 0)] == ["one", "two"]


def test_deepcluster_clusters_again_before_every_epoch_and_counts_on_the_network_alone() -> None:
    """The optimiser's memory of the classifier does not outlive it; that of the network does."""
    net, data = resnet(), make_image_task(24, size=12)
    config = replace(TOYS["deepcluster"].config, school=replace(TOYS["deepcluster"].config.school, epochs=4, lr=0.1))
    stages = list(PRETRAIN["deepcluster"](net, data, config))
    assert [stage.name for stage in stages] == [f"clusters{k}" for k in (1, 2, 3, 4)]
    assert len({name for stage in stages for name in stage.terms}) == 4
    assert [stage.carry for stage in stages] == [False, True, True, True]
    rates = [stage.optimizer.lr for stage in stages]
    assert rates == pytest.approx([0.1] * 4)
    falling = [s.optimizer.lr for s in PRETRAIN["deepcluster"](net, data, replace(config, schedule="cosine"))]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] < 0.05


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("dino", DinoConfig(SHORT, words=16, hidden=16, bottleneck=8)),
        ("byol", ByolConfig(SHORT, dimensions=8, hidden=16)),
        ("swav", SwavConfig(SHORT, prototypes=4, dimensions=8, hidden=16, queue=8)),
    ],
)
def test_transformers_learn_too(name: str, config: Any) -> None:
    net, data = transformer(), make_image_task(16, size=12)
    before = state(net)
    Drive(net).run(PRETRAIN[name](net, data, replace(config, school=replace(SHORT, epochs=2, batch_size=8))))
    assert set(differing(before, state(net))) == set(before)


@pytest.mark.parametrize("name", methods.METHODS)
def test_half_precision(name: str) -> None:
    """bfloat16 as on an accelerator: what is finite in full precision stays so, and about the same is learned."""
    toy, lines = TOYS[name], list[dict[str, Any]]()
    for precision in ("float32", "bf16"):
        net, log = toy.net(), RunLog(None, (lines.append,))
        data = make_image_task(24, size=toy.size)
        Drive(net, machine=Machine(precision=precision), log=log).run(PRETRAIN[name](net, data, toy.config))  # type: ignore[arg-type]
    losses = [line["loss"] for line in lines if line["event"] == "epoch"]
    half = len(losses) // 2
    assert losses[half:] == pytest.approx(losses[:half], rel=0.1, abs=0.1)


def test_byols_copy_is_as_slow_as_the_training_is_long() -> None:
    assert [first_decay(steps) for steps in (1, 100, 1000, 5000, 10**6)] == pytest.approx([0.9, 0.9, 0.98, 0.996, 0.996])
    stage = next(iter(PRETRAIN["byol"](resnet(), make_image_task(24, size=12), ByolConfig(SHORT))))
    assert isinstance(stage, Stage)
    (term,) = stage.terms.values()
    assert isinstance(term, Bootstrap)
    assert (term.momentum, term.steps) == (0.9, 20)


def term_of(name: str, config: Any, images: int = 24) -> Any:
    stage = next(iter(PRETRAIN[name](resnet(), make_image_task(images, size=12), config)))
    assert isinstance(stage, Stage)
    return next(iter(stage.terms.values()))


@pytest.mark.parametrize(
    ("name", "config", "last"), [("swav", SwavConfig, "prototypes"), ("dino", DinoConfig, "head.last.weight")]
)
def test_what_is_frozen_at_first_learns_even_in_a_single_epoch(name: str, config: Any, last: str) -> None:
    """The first epoch's share is a tenth at most; more than all but one epoch is refused."""
    one, many = (config(replace(SHORT, epochs=epochs, batch_size=2)) for epochs in (1, 50))
    assert [term_of(name, cfg).frozen for cfg in (one, many)] == pytest.approx([0.1, 0.02])
    net = resnet()
    stage = next(iter(PRETRAIN[name](net, make_image_task(24, size=12), replace(one, hidden=16))))
    (term,) = stage.terms.values()
    before = {key: value.clone() for key, value in term.named_parameters()}
    Drive(net).run(iter([stage]))
    assert [key for key, value in term.named_parameters() if last in key and torch.equal(value, before[key])] == []
    assert any(last in key for key in before)
    with pytest.raises(ConfigError, match="frozen_epochs=1 of 1: 0 or more, and fewer than all"):
        term_of(name, replace(one, frozen_epochs=1))


def test_swav_has_no_more_prototypes_by_default_than_images_share_them() -> None:
    assert len(term_of("swav", SwavConfig(SHORT)).prototypes.weight) == 24
    assert len(term_of("swav", SwavConfig(replace(SHORT, batch_size=8), queue=10), 22).prototypes.weight) == 17
    assert len(term_of("swav", SwavConfig(SHORT, prototypes=40)).prototypes.weight) == 40


def test_the_usual_vicreg_stays_finite_in_short_runs_on_images_that_batches_do_not_divide() -> None:
    """Unclipped, covariances made the gradient grow a thousandfold within three steps and ended the run."""
    data, lines = make_image_task(226, size=12), list[dict[str, Any]]()
    config = VicregConfig()
    net = resnet()
    school = replace(config.school, epochs=2, batch_size=32)
    Drive(net, log=RunLog(None, (lines.append,))).run(PRETRAIN["vicreg"](net, data, replace(config, school=school)))
    losses = [line["loss"] for line in lines if line["event"] == "epoch"]
    assert losses[1] < losses[0] < 50


@pytest.mark.parametrize("name", ["byol", "barlow", "deepcluster", "swav"])
def test_layer_by_layer(name: str, tmp_path: Path) -> None:
    """As the objective of greedy pretraining, on a network that ends with the block that learns."""
    net, config = resnet(), TOYS[name].config
    school = replace(config.school, epochs=1)
    data, before = make_image_task(16, size=12), state(net)
    stages = greedy(net, data, GreedyConfig(school, together=1), objective=PRETRAIN[name], settings=config)
    Drive(net, folder=tmp_path).run(stages)
    assert set(differing(before, state(net))) == set(before)
    if name == "deepcluster":
        assert len(list(tmp_path.glob("memo-clusters-1-*"))) == 5, "four blocks and all together, each clustered anew"
