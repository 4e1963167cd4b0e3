"""Weight files: what is read, what is refused, and that misfits are named together."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from headstart.data.views import normalise
from headstart.errors import BackboneError, ModelFileError
from headstart.nets.build import build
from headstart.nets.weights import read_weights
from tests.nets.toys import Plain, scramble

INPUT: dict[str, Any] = {"size": 16, "mean": (0.5,) * 3, "std": (0.5,) * 3}


class Harm:
    """Pickles to a call: what a hostile weight file does."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("harm-was-done"),))


def _saved(tmp_path: Path, classes: int = 5) -> tuple[nn.Module, Path]:
    torch.manual_seed(1)
    module = scramble(Plain(classes)).eval().to(memory_format=torch.channels_last)
    torch.save(module.state_dict(), tmp_path / "plain.pt")
    return module, tmp_path / "plain.pt"


@pytest.mark.parametrize("wrapper", ["none", "state_dict", "model", "module.", "_orig_mod.", "half", "safetensors"])
def test_formats(wrapper: str, tmp_path: Path) -> None:
    module, path = _saved(tmp_path)
    state = module.state_dict()
    if wrapper in ("state_dict", "model"):
        torch.save({wrapper: state, "epoch": 3}, path)
    elif wrapper.endswith("."):
        torch.save({"state_dict": {f"{wrapper}{key}": value for key, value in state.items()}}, path)
    elif wrapper == "half":
        torch.save({key: value.half() if value.is_floating_point() else value for key, value in state.items()}, path)
    elif wrapper == "safetensors":
        path = tmp_path / "plain.safetensors"
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    net = build(Plain(), weights=path, **INPUT)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(net(x, "source"), module(x), rtol=0, atol=2e-2 if wrapper == "half" else 0)
    assert all(value.dtype == torch.float32 for value in net.parameters())


def test_metadata_states_the_input(tmp_path: Path) -> None:
    module, _ = _saved(tmp_path)
    path = tmp_path / "plain.safetensors"
    save_file(
        {key: value.contiguous() for key, value in module.state_dict().items()},
        path,
        metadata={"mean": "0.1, 0.2, 0.3", "std": "0.4,0.5,0.6"},
    )
    net = build(Plain(), weights=path, size=16)
    assert (net.input.mean, net.input.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_a_pickle_that_could_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Harm()}, tmp_path / "new.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Harm()))
    for name in ("new.pt", "old.pt"):
        with pytest.raises(ModelFileError, match=r"refused.*could run code|damaged or not"):
            read_weights(tmp_path / name)
    with pytest.raises(ModelFileError, match="refused"):
        read_weights(tmp_path / "new.pt")
    assert not (tmp_path / "harm-was-done").exists()


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(Plain(), tmp_path / "whole.pth")
    with pytest.raises(ModelFileError, match=r"state_dict\(\)"):
        read_weights(tmp_path / "whole.pth")


@pytest.mark.parametrize("content", [b"", b"not a weight file", b"\x00" * 100])
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_damaged_files(content: bytes, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{ending}"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=path.name):
        read_weights(path)


def test_truncated_files(tmp_path: Path) -> None:
    module, path = _saved(tmp_path)
    safe = tmp_path / "plain.safetensors"
    save_file({key: value.contiguous() for key, value in module.state_dict().items()}, safe)
    for one in (path, safe):
        one.write_bytes(one.read_bytes()[: one.stat().st_size // 2])
        with pytest.raises(ModelFileError, match="damaged"):
            read_weights(one)


def test_files_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"'\.h5' is not one of"):
        read_weights(tmp_path / "weights.h5")
    with pytest.raises(ModelFileError, match="no such file"):
        read_weights(tmp_path / "absent.pt")
    with pytest.raises(ModelFileError, match="is a folder"):
        read_weights(tmp_path)
    torch.save({"epoch": 3, "lr": 0.1}, tmp_path / "numbers.pt")
    with pytest.raises(ModelFileError, match=r"\['epoch', 'lr'\] and no named tensors"):
        read_weights(tmp_path / "numbers.pt")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(ModelFileError, match="holds list"):
        read_weights(tmp_path / "list.pt")


def test_misfits_are_named_together(tmp_path: Path) -> None:
    module, path = _saved(tmp_path)
    state = module.state_dict()
    state["extra.weight"] = torch.zeros(2)
    del state["bn1.weight"]
    state["conv2.weight"] = torch.zeros(1, 2, 3, 3)
    torch.save(state, path)
    with pytest.raises(BackboneError) as caught:
        build(Plain(), weights=path, **INPUT)
    said = str(caught.value)
    assert "missing in the file (1): bn1.weight" in said
    assert "not in the network (1): extra.weight" in said
    assert "conv2.weight [1, 2, 3, 3] (the network has [12, 8, 3, 3])" in said


def test_a_head_that_does_not_fit_is_dropped(tmp_path: Path) -> None:
    module, path = _saved(tmp_path, classes=9)
    net = build(Plain(5), weights=path, **INPUT)
    assert not net.heads
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(module.fc(net.run(x)[net.last]), module(x))


def test_a_head_that_reads_other_features_is_no_head_of_this_network(tmp_path: Path) -> None:
    """Another number of classes is usual and is dropped; another number of features, or parts that disagree, is damage."""
    _, path = _saved(tmp_path, classes=9)
    whole = torch.load(path, weights_only=True)
    width = whole["fc.weight"].shape[1]
    for name, value in (("fc.weight", torch.zeros(9, width + 7)), ("fc.bias", torch.zeros(8))):
        torch.save({**whole, name: value}, tmp_path / "other.pth")
        with pytest.raises(BackboneError, match=rf"of another shape .*{name}") as caught:
            build(Plain(5), weights=tmp_path / "other.pth", **INPUT)
        assert "Name the network that it was saved from" in str(caught.value)


def test_a_library_network_takes_the_files_number_of_classes(tmp_path: Path) -> None:
    torch.manual_seed(2)
    whole = timm.create_model("resnet10t", num_classes=7).eval().to(memory_format=torch.channels_last)
    torch.save(whole.state_dict(), tmp_path / "seven.pth")
    net = build("timm:resnet10t", weights=tmp_path / "seven.pth", size=64)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(net(x, "source"), whole(x))
    assert net.source is not None
    assert net.source["num_classes"] == 7
    assert net.source["weights"]["file"] == "seven.pth"
    headless = {key: value for key, value in whole.state_dict().items() if not key.startswith("fc.")}
    torch.save(headless, tmp_path / "headless.pth")
    net = build("timm:resnet10t", weights=tmp_path / "headless.pth", size=64)
    assert not net.heads
    assert net.source is not None
    assert "holds no classifier" in net.source["notes"][0]


@pytest.mark.slow
def test_published_networks_keep_their_accuracy(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ResNet-20 of the weight files reaches 91.73 % of the CIFAR-10 test images through blocks and source head."""
    pil = pytest.importorskip("PIL.Image")
    import io
    import zipfile

    monkeypatch.syspath_prepend(str(shared / "data" / "weights"))
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    import nets as given

    weights = shared / "data" / "weights"
    net = build(
        given.CifarResNet(20),
        weights=weights / "resnet20-12fca82f.th",
        size=32,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    assert len(net.block_names) == 11
    with zipfile.ZipFile(shared / "data" / "cifar10.zip") as archive:
        names = [name for name in archive.namelist() if "/test/" in name and name.endswith(".webp")]
        images = np.stack([np.array(pil.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names])
    classes = sorted({name.split("/")[2] for name in names})
    labels = np.array([classes.index(name.split("/")[2]) for name in names])
    with torch.no_grad():
        answers = [
            net(normalise(torch.from_numpy(part), net.input.mean, net.input.std), "source").argmax(1).numpy()
            for part in np.split(images, 50)
        ]
    assert (np.concatenate(answers) == labels).mean() == pytest.approx(0.9173, abs=5e-4)


@pytest.mark.slow
def test_library_networks_equal_the_library(shared: Path) -> None:
    weights = shared / "data" / "weights"
    path = weights / "mobilenetv2_100_imagenet_fp16.safetensors"
    net = build("timm:mobilenetv2_100", weights=path, args={"pad_type": "same"}, size=224)
    assert net.input.mean == (0.5, 0.5, 0.5)
    whole = timm.create_model("mobilenetv2_100", pad_type="same").eval().to(memory_format=torch.channels_last)
    whole.load_state_dict(read_weights(path).tensors)
    x = torch.randn(2, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert torch.equal(net(x, "source"), whole(x))
    squeeze = build("torchvision:squeezenet1_0", weights=weights / "squeezenet1_0_deepcompressed_imagenet_fp16.pt")
    assert squeeze.run(x)[squeeze.last].shape == (2, 512)
