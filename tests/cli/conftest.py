"""What the command-line tests share: a plain environment, and stand-ins for the rooms behind the commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from headstart.cli.main import main


class Said(NamedTuple):
    """How one command line ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@dataclass(frozen=True)
class FakeResult:
    """What the real `AdaptResult` offers the command line."""

    folder: Path
    summary: dict[str, Any]
    report: Path

    def __str__(self) -> str:
        return "arm    accuracy\nprobe      0.91"


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("RANK", "FORCE_COLOR", "PYTHONWARNINGS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Carry out one command line in this process."""

    def _run(*words: Any) -> Said:
        code = main([str(word) for word in words])
        return Said(code, *capsys.readouterr())

    return _run


@pytest.fixture
def fake_adapt(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], list[Any]]:
    """Put a function in the place of `headstart.studies.adapt.adapt`; returns the list of settings it was called with."""

    def put(body: Callable[..., Any]) -> list[Any]:
        calls: list[Any] = []

        def adapt(config: Any, listeners: tuple[Any, ...] = ()) -> Any:
            calls.append(config)
            return body(config, listeners)

        module = ModuleType("headstart.studies.adapt")
        module.adapt = adapt  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "headstart.studies.adapt", module)
        return calls

    return put
