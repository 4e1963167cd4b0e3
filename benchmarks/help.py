"""`headstart --help`: how long it takes, and whether it imports torch."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.table import Row, row
from benchmarks.timing import in_turn, median_of

_LOOK = """
import sys
from headstart.cli.main import main
main(["--help"])
heavy = [name for name in ("torch", "torchvision", "timm", "numpy", "sklearn", "PIL") if name in sys.modules]
print(",".join(heavy), file=sys.stderr)
"""


def measure(*, quick: bool) -> list[Row]:
    """Wall time of the whole process, beside that of an interpreter that does nothing."""

    def run(*words: str) -> str:
        return subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True).stderr

    parts = {"help": lambda: run("-m", "headstart", "--help"), "nothing": lambda: run("-c", "pass")}
    taken = in_turn(parts, 5 if quick else 21)
    heavy = [name for name in run("-c", _LOOK).strip().split(",") if name]
    return [
        row("wall time of `headstart --help`", median_of(taken["help"]), unit="s", limit=0.5),
        row("of an interpreter that does nothing", median_of(taken["nothing"]), unit="s"),
        Row("times it imports torch", float("torch" in heavy), unit="", limit=0),
    ]
