"""Exporting from Python: flat settings, and models that are in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from headstart.catalog.device import BenchConfig, ColumnsConfig, ExportConfig
from headstart.engine.model import Model
from headstart.errors import ConfigError
from headstart.export.export import Exported, export

Config = TypeVar("Config", BenchConfig, ExportConfig)


def export_model(
    model: str | Path | Model, to: str = "onnx", *, out: str | Path | None = None, images: Any = None, **settings: Any
) -> Exported:
    """Write a model as one file that runs without headstart, and check that it answers as PyTorch does.

    model     the folder of a saved model or of a run, or a `Model`, for which `out` must be given
    to        `onnx` or `torch-export`
    out       the file to write; None: beside the saved model's weights
    images    to check the answers on and to calibrate int8 with: anything that `adapt` takes as data, or a folder of images
    settings  any field of `ExportConfig` or `ColumnsConfig`, e.g. `quantize="int8"`, `max_loss=0.02`

    Returns what was written and how it was checked; it prints as text. Raises InputError for what can be mended.
    """
    loaded = model if isinstance(model, Model) else None
    if loaded is not None and out is None:
        raise ConfigError("export_model(): a Model in memory has no folder to write to; give out=FILE")
    named = str(images) if isinstance(images, (str, Path)) else None
    config = ExportConfig(Path() if isinstance(model, Model) else Path(model), images=named)
    flat = {"to": to, "out": None if out is None else Path(out), **settings}
    return export(with_settings(config, flat), model=loaded, images=images if named is None else None)


def with_settings(config: Config, flat: Mapping[str, Any]) -> Config:
    """Put flat settings where they belong. Raises ConfigError for names that no setting has, and values it cannot take."""
    known, columns = ({one.name for one in fields(kind)} for kind in (config, ColumnsConfig))
    for name, value in flat.items():
        if name in known:
            config = replace(config, **{name: value})
        elif name in columns:
            config = replace(config, columns=replace(config.columns, **{name: value}))
        else:
            kind = type(config).__name__
            raise ConfigError(f"{name!r} is no setting of headstart.{kind}; there are {', '.join(sorted(known | columns))}")
    if isinstance(config, ExportConfig) and (
        config.to not in ("onnx", "torch-export") or config.quantize not in (None, "int8")
    ):
        raise ConfigError(
            f"to={config.to!r}, quantize={config.quantize!r}: give to='onnx' or 'torch-export', quantize='int8'"
        )
    return config
