"""Parts of summary.json that every command writes: what the data and the network were, and how to run it again."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.catalog.adapt import BackboneConfig
from headstart.data.prepare import DataSet
from headstart.data.task import Task
from headstart.engine.model import model_folder
from headstart.nets.net import Net

_HOW = ("data", "model", "out", "resume", "overwrite", "json")
"""Settings that only say how a run is carried out, and those that a command names first."""
_OBJECTS = ("backbone", "teacher", "student")
"""What a call takes after the data, by place."""


def plain(value: Any) -> Any:
    """Numbers that JSON can hold: NumPy's made plain, NaN made null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def name_of(network: BackboneConfig, net: Net) -> str:
    """What people call the network: a saved model's folder as it was given, else the name that tells its weights too, else
    as they named it."""
    named, source = network.backbone, net.source or {}
    if named is not None and model_folder(named) is not None:
        return named
    return str(source.get("name") or named or source.get("builder") or "a module given from Python")


def data_record(data: DataSet, train: Task, test: Task) -> dict[str, Any]:
    """Where the images came from, how many there are, and what could not be used."""
    return {
        "path": data.inspection.where,
        "fingerprint": data.fingerprint,
        "num_images": data.inspection.num_images,
        "num_classes": len(data.classes),
        "set_aside": [{"path": bad.path, "reason": bad.reason} for bad in data.inspection.set_aside],
        "splits": {"train": len(train), "test": len(test)},
    }


def again(command: str, config: Any, given: Sequence[str] = ()) -> str:
    """The command that makes a run again; the call, when it was `given` objects from Python that no command can name.

    config  the settings; those that are not the default's are said
    """
    return _call(command, config, given) if given else _command(command, config)


def _command(command: str, config: Any) -> str:
    data = config.data if isinstance(config.data, tuple) else (config.data,)
    words = ["headstart", *command.split(), *map(str, data), "--out", str(config.out)]
    for name, value in changed(config, type(config)(data=config.data)):
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *(map(str, value) if isinstance(value, tuple) else [str(value)])]
    return shlex.join(words)


def _call(command: str, config: Any, given: Sequence[str]) -> str:
    first = "data" if "data" in given else repr(config.data)
    words = [first, *(name for name in _OBJECTS if name in given), f"out={str(config.out)!r}"]
    for name, value in changed(config, type(config)(data=config.data)):
        words.append(f"{name}={str(value)!r}" if isinstance(value, Path) else f"{name}={value!r}")
    name = re.sub("[ -]", "_", command)
    return f"headstart.{name}({', '.join(words)})"


def changed(config: Any, default: Any) -> list[tuple[str, Any]]:
    """Settings that are not the default's, by name, those in groups last."""
    values = [(one.name, getattr(config, one.name), getattr(default, one.name)) for one in fields(config)]
    single = [(name, value) for name, value, usual in values if not is_dataclass(value) and value != usual]
    groups = [pair for _, value, usual in values if is_dataclass(value) for pair in changed(value, usual)]
    return [(name, value) for name, value in single if name not in _HOW] + groups
