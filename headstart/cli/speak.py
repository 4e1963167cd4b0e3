"""Who says what to whom: results on stdout, everything else on stderr, and under torchrun only the first process speaks."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.data.names import shown

if TYPE_CHECKING:
    from rich.console import Console


def rank() -> int:
    """This process's number as torchrun gives it, without asking torch."""
    text = os.environ.get("RANK", "0")
    return int(text) if text.isdecimal() else 0


def is_first() -> bool:
    """Whether this process speaks."""
    return rank() == 0


def errors_console() -> Console:
    """The console on stderr; colours only where there is a terminal."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def clean(text: str) -> str:
    """Text that is safe on a terminal: lines are kept, control characters (in a file's name, say) are escaped."""
    return "\n".join(shown(line) for line in str(text).splitlines())


def say(text: str) -> None:
    """Print a result on stdout."""
    if is_first():
        print(_printable(str(text)))


def say_json(value: Any) -> None:
    """Print a result on stdout as JSON. Numbers that JSON does not know (NaN, infinity) become null."""
    if is_first():
        print(_printable(json.dumps(_finite(value), indent=2, ensure_ascii=False, default=_plain)))


def say_path(label: str, path: Path) -> None:
    """Print where something was written."""
    say(f"{label}: {shown(path)}")


def complain(text: str, label: str = "error", style: str = "bold red") -> None:
    """Print a message on stderr, the label coloured where there is a terminal."""
    from rich.text import Text

    prefix = f"[process {rank()}] " if not is_first() else ""
    errors_console().print(Text.assemble(prefix, (f"{label}: ", style), clean(text)))


def note(text: str) -> None:
    """Print a remark on stderr."""
    if is_first():
        print(_printable(clean(text), sys.stderr), file=sys.stderr)


def wants_json(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, told before it is parsed (it may be wrong)."""
    return "--json" in words or "--format=json" in words or ("--format", "json") in itertools.pairwise(words)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns of text as wide as they need to be; those whose places are in `right` are aligned to the right."""
    every = [list(head), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(row[place]) for row in every) for place in range(len(head))]
    lines = (
        "  ".join(cell.rjust(width) if place in right else cell.ljust(width) for place, (cell, width) in enumerate(cells))
        for cells in ([*zip(row, widths, strict=True)] for row in every)
    )
    return "\n".join(line.rstrip() for line in lines)


def _printable(text: str, stream: Any = None) -> str:
    """What the stream's encoding cannot say is escaped: a terminal set to ASCII must not stop a run at its last line."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not go into JSON")
