"""Settings given as words, put into nested dataclasses by name; torch-free."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from headstart.errors import ConfigError, problems

Config = TypeVar("Config")
_WORDS = {"none": None, "true": True, "false": False}


def names_of(config: Any) -> dict[str, Any]:
    """Every single setting of a dataclass and of those within it, by name, with its value; outer ones hide inner ones."""
    found: dict[str, Any] = {}
    for one in fields(config):
        value = getattr(config, one.name)
        if is_dataclass(value):
            found = {**names_of(value), **found}
        else:
            found[one.name] = value
    return found


def with_settings(config: Config, pairs: Sequence[str], flag: str = "--settings") -> Config:
    """The same settings with those of `pairs`, each `key=value`.

    Raises ConfigError naming every key that there is not, and every value that is of another kind.
    """
    said: list[str] = []
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        kind = _kind(config, key)
        if not equals:
            said.append(f"{pair!r} is not of the form key=value")
        elif kind is None:
            near = difflib.get_close_matches(key, names_of(config), 2, 0.5)
            offer = f", did you mean {' or '.join(near)}?" if near else "."
            said.append(f"{key!r} is unknown{offer} There are {', '.join(_own_first(config))}")
        else:
            try:
                values[key] = _value(text, kind)
            except ValueError:
                said.append(f"{key}={text}: it should be {_told(kind)}")
    problems(ConfigError, f"{flag} cannot be used:", said)
    return with_values(config, values)


def _own_first(config: Any) -> list[str]:
    """Names of settings: those of the dataclass itself before those within."""
    own = [one.name for one in fields(config) if not is_dataclass(getattr(config, one.name))]
    return list(dict.fromkeys([*own, *names_of(config)]))


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The same settings with those of `values`, wherever they are within."""
    own = {one.name for one in fields(config)}  # type: ignore[arg-type]
    changed = {name: value for name, value in values.items() if name in own and not is_dataclass(getattr(config, name))}
    rest = {name: value for name, value in values.items() if name not in changed}
    for name in own:
        inner = getattr(config, name)
        if is_dataclass(inner):
            mine = {key: value for key, value in rest.items() if key in names_of(inner)}
            changed[name] = with_values(inner, mine) if mine else inner
    return replace(config, **changed)  # type: ignore[type-var]


def _kind(config: Any, key: str) -> Any:
    """The type of a setting; None where there is none called so."""
    hints = get_type_hints(type(config))
    inner = [getattr(config, one.name) for one in fields(config) if is_dataclass(getattr(config, one.name))]
    if key in hints and not is_dataclass(getattr(config, key)):
        return hints[key]
    return next((kind for one in inner if (kind := _kind(one, key)) is not None), None)


def _value(text: str, kind: Any) -> Any:
    """`text` as a value of type `kind`. Raises ValueError."""
    if get_origin(kind) in (Union, UnionType):
        for one in sorted(get_args(kind), key=lambda one: one is not NoneType):
            try:
                return _value(text, one)
            except ValueError:
                continue
        raise ValueError(text)
    if get_origin(kind) is Literal:
        return next(one for one in get_args(kind) if str(one) == text) if text in map(str, get_args(kind)) else _no(text)
    if get_origin(kind) is tuple:
        return tuple(_value(word, get_args(kind)[0]) for word in text.split(",") if word)
    if kind in (bool, NoneType):
        return _WORDS[text.lower()] if text.lower() in _WORDS and isinstance(_WORDS[text.lower()], kind) else _no(text)
    return kind(text)


def _no(text: str) -> Any:
    raise ValueError(text)


def _told(kind: Any) -> str:
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_told(one) for one in get_args(kind))
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"{_told(get_args(kind)[0])}, several with commas between"
    told = {bool: "true or false", int: "a whole number", float: "a number", NoneType: "none", str: "a word"}
    return told.get(kind, str(kind))
