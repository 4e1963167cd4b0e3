"""PyTorch's own files of a graph (`.pt2`): written without code or pickles, and opened only when they hold none."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.export import ExportedProgram

from headstart.errors import ModelFileError
from headstart.export.deployed import Facts
from headstart.export.trace import quiet

FACTS = "headstart.json"
_NAMES = "Symbol|Integer|Rational|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|IntTrueDiv|Eq|Ne|Le|Lt|Ge|Gt"
_MARKS = "positive|nonnegative|integer|True|False|evaluate"
_SIZES = re.compile(rf"('?[szu]\d+'?|\d+|{_NAMES}|{_MARKS}|[-+*/(), <>=])*")
"""What an expression about sizes may be made of; PyTorch evaluates it as Python when it reads the file."""
_OPERATORS = re.compile(r"torch\.ops(\.(?!__)\w+){2,3}|_operator\.\w+|math\.\w+|torch\.sym_\w+")
"""What a node may call; PyTorch looks names up below `torch`, from where one gets anywhere."""


def write_torch_export(program: ExportedProgram, facts: Facts, path: Path) -> None:
    """Write a traced network as a `.pt2` file, the facts beside it in the same archive."""
    # Its example would be the one part of the file that is a pickle.
    program.example_inputs = None
    with quiet(), path.open("wb") as file:
        torch.export.save(program, file, extra_files={FACTS: facts.text()})


class TorchRunner:
    """A `.pt2` file that headstart wrote, on the CPU."""

    def __init__(self, path: Path) -> None:
        check(path)
        extra = {FACTS: ""}
        try:
            with quiet(), path.open("rb") as file:
                program = torch.export.load(file, extra_files=extra)
        except Exception as error:  # the reader raises whatever a damaged file leads it to
            raise ModelFileError(
                f"{path} cannot be read as a torch.export file: {_first_line(error)}; export it again"
            ) from error
        self.module: nn.Module = program.module()
        self.facts = Facts.from_json(json.loads(extra[FACTS]), str(path))

    def __call__(self, samples: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """Logits and probabilities `[N, C]`, or the answer to every question."""
        with torch.inference_mode():
            found = self.module(torch.from_numpy(np.ascontiguousarray(samples)))
        return tuple(one.numpy() for one in ([found[name] for name in self.facts.outputs] if self.facts.tasks else found))


def check(path: Path) -> None:
    """Raise ModelFileError unless PyTorch can open the file without running anything that stands in it.

    `torch.export.load` unpickles example inputs, constants and subclassed tensors, and evaluates the expressions for sizes.
    Files that `write_torch_export` made have none of the former, and of the latter only arithmetic.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = next(_faults(archive), None)
    except (zipfile.BadZipFile, ValueError, KeyError, UnicodeDecodeError) as error:
        raise ModelFileError(f"{path} is not a torch.export file, or it is damaged ({error}); export it again") from error
    if wrong:
        raise ModelFileError(f"{path} {wrong}: opening it could run code. Only files of headstart export are opened")


def _faults(archive: zipfile.ZipFile) -> Iterator[str]:
    names = [name.partition("/")[2] for name in archive.namelist()]
    if "archive_format" not in names or f"extra/{FACTS}" not in names:
        yield "was not written by headstart export"
    for name in archive.namelist():
        inner = name.partition("/")[2]
        if inner.startswith("data/sample_inputs/") and archive.getinfo(name).file_size:
            yield "holds example inputs as a pickle"
        if inner.startswith("data/aotinductor/") or inner.endswith((".so", ".cubin")):
            yield "holds compiled code"
        if inner.endswith("_config.json"):
            yield from (f"holds {key} as a pickle" for key in _pickled(json.loads(archive.read(name))))
        if inner.startswith("models/"):
            model = json.loads(archive.read(name))
            if model.get("guards_code"):
                yield "holds Python code"
            yield from (f"has a size {text!r}" for text in _below(model, "expr_str") if not _SIZES.fullmatch(text))
            yield from (f"calls {text!r}" for text in _below(model, "target") if not _OPERATORS.fullmatch(text))


def _pickled(config: dict[str, Any]) -> Iterator[str]:
    for key, entry in config.get("config", {}).items():
        if entry.get("use_pickle", True):
            yield key


def _below(value: Any, name: str) -> Iterator[str]:
    """Every text below a key `name`, however deep."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == name and isinstance(item, str):
                yield item
            else:
                yield from _below(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _below(item, name)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
