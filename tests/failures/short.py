"""`headstart` as `python -m tests.failures.short`: trained arms take three epochs, for tests of several processes."""

from __future__ import annotations

from headstart.cli.main import main
from headstart.studies import arms

EPOCHS = 3


def few(*_: object) -> int:
    """In place of `_enough_epochs`."""
    return EPOCHS


if __name__ == "__main__":
    arms._enough_epochs = few
    raise SystemExit(main())
