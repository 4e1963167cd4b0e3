"""`.pt2` files: the model's answers to the bit, and nothing is opened that could run code."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from headstart.engine.model import Model
from headstart.errors import ModelFileError
from headstart.export.export import Exported
from headstart.export.runners import of_model, open_runner
from headstart.export.torch_export import check

Made = Callable[[str], Exported]


@pytest.mark.parametrize("count", [1, 3, 24])
def test_answers_are_the_models_to_the_bit(made: Made, model: Model, pixels: NDArray[np.uint8], count: int) -> None:
    runner = open_runner(made("torch-export").path)
    for mine, theirs in zip(runner.answer(pixels[:count]), of_model(model)(pixels[:count]), strict=True):
        assert np.array_equal(mine, theirs)
    assert made("torch-export").parity.logits == 0
    assert runner.facts == made("torch-export").facts


def test_nothing_of_this_machine_is_in_the_file(made: Made) -> None:
    with zipfile.ZipFile(made("torch-export").path) as archive:
        for name in archive.namelist():
            assert b"site-packages" not in archive.read(name), name
            assert str(Path(__file__).parents[2]).encode() not in archive.read(name), name


def rewritten(source: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            new.writestr(name, change(name.partition("/")[2], old.read(name)))
    return target


def in_json(part: str, change: Callable[[Any], None]) -> Callable[[str, bytes], bytes]:
    """Change one JSON file of the archive."""

    def changed(name: str, content: bytes) -> bytes:
        if not name.startswith(part):
            return content
        value = json.loads(content)
        change(value)
        return json.dumps(value).encode()

    return changed


def call_of(model: Any, target: str) -> None:
    model["graph_module"]["graph"]["nodes"][0]["target"] = target


def size_of(model: Any, text: str) -> None:
    for value in model["graph_module"]["graph"]["tensor_values"].values():
        for size in value["sizes"]:
            if "as_expr" in size:
                size["as_expr"]["expr_str"] = text


def pickled(config: Any) -> None:
    next(iter(config["config"].values()))["use_pickle"] = True


HARMS: dict[str, tuple[Callable[[str, bytes], bytes], str]] = {
    "a call into torch": (in_json("models/", lambda m: call_of(m, "torch.os.system")), "calls 'torch.os.system'"),
    "a call around ops": (
        in_json("models/", lambda m: call_of(m, "torch.ops.load_library")),
        "calls 'torch.ops.load_library'",
    ),
    "code as a size": (in_json("models/", lambda m: size_of(m, "exec(chr(49))")), r"has a size 'exec\(chr\(49\)\)'"),
    "guards": (in_json("models/", lambda m: m.update(guards_code=["print(1)"])), "holds Python code"),
    "pickled weights": (in_json("data/weights/model_weights_config", pickled), "as a pickle"),
    "pickled inputs": (lambda name, old: b"\x80\x02." if name.startswith("data/sample_inputs") else old, "as a pickle"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_could_run_code_is_not_opened(made: Made, tmp_path: Path, harm: str) -> None:
    change, said = HARMS[harm]
    path = rewritten(made("torch-export").path, tmp_path / "a.pt2", change)
    with pytest.raises(ModelFileError, match=said):
        open_runner(path)


def test_an_unchanged_copy_is_opened(made: Made, tmp_path: Path) -> None:
    check(rewritten(made("torch-export").path, tmp_path / "a.pt2", lambda name, content: content))


def test_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), path)
    with pytest.raises(ModelFileError, match="was not written by headstart export"):
        open_runner(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ModelFileError, match=r"is not a torch\.export file, or it is damaged"):
        open_runner(path)
