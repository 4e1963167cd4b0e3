"""What a benchmark found: rows, printed as one table, kept in results.json, and written into docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.timing import Median

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"
PAGE = FOLDER.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- table: written by python -m benchmarks -->", "<!-- end of table -->"


@dataclass(frozen=True)
class Row:
    """One measured number.

    unit   `x` for a ratio, else `s`, `ms`, `GB`, ...; empty for plain answers
    low    interval around `value`, None where it was read once; `count` is the number of pairs behind it
    limit  the promise: `value` must be at most (or, with `at_least`, at least) this. None: told for orientation
    """

    what: str
    value: float
    unit: str = "x"
    low: float | None = None
    high: float | None = None
    count: int = 1
    limit: float | None = None
    at_least: bool = False

    @property
    def kept(self) -> bool | None:
        """Whether the promise was kept; None where there is none."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def cells(self) -> list[str]:
        """What a table shows of it."""
        interval = "" if self.low is None or self.high is None else f"{_number(self.low)} to {_number(self.high)}"
        bar = "" if self.limit is None else f"{'at least' if self.at_least else 'at most'} {_number(self.limit)} {self.unit}"
        verdict = {True: "kept", False: "**missed**", None: ""}[self.kept]
        return [self.what, f"{_number(self.value)} {self.unit}".strip(), interval, str(self.count), bar.strip(), verdict]


def row(what: str, found: Median, **more: Any) -> Row:
    """A row from a median and its interval."""
    return Row(what, found.value, low=found.low, high=found.high, count=found.count, **more)


def _number(value: float) -> str:
    if value and abs(value) < 0.01:
        return f"{value:.1e}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine(threads: int) -> dict[str, str]:
    """Where and with what the numbers were taken; nothing that names a person or a place."""
    cpu = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        found = re.search(r"model name\s*:\s*(.+)", facts.read_text())
        cpu = found[1].strip() if found else cpu
    packages = ("torch", "torchvision", "timm", "numpy", "pillow", "scikit-learn")
    return {
        "cpu": cpu,
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "threads": str(threads),
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {version(name)}" for name in packages),
    }


def rows_text(names: Iterable[str], results: Mapping[str, Any]) -> str:
    """A Markdown table of these benchmarks."""
    lines = ["| benchmark | measured | median | 95 % interval | pairs | promise | |", "|---|---|--:|---|--:|---|---|"]
    for name in names:
        kind = f"{name} (quick)" if results[name]["quick"] else name
        lines += [f"| {' | '.join([kind, *Row(**found).cells()])} |" for found in results[name]["rows"]]
    return "\n".join(lines)


def keep(name: str, rows: list[Row], *, quick: bool, threads: int, took: float) -> dict[str, Any]:
    """Add one benchmark's rows to results.json; returns everything in it."""
    results: dict[str, Any] = load()
    results[name] = {
        "quick": quick,
        "seconds": round(took, 1),
        "machine": machine(threads),
        "rows": [asdict(found) for found in rows],
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def load() -> dict[str, Any]:
    """What results.json holds."""
    return dict(json.loads(RESULTS.read_text(encoding="utf-8"))) if RESULTS.exists() else {}


def write_page(names: Iterable[str]) -> None:
    """Write the table, and the machines it was measured on, between the marks in docs/benchmarks.md."""
    results = load()
    present = [name for name in names if name in results]
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    told = "\n".join(_machines(present, results))
    PAGE.write_text(f"{before}{BEGIN}\n\n{rows_text(present, results)}\n\n{told}\n\n{END}{after}", encoding="utf-8")


def _machines(names: list[str], results: Mapping[str, Any]) -> list[str]:
    """One line per kind of machine, with the benchmarks that ran on it."""
    groups: dict[str, list[str]] = {}
    for name in names:
        where = results[name]["machine"]
        line = f"{where['cpu']}, {where['cores']} core(s), {where['threads']} thread(s), Python {where['python']}"
        groups.setdefault(f"{line}, {where['versions']}", []).append(name)
    return [f"- {', '.join(group)}: {line}." for line, group in groups.items()]
