"""Tables that grow row by row, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path


def append(path: Path, columns: Sequence[str], row: dict[str, object]) -> None:
    """One more row; the header first."""
    new = not path.exists()
    with open(path, "a", newline="") as handle:
        writer = csv.DictWriter(handle, columns)
        if new:
            writer.writeheader()
        writer.writerow(row)
