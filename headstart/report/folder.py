"""Reading a run folder: everything a page may show, and a plain sentence for everything that is not there.

A run may have been interrupted at any moment, so no part is taken for granted. A part that is absent or unreadable becomes
an entry of `gaps`, which the page prints; it is never replaced by something else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.errors import RunError

PARTS = {
    "config.json": "the resolved settings",
    "env.json": "the machine and the versions",
    "summary.json": "the results; it is written when a run ends",
    "inspection.json": "what was found in the data",
}
"""The JSON files of a run folder and what each tells."""


@dataclass(frozen=True)
class RunFolder:
    """What a run wrote, as read from disk.

    name   the folder's own name
    config, env, summary, inspection   the JSON files, `{}` where missing
    log    the records of `log.jsonl` in order
    gaps   one sentence for each part that is missing or could not be read
    """

    path: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    inspection: Mapping[str, Any] = field(default_factory=dict)
    log: Sequence[Mapping[str, Any]] = ()
    gaps: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """Which command made the run; empty when neither the summary nor the settings say."""
        return str(self.summary.get("command") or self.config.get("command") or "")

    @property
    def finished(self) -> bool:
        """Whether the run came to its end and wrote a summary."""
        return bool(self.summary)

    def events(self, kind: str) -> list[Mapping[str, Any]]:
        """The log's records of one kind, in order."""
        return [record for record in self.log if record.get("event") == kind]

    @property
    def remarks(self) -> list[str]:
        """What the run wrote down for a reader, each sentence once: warnings first, then notes."""
        known = self.inspection.get("warnings") or ()  # shown with the data already
        said = [f"Warning: {record.get('text', '')}" for record in self.events("warning") if record.get("text") not in known]
        return list(dict.fromkeys(said + [str(record.get("text", "")) for record in self.events("note")]))


def read_run(path: Path) -> RunFolder:
    """Read the run folder at `path`.

    Raises `RunError` when the folder does not exist or holds none of the files a run writes.
    """
    if not path.is_dir():
        raise RunError(f"{path}: no such run folder; give the folder that a command wrote with --out")
    if not any((path / name).is_file() for name in [*PARTS, "log.jsonl"]):
        raise RunError(f"{path}: not a run folder, it holds none of {', '.join([*PARTS, 'log.jsonl'])}")
    gaps: list[str] = []
    parts = {name.removesuffix(".json"): _read_json(path / name, what, gaps) for name, what in PARTS.items()}
    return RunFolder(path=path, log=tuple(_read_log(path / "log.jsonl", gaps)), gaps=tuple(gaps), **parts)


def _read_json(path: Path, what: str, gaps: list[str]) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        gaps.append(f"{path.name} is missing ({what}).")
    except (OSError, ValueError) as error:
        gaps.append(f"{path.name} cannot be read ({what}): {error}.")
    else:
        if isinstance(found, dict):
            return found
        gaps.append(f"{path.name} holds a {type(found).__name__} instead of an object ({what}).")
    return {}


def _read_log(path: Path, gaps: list[str]) -> Iterator[dict[str, Any]]:
    """Records of a JSON-lines file. The last line may be cut short when a run was killed: that one is only noted."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        gaps.append("log.jsonl is missing (the course of the training).")
        return
    except OSError as error:
        gaps.append(f"log.jsonl cannot be read (the course of the training): {error}.")
        return
    bad = 0
    for line in filter(str.strip, lines):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            yield record
        else:
            bad += 1
    if bad:
        gaps.append(f"{bad} of {len(lines)} lines of log.jsonl cannot be read and were left out.")


def number(value: Any) -> float | None:
    """`value` as a finite float, or None: JSON from a stopped run may hold null or NaN where a number belongs."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def interval(value: Any) -> tuple[float, float] | None:
    """`value` as a pair of finite floats, or None."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return None
    low, high = number(value[0]), number(value[1])
    return None if low is None or high is None else (low, high)


def table_of(value: Any) -> Mapping[str, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def rows_of(value: Any) -> list[Mapping[str, Any]]:
    """The objects in a list; an empty list for anything else."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
