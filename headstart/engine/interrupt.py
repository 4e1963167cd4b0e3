"""Ctrl-C and SIGTERM: finish the step, save, and say how to go on. A second Ctrl-C stops at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from headstart.engine import distributed
from headstart.errors import Interrupted


class _Stop:
    """Whether the user asked to stop. One per process, because signals are."""

    requested = False


STOP = _Stop()


def check() -> None:
    """Raise Interrupted when the user asked to stop; called where nothing would be lost, and one process works alone."""
    _check(STOP.requested)


def check_together() -> None:
    """The same between two pieces of work that all processes share: the first one's word counts, so that all stop here."""
    _check(distributed.share(STOP.requested))


def _check(requested: bool) -> None:
    if requested:
        raise Interrupted("everything finished so far is saved")


@contextmanager
def listening() -> Iterator[None]:
    """While inside, signals ask instead of killing. Only the main thread can listen."""

    def ask(number: int, frame: FrameType | None) -> None:
        if STOP.requested:
            raise KeyboardInterrupt
        STOP.requested = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        STOP.requested = False
        for number, handler in before.items():
            signal.signal(number, handler)
