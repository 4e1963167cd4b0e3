"""What the words of --tasks mean, and that names of tasks can name heads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from headstart.catalog.asked import TAKEN, Asked, asked_column, parse_tasks, plain_name
from headstart.catalog.kinds import KINDS
from headstart.errors import ConfigError


@pytest.mark.parametrize(
    ("word", "name", "columns", "kind"),
    [
        ("digit", "digit", ("digit",), None),
        ("digit:class", "digit", ("digit",), "classes"),
        ("digit:CLASSES", "digit", ("digit",), "classes"),
        ("car:yes/no", "car", ("car",), "yes_no"),
        ("car:yes_no", "car", ("car",), "yes_no"),
        ("age : number", "age", ("age",), "number"),
        ("tags:several", "tags", ("tags",), "several"),
        ("light=traffic light:yes-no", "light", ("traffic light",), "yes_no"),
        ("light=traffic light", "light", ("traffic light",), None),
        ("seen=car + sign+light", "seen", ("car", "sign", "light"), "several"),
        ("when=a:b:number", "when", ("a:b",), "number"),
    ],
)
def test_words(word: str, name: str, columns: tuple[str, ...], kind: str | None) -> None:
    assert parse_tasks([word]) == (Asked(name, columns, kind),)  # type: ignore[arg-type]


def test_a_name_is_folded_and_it_is_told() -> None:
    (one,) = parse_tasks(["stop sign:yes_no"])
    assert (one.name, one.columns) == ("stop_sign", ("stop sign",))
    assert "'stop sign' is called 'stop_sign'" in one.note
    assert asked_column("3d") == Asked("_3d", ("3d",), None, asked_column("3d").note)  # type: ignore[union-attr]
    assert asked_column("!?") is None


def test_everything_wrong_is_said_together() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_tasks(["a:colour", "b=", "c=x+y:number", "d=x+x", "e", "e=z", "!"])
    told = str(caught.value)
    for word in ("'colour' is not a kind", "'b=' names no column", "not number", "twice", "called 'e'", "of '!'"):
        assert word in told
    assert len(told.splitlines()) == 7


@given(st.text(max_size=12))
def test_names_can_name_heads(text: str) -> None:
    name = plain_name(text)
    if name:
        assert name.isidentifier()
        assert plain_name(name) == name
        nn.ModuleDict()[name] = nn.Identity()


def test_names_that_modules_use_otherwise() -> None:
    public = {name for name in dir(nn.ModuleDict()) if not name.startswith("_")}
    assert public <= TAKEN
    assert plain_name("type") == "type_task"
    assert KINDS == ("classes", "yes_no", "several", "number")
