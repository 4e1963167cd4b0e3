"""A server of processes that has torch and headstart imported already, so that a test's process starts at once."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext

import pytest


@pytest.fixture(scope="session")
def server() -> ForkServerContext:
    """Start processes with `server.Process(target=...)`; targets live in the preloaded modules."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.engine.killable", "tests.engine.together"])
    return context
