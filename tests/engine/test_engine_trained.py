"""What a stage trains: names, rules, modes, where the frozen prefix ends, and every mistake said at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headstart.balance.fixed import Fixed
from headstart.engine.trained import (
    digest,
    frozen_state,
    release,
    resolve,
    restore_masked,
    rule_for,
    set_modes,
)
from headstart.errors import ConfigError
from headstart.nets.net import BlockInfo, InputSpec, Net
from headstart.nets.rng import forked
from headstart.stage import Adapt, Budget, Stage, Train
from headstart.terms.base import StepLike, Term
from headstart.terms.supervised import Supervised
from tests.conftest import make_image_task
from tests.engine.engine_toys import resnet


class Reading(Term):
    """A term that taps a block."""

    def __init__(self, *blocks: str) -> None:
        super().__init__()
        self.reads = blocks

    def forward(self, step: StepLike) -> Tensor:
        return torch.stack([value.float().mean() for value in step.taps().values()]).sum()


class Learning(Reading):
    """A term with parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(2, 2)


def stage(trains: Mapping[str, Any], net: Net, **more: Any) -> Stage:
    net.add_head("toy", 3)
    settings: dict[str, Any] = {"terms": {"supervised": Supervised("toy")}, "budget": Budget(steps=1)} | more
    return Stage("s", make_image_task(12, size=12), trains=trains, **settings)


def test_the_longest_prefix_in_whole_words_rules() -> None:
    trains = {"blocks": 0.1, "blocks.layer1": 0.2, "blocks.layer1.conv": Train(0.3), "heads.t": Adapt()}
    assert rule_for("blocks.layer10.weight", trains) == Train(0.1)
    assert rule_for("blocks.layer1.bn.weight", trains) == Train(0.2)
    assert rule_for("blocks.layer1.conv.weight", trains) == Train(0.3)
    assert rule_for("heads.t.linear.weight", trains) == Adapt()
    assert rule_for("heads.other", trains) is None
    assert rule_for("block", trains) is None


def test_parameters_modules_and_modes_of_a_part() -> None:
    net = resnet()
    plan = stage({"blocks.layer3_0": 1.0, "blocks.layer2_0": Train(1.0, norm="frozen"), "heads": 1.0}, net)
    trained = resolve(net, plan)
    set_modes(net, plan, trained)
    for name, parameter in net.named_parameters():
        wanted = name.startswith(("blocks.layer3_0", "blocks.layer2_0", "heads"))
        assert parameter.requires_grad == wanted == (name in trained.parameters), name
    for name, module in list(net.named_modules())[1:]:
        inside = name.startswith(("blocks.layer3_0", "blocks.layer2_0", "heads"))
        frozen_norm = name.startswith("blocks.layer2_0") and isinstance(module, nn.BatchNorm2d)
        assert module.training == (inside and not frozen_norm), name
    release(net)
    assert not any(module.training for module in net.modules())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_dropout_of_frozen_blocks_is_off() -> None:
    with forked(0):
        blocks = {name: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)) for name in ("low", "high")}
    net = Net(blocks, InputSpec(4, (0.0,), (1.0,), "vector"), {n: BlockInfo("nc", 4) for n in blocks}, None)
    plan = stage({"blocks.high": 1.0, "heads": 1.0}, net)
    set_modes(net, plan, resolve(net, plan))
    assert not net.blocks["low"][1].training
    assert net.blocks["high"][1].training


@pytest.mark.parametrize(
    ("trains", "reads", "first"),
    [
        ({"heads": 1.0}, (), None),
        ({"blocks.layer3_0": 1.0, "heads": 1.0}, (), "layer3_0"),
        ({"blocks.layer3_0.bn1": 1.0, "heads": 1.0}, (), "layer3_0"),
        ({"blocks.layer2_0": Adapt(), "heads": 1.0}, (), "layer2_0"),
        ({"blocks.layer3_0": 1.0, "heads": 1.0}, ("layer1_0",), "layer2_0"),
        ({"blocks.stem": 1.0, "heads": 1.0}, ("layer1_0",), "stem"),
        ({"heads": 1.0}, ("stem", "layer3_0"), "layer1_0"),
    ],
)
def test_the_prefix_ends_before_what_changes_and_at_what_is_tapped(
    trains: Mapping[str, Any], reads: tuple[str, ...], first: str | None
) -> None:
    net = resnet()
    terms = {"supervised": Supervised("toy")} | ({"reading": Reading(*reads)} if reads else {})
    assert resolve(net, stage(trains, net, terms=terms)).first == first


def test_a_head_that_reads_an_early_block_ends_the_prefix_there() -> None:
    net = resnet()
    plan = stage({"heads": 1.0}, net)
    net.add_head("toy", 3, ("layer1_0", "pool"))
    assert resolve(net, plan).first == "layer2_0"


def test_every_mistake_is_named_at_once() -> None:
    net = resnet()
    trains = {"blocks.layer9": 1.0, "blocks.stem": 0.0, "blocks.pool": -1.0, "head": 1.0}
    terms = {"learning": Learning(), "other": Supervised("toy", head="nose"), "reading": Reading("layer7")}
    with pytest.raises(ConfigError) as caught:
        resolve(net, stage(trains, net, terms=terms))
    said = str(caught.value)
    for part in (
        "stage 's'",
        "trains['blocks.layer9'] matches nothing",
        "'layer3_0'",
        "trains['head'] matches nothing",
        "trains['blocks.stem'] has rate scale 0.0",
        "trains['blocks.pool'] has rate scale -1.0",
        "terms.learning.scale.weight has a gradient but trains does not name it",
        "'nose'",
        "['toy']",
        "'layer7'",
    ):
        assert part in said, part


def test_parameters_without_a_loss_are_named() -> None:
    net = resnet()
    with pytest.raises(ConfigError, match=r"trains heads\.toy\.linear\.weight and \d+ more.*no terms.*Adapt"):
        resolve(net, stage({"heads": 1.0}, net, terms={}))
    assert not resolve(net, stage({"blocks": Adapt()}, net, terms={})).parameters


def test_a_term_that_asks_for_another_task_is_named() -> None:
    net = resnet()
    net.add_head("other", 3)
    with pytest.raises(ConfigError, match=r"term 'x' asks for task 'other'.*about toy"):
        resolve(net, stage({"heads": 1.0}, net, terms={"x": Supervised("other")}))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("blocks.stem.conv1.weight", (4, 3, 3, 3), "does not train"),
        ("heads.toy.linear.wieght", (3, 16), "does not train"),
        ("heads.toy.linear.weight", (16, 3), r"shape \[16, 3\].*\[3, 16\]"),
    ],
)
def test_a_mask_that_fits_nothing_is_named(name: str, shape: tuple[int, ...], message: str) -> None:
    net = resnet()
    with pytest.raises(ConfigError, match=message):
        resolve(net, stage({"heads": Train(1.0, mask={name: torch.ones(shape)})}, net))


def test_parameters_of_terms_and_balances_must_be_named() -> None:
    class Weighing(Fixed):
        def __init__(self) -> None:
            super().__init__()
            self.log_variance = nn.Parameter(torch.zeros(1))

    net = resnet()
    with pytest.raises(ConfigError, match=r"balance\.log_variance has a gradient"):
        resolve(net, stage({"heads": 1.0}, net, balance=Weighing()))
    trained = resolve(net, stage({"heads": 1.0, "balance": 0.5}, net, balance=Weighing()))
    assert trained.rules["balance.log_variance"] == Train(0.5)


def test_frozen_state_is_all_that_must_stay() -> None:
    net = resnet()
    mask = torch.zeros(3, 16)
    mask[0] = 1
    plan = stage({"blocks.layer3_0": Train(1.0, norm="frozen"), "heads": Train(mask={"heads.toy.linear.weight": mask})}, net)
    trained = resolve(net, plan)
    set_modes(net, plan, trained)
    kept = frozen_state(net, plan, trained)
    assert "blocks.layer3_0.conv1.weight" not in kept
    assert "blocks.layer3_0.bn1.running_mean" in kept
    assert "blocks.layer2_0.conv1.weight" in kept
    assert "blocks.layer2_0.bn1.num_batches_tracked" in kept
    assert kept["heads.toy.linear.weight[mask=0]"].shape == (32,)
    before = digest(kept)
    with torch.no_grad():
        net.head("toy").linear.weight[0] += 1
        net.blocks["layer3_0"].conv1.weight += 1
    assert digest(frozen_state(net, plan, trained)) == before
    with torch.no_grad():
        net.head("toy").linear.weight[1, 2] += 1e-6
        net.blocks["stem"].bn1.running_var[0] *= 1.0000001
    moved = {name for name, mark in digest(frozen_state(net, plan, trained)).items() if mark != before[name]}
    assert moved == {"heads.toy.linear.weight[mask=0]", "blocks.stem.bn1.running_var"}


def test_masked_elements_are_put_back_and_the_others_left() -> None:
    net = resnet()
    draw = torch.Generator().manual_seed(0)
    mask = torch.randint(0, 2, (3, 16), generator=draw)
    trained = resolve(net, stage({"heads": Train(mask={"heads.toy.linear.weight": mask})}, net))
    weight = net.head("toy").linear.weight
    before, moved = weight.detach().clone(), torch.randn(3, 16, generator=draw)
    with torch.no_grad():
        weight.copy_(moved)
    restore_masked(trained, {"heads.toy.linear.weight": before})
    assert torch.equal(weight, torch.where(mask == 1, moved, before))
