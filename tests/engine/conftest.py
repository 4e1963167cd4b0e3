"""No test of the engine leaves a request to stop behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headstart.engine.interrupt import STOP


@pytest.fixture(autouse=True)
def _not_stopped() -> Iterator[None]:
    yield
    STOP.requested = False
