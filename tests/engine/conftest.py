"""A server of processes that has torch and headstart imported already, so that a test's process starts at once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext

import pytest

from headstart.engine.interrupt import STOP


@pytest.fixture(scope="session")
def server() -> ForkServerContext:
    """Start processes with `server.Process(target=...)`; targets live in the preloaded modules."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.engine.killable", "tests.engine.together", "tests.engine.towered"])
    return context


@pytest.fixture(autouse=True)
def _not_stopped() -> Iterator[None]:
    """No test leaves a request to stop behind."""
    yield
    STOP.requested = False
