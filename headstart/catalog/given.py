"""Settings given by name in one call, put into the group that they belong to; torch-free."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

from headstart.errors import ConfigError

Config = TypeVar("Config")


def configured(config: Config, settings: dict[str, Any]) -> Config:
    """The same settings, a dataclass, with those of `settings`; those of its groups `network` and `images` by their own
    names. Raises ConfigError for a name that there is not."""
    there: Any = config
    groups = {name: getattr(there, name) for name in ("network", "images") if hasattr(there, name)}
    for name, value in settings.items():
        if name in {one.name for one in fields(there)} - set(groups):
            there = replace(there, **{name: value})
            continue
        home = next((group for group, kind in groups.items() if name in {one.name for one in fields(kind)}), None)
        if home is None:
            kind = type(config).__name__
            command = kind.removesuffix("Config").removesuffix("Job").lower()
            raise ConfigError(f"{command}() has no setting {name!r}; see headstart.{kind}")
        there = replace(there, **{home: replace(getattr(there, home), **{name: value})})
    return there  # type: ignore[no-any-return]
