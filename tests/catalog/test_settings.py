"""Settings given as words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from headstart.catalog.extend import ExtendConfig, bytes_of, check_settings
from headstart.catalog.settings import names_of, with_settings, with_values
from headstart.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    lr: float = 0.1
    epochs: int = 3
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    strength: float = 1.0
    top: int | None = None
    exact: bool = True
    sizes: tuple[int, ...] = ()
    epochs: int = 7


def test_settings_are_found_wherever_they_are_and_have_their_own_kind() -> None:
    found = with_settings(Outer(), ["lr=0.5", "strength=2", "top=3", "exact=false", "kind=b", "sizes=1,2"])
    assert found == Outer(Inner(0.5, 3, "b"), 2.0, 3, False, (1, 2))
    assert isinstance(found.strength, float)
    assert with_settings(found, ["top=none"]).top is None


def test_an_outer_setting_hides_an_inner_one_of_the_same_name() -> None:
    found = with_settings(Outer(), ["epochs=9"])
    assert (found.epochs, found.inner.epochs) == (9, 3)
    assert names_of(Outer())["epochs"] == 7


def test_values_go_where_they_belong() -> None:
    assert with_values(Outer(), {"lr": 1.0, "strength": 3.0}) == Outer(Inner(1.0), 3.0)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        with_settings(Outer(), ["strenght=2", "top=few", "kind=c", "exact=1", "lr", "xyzzy=1"])
    said = str(caught.value)
    assert "'xyzzy' is unknown. There are" in said
    for words in ("did you mean strength", "top=few: it should be a whole number or none", "one of a, b", "true or false"):
        assert words in said
    assert "'lr' is not of the form key=value" in said


@pytest.mark.parametrize(("text", "size"), [("10MB", 10_000_000), ("1.5 kB", 1500), ("7", 7), ("2gb", 2_000_000_000)])
def test_bytes(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["many", "-1MB", "0", "infGB", ""])
def test_no_bytes(text: str) -> None:
    with pytest.raises(ValueError, match="no number of bytes"):
        bytes_of(text)


def test_what_cannot_be_asked_of_extend_is_said_together() -> None:
    config = ExtendConfig(
        "m",
        ("a", "b"),
        method="lfw",
        increments=1,
        epochs=0,
        norm="thaw",
        lr=-1.0,
        max_memory="lots",
        names=("x", "x", "y"),
        seeds=0,
    )
    with pytest.raises(ConfigError) as caught:
        check_settings(config)
    said = str(caught.value)
    for words in ("did you mean lwf", "--increments 1", "--epochs 0", "--norm thaw", "--lr -1.0", "--max-memory lots"):
        assert words in said
    assert "--names x x y: 3 for 1 new tasks" in said
    assert "--seeds 0" in said


def test_a_method_without_memory_has_no_capacity() -> None:
    with pytest.raises(ConfigError, match="fine_tune keeps no samples"):
        check_settings(ExtendConfig("m", ("a",), method="fine_tune", capacity=10))
