"""Arguments and networks that cannot be: said before anything is read or written, all of them together."""

from __future__ import annotations

import json
import pickle
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart.nets.small import cifar_resnet
from tests.failures.conftest import SIZE, Run, refused

SETTINGS: list[tuple[list[str], tuple[str, ...]]] = [
    (["--budget", "soon"], ("--budget 'soon' is not a time", "10m or 2h")),
    (["--budget", "0s"], ("--budget '0s' must be more than nothing",)),
    (["--budget", "-5"], ("--budget '-5'", "45s")),
    (["--folds", "1"], ("--folds 1: comparing needs at least 2",)),
    (["--test-fraction", "0"], ("--test-fraction 0.0 must lie between 0 and 1",)),
    (["--test-fraction", "nan"], ("--test-fraction nan must lie between 0 and 1",)),
    (["--device", "cuda"], ("--device cuda: this machine has no CUDA device; use --device cpu",)),
    (["--device", "gpu"], ("--device 'gpu' is unknown; give cpu, cuda",)),
    (["--size", "0"], ("--size 0 must be at least 1 pixel",)),
    (["--mean", "0.5"], ("--mean (0.5,)", "red, green and blue")),
    (["--folds", "0", "--size", "-3", "--patience", "0"], ("--folds 0", "--size -3", "--patience 0")),
    (["--mean", "0.5", "0.5", "0.5", "--std", "0", "1", "1"], ("std=(0.0, 1.0, 1.0)", "positive deviations")),
    (["--strategies", "probee", "lpt"], ("'probee', did you mean probe", "'lpt', did you mean lpft")),
    (["--fit", "stretch"], ("--fit", "stretch")),
    (["--seed", "one"], ("--seed", "one")),
    (["--budgt", "3m"], ("--budgt", "--budget")),
]


@pytest.fixture(autouse=True)
def _no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(("words", "parts"), SETTINGS, ids=[" ".join(words) for words, _ in SETTINGS])
def test_settings_that_cannot_be(
    adapt: Run, album: Path, tmp_path: Path, words: list[str], parts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.studies.opening.prepare", lambda *a, **k: pytest.fail("images were read before"))
    said = adapt(album, *words)
    assert said.code == 2
    assert "Traceback" not in said.err
    spoken = re.sub(r"[│\s]+", " ", said.err)
    assert all(part in spoken for part in parts), said.err
    assert not (tmp_path / "run").exists()


class Evil:
    """Would make a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def own(file: Path | None = None, *, args: tuple[str, ...] = ("width=4",)) -> list[str]:
    """Words for the small network, with weights from `file`."""
    weights = [] if file is None else ["--weights", str(file)]
    return ["--backbone", "headstart:cifar_resnet8", "--backbone-args", *args, *weights, "--size", str(SIZE)]


def test_a_pickle_that_is_not_plain_weights_is_refused_and_not_run(adapt: Run, album: Path, tmp_path: Path) -> None:
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"state_dict": Evil(tmp_path / "ran")}))
    refused(adapt(album, *own(tmp_path / "evil.pt")), "evil.pt: refused", "could run code", "torch.save(model.state_dict()")
    torch.save(cifar_resnet(8, 4, SIZE), tmp_path / "whole.pt")
    refused(adapt(album, *own(tmp_path / "whole.pt")), "whole.pt: refused", "torch.save(model.state_dict()")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "run").exists()


def test_weights_that_do_not_fit_are_listed_together(adapt: Run, album: Path, tmp_path: Path) -> None:
    state = cifar_resnet(8, 6, SIZE).state_dict()
    state["blocks.extra.weight"] = torch.zeros(1)
    del state["blocks.stem.bn1.bias"]
    torch.save(state, tmp_path / "other.pt")
    refused(
        adapt(album, *own(tmp_path / "other.pt")),
        "weight file other.pt does not fit headstart:cifar_resnet8",
        "missing in the file (1): blocks.stem.bn1.bias",
        "not in the network (1): blocks.extra.weight",
        "of another shape",
        "blocks.layer1_0.conv1.weight [6, 6, 3, 3] (the network has [4, 4, 3, 3])",
        "--backbone-args",
    )


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("none.pt", None, "there is no such file"),
        ("empty.pt", b"", "is empty; fetch it again"),
        ("half.pt", b"PK\x03\x04", "is damaged"),
        ("text.safetensors", b"<html>404</html>", "is damaged or not a safetensors file"),
        ("weights.onnx", b"\x08\x07", "its ending '.onnx' is not one of"),
        ("folder.pt/", None, "is a folder"),
    ],
)
def test_weight_files_that_are_none(
    adapt: Run, album: Path, tmp_path: Path, name: str, content: bytes | None, part: str
) -> None:
    if name.endswith("/"):
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    refused(adapt(album, *own(tmp_path / name)), f"weight file {tmp_path / name.rstrip('/')}", part)


def test_what_belongs_to_a_network_needs_one(adapt: Run, run: Run, album: Path, tmp_path: Path) -> None:
    said = run("adapt", album, "--out", tmp_path / "run", "--weights", "my.pt", "--backbone-args", "a=1")
    refused(said, "these need --backbone", "--weights my.pt", "--backbone-args")
    refused(adapt(album, *own(args=("width",))), "'width' is not of the form key=value")
    refused(adapt(album, *own(args=("wdith=4",))), "wdith", "headstart:cifar_resnet8")
    refused(adapt(album, "--backbone", "headstart:cifar_resnet9"), "depth=9", "6n+2")


def test_unknown_backbones_get_the_nearest_names(adapt: Run, album: Path, tmp_path: Path) -> None:
    refused(adapt(album, "--backbone", "cifar_resnt20"), "no network is called 'cifar_resnt20'", "headstart:cifar_resnet20")
    refused(
        adapt(album, "--backbone", "timm:resnt18"),
        "no network is called 'timm:resnt18'",
        "timm:resnet18",
        "headstart models",
    )
    refused(adapt(album, "--backbone", "runs/no-such-run"), "runs/no-such-run is no folder", "RUN/model")
    (tmp_path / "empty").mkdir()
    refused(adapt(album, "--backbone", tmp_path / "empty"), "holds no saved headstart model")
    assert not (tmp_path / "run").exists()


def test_weights_that_cannot_be_downloaded_are_said_at_once_with_what_works_offline(
    adapt: Run, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    assert timm.__version__
    began = time.monotonic()
    said = adapt(album, "--backbone", "timm:resnet18")
    assert time.monotonic() - began < 10
    refused(said, "the pretrained weights of timm:resnet18 cannot be downloaded", "embedded", "--weights FILE")
    assert not (tmp_path / "run").exists()


def test_large_images_without_a_download_are_not_given_another_network_in_silence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np
    from PIL import Image

    for place in range(12):
        path = tmp_path / "photos" / f"class{place % 2}" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(place).integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    said = run("adapt", tmp_path / "photos", "--out", tmp_path / "run")
    refused(said, "the pretrained weights of timm:mobilenetv4_conv_small", "cannot be downloaded", "--backbone embedded")


def test_a_network_without_pretrained_weights_is_called_so(adapt: Run, album: Path, tmp_path: Path) -> None:
    said = adapt(album, *own())
    assert said.code == 0, said.err
    assert "drawn at random" in said.err
    card = json.loads((tmp_path / "run" / "model" / "card.json").read_text("utf-8"))
    assert card["ancestors"][0]["strategy"] == "weights drawn at random"
