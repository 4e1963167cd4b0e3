"""What tests of failures share: a few images, a small network in a file, and the command line in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from headstart.cli.main import main
from tests.conftest import images
from tests.engine.engine_toys import resnet

SIZE = 12


class Said(NamedTuple):
    """How one command line ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "FORCE_COLOR", "PYTHONWARNINGS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 pictures of 12 px in three class folders; shared, so never written to."""
    return write_album(tmp_path_factory.mktemp("album"), 30)


def write_album(root: Path, count: int, classes: int = 3, seed: int = 0) -> Path:
    """`count` pictures of 12 px, one folder per class."""
    pixels, labels = images(count, classes, SIZE, seed)
    for place, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
        folder = root / f"class{label}"
        folder.mkdir(exist_ok=True, parents=True)
        Image.fromarray(picture).save(folder / f"{place}.png")
    return root


@pytest.fixture
def photos(album: Path, tmp_path: Path) -> Path:
    """A copy of the album that a test may spoil."""
    return Path(shutil.copytree(album, tmp_path / "photos"))


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Words that name a ResNet-8 of width 4, and the file with its weights."""
    import torch
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("network") / "resnet8.safetensors"
    save_file({name: value.contiguous() for name, value in resnet(SIZE).state_dict().items()}, path)
    assert torch.get_num_threads() == 1
    return [
        "--backbone",
        "headstart:cifar_resnet8",
        "--backbone-args",
        "width=4",
        "--weights",
        str(path),
        "--size",
        str(SIZE),
    ]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Carry out one command line in this process."""

    def _run(*words: Any) -> Said:
        code = main([str(word) for word in words])
        return Said(code, *capsys.readouterr())

    return _run


@pytest.fixture
def adapt(run: Run, network: list[str], tmp_path: Path) -> Run:
    """`headstart adapt DATA ...` with the small network, two folds, one arm beside the advised one, into `tmp_path/run`."""

    def _adapt(data: Any, *words: Any) -> Said:
        given = {str(word).partition("=")[0] for word in words}
        usual = {"--out": tmp_path / "run", "--budget": "1h", "--folds": "2", "--strategies": "probe", "--device": "cpu"}
        missing = [item for flag, value in usual.items() if flag not in given for item in (flag, value)]
        return run("adapt", data, *([] if "--backbone" in given else network), *missing, *words)

    return _adapt


def refused(said: Said, *parts: str, code: int = 2) -> None:
    """The command ended in one clear message that says all `parts`, and not as a defect."""
    assert said.code == code, said.err
    assert said.out == ""
    assert "Traceback" not in said.err
    assert said.err.count("error: ") == 1, said.err
    for part in parts:
        assert part in said.err, f"{part!r} is not in: {said.err}"
