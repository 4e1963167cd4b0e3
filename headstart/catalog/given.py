"""Settings given by name in one call, put into the group that they belong to; torch-free."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

from headstart.catalog.adapt import AdaptConfig, BackboneConfig, DataConfig
from headstart.catalog.advise import AdviseConfig
from headstart.catalog.compare import CompareConfig
from headstart.catalog.data_size import DataSizeConfig
from headstart.catalog.distill import DistillJobConfig
from headstart.catalog.extend import ExtendConfig
from headstart.catalog.select import SelectConfig
from headstart.catalog.study import ArchitectureConfig, LayersConfig
from headstart.errors import ConfigError

Config = TypeVar(
    "Config",
    AdaptConfig,
    AdviseConfig,
    CompareConfig,
    DataSizeConfig,
    DistillJobConfig,
    ExtendConfig,
    LayersConfig,
    SelectConfig,
)


def configured(config: Config, settings: dict[str, Any]) -> Config:
    """The same settings with those of `settings`. Raises ConfigError for a name that there is not."""
    network = ArchitectureConfig if isinstance(config, LayersConfig) else BackboneConfig
    groups: dict[str, Any] = {"network": network, "images": DataConfig}
    parts = {name: kind for name, kind in groups.items() if hasattr(config, name)}
    for name, value in settings.items():
        if name in {one.name for one in fields(config)} - set(parts):
            config = replace(config, **{name: value})
            continue
        home = next((part for part, kind in parts.items() if name in {one.name for one in fields(kind)}), None)
        if home is None:
            kind = type(config).__name__
            command = kind.removesuffix("Config").removesuffix("Job").lower()
            raise ConfigError(f"{command}() has no setting {name!r}; see headstart.{kind}")
        config = replace(config, **{home: replace(getattr(config, home), **{name: value})})
    return config
