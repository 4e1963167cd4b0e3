"""Names of networks, without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headstart.catalog.models import known_models, nearest, own_name, torchvision_names
from headstart.nets.build import build
from headstart.nets.net import count_parameters


def test_names_are_unique_and_complete() -> None:
    models = known_models()
    names = [model.name for model in models]
    assert len(names) == len(set(names)) > 1000
    assert models[0].name == "embedded"
    assert {model.kind for model in models} == {"embedded", "headstart", "timm", "torchvision"}
    resnet = next(model for model in models if model.name == "timm:resnet18.a1_in1k")
    assert (resnet.params, resnet.input_size) == (11_690_000, 224)


def test_own_sizes_are_right() -> None:
    for model in known_models():
        if model.kind == "headstart":
            net = build(model.name)
            net.add_head("classes", 10)
            assert model.params == pytest.approx(count_parameters(net), abs=1000)


def test_a_name_without_prefix_means_ours_only_where_no_library_has_it() -> None:
    own = ["headstart:resnet8", "headstart:convnet8", "headstart:vit", "headstart:cifar_resnet20", "cifar_resnet20"]
    assert [own_name(name) for name in own] == ["resnet8", "convnet8", "vit", "cifar_resnet20", "cifar_resnet20"]
    assert not any(own_name(name) for name in ("resnet26", "resnet50", "vit", "timm:resnet20", "headstart:vit2", ""))
    assert all(own_name(model.name) for model in known_models() if model.kind == "headstart")


def test_torchvision_names_are_torchvisions() -> None:
    import torchvision

    assert torchvision_names() == torchvision.models.list_models(module=torchvision.models)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("resnet81", "timm:resnet18"),
        ("timm:efficientnet_bo", "timm:efficientnet_b0"),
        ("torchvision:squeezenet", "torchvision:squeezenet1_0"),
        ("headstart:cifar_resnet21", "headstart:cifar_resnet20"),
        ("embeded", "embedded"),
        ("timm:resnet18.a1_in1", "timm:resnet18.a1_in1k"),
    ],
)
def test_nearest(typed: str, meant: str) -> None:
    assert meant in nearest(typed)
    assert len(nearest(typed)) <= 5


def test_nothing_is_near_nonsense() -> None:
    assert nearest("qqqqqqqqqqqqqqq") == []


def test_no_torch_is_imported() -> None:
    code = "import sys, headstart.catalog.models as m; m.known_models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
