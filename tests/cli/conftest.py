"""What the command-line tests share: a plain environment, and stand-ins for the rooms behind the commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
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


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("RANK", "FORCE_COLOR", "PYTHONWARNINGS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("headstart.cli.main.LAST_WORDS", 0.0)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Carry out one command line in this process."""

    def _run(*words: Any) -> Said:
        code = main([str(word) for word in words])
        return Said(code, *capsys.readouterr())

    return _run


@pytest.fixture
def fake_adapt(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], list[Any]]:
    """Put a function in the place of `headstart.jobs.run_adapt`; returns the list of settings it was called with."""

    def put(body: Callable[..., Any]) -> list[Any]:
        calls: list[Any] = []

        def run_adapt(config: Any, listeners: tuple[Any, ...] = ()) -> Any:
            calls.append(config)
            return body(config, listeners)

        module = ModuleType("headstart.jobs")
        module.run_adapt = run_adapt  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "headstart.jobs", module)
        return calls

    return put
