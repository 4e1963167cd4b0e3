"""What tests of exporting share: small models that know something, their pictures, and their files."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from headstart.catalog.device import ExportConfig
from headstart.engine.model import Ancestor, Card, Model
from headstart.export.export import Exported, export
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet
from tests.conftest import images
from tests.export.toys import CLASSES, SIZE, taught

MISSING = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
needs_onnx = pytest.mark.skipif(bool(MISSING), reason=f"needs the extra 'device': {', '.join(MISSING)} not installed")


@pytest.fixture(scope="session")
def model() -> Model:
    """A ResNet-8 of width 8 for 16 px that tells three kinds of pictures apart."""
    with forked(0):
        net: Net = cifar_resnet(8, 8, SIZE)
    return taught(net, *images(150, 3, SIZE, 1))


@pytest.fixture(scope="session")
def saved(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's folder. Shared: tests write elsewhere."""
    return model.save(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 pictures of 20 px in folders of train/ and test/."""
    root = tmp_path_factory.mktemp("album")
    pixels, labels = images(120, 3, 20, 2)
    for place, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
        folder = root / ("test" if place % 2 else "train") / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{place}.png")
    return root


@pytest.fixture(scope="session")
def made(saved: Path, album: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """`made("onnx")`, `made("int8")`, `made("torch-export")`: the model's file, written once."""
    folder, kept = tmp_path_factory.mktemp("files"), {}
    ends = {"onnx": ".onnx", "int8": "-int8.onnx", "torch-export": ".pt2"}

    def get(kind: str) -> Exported:
        if kind not in kept:
            if kind != "torch-export" and MISSING:
                pytest.skip(f"{', '.join(MISSING)} not installed")
            config = ExportConfig(
                saved,
                to="torch-export" if kind == "torch-export" else "onnx",
                quantize="int8" if kind == "int8" else None,
                images=str(album),
                out=folder / f"model{ends[kind]}",
                max_loss=0.1,
            )
            kept[kind] = export(config)
        return kept[kind]

    return get


@pytest.fixture(scope="session")
def pixels() -> NDArray[np.uint8]:
    """`[24, 16, 16, 3]` pictures the model has not seen."""
    return images(24, 3, SIZE, 7)[0]


def card(name: str = "main", classes: tuple[str, ...] = CLASSES) -> Card:
    """The card of a model nobody has trained."""
    return Card(name, classes, "squash", (Ancestor("toy", "ridge", "pictures", "abc"),), "0.1.0")
