"""The folder of a run: one writer at a time, settings that must agree on resume, and the files a reader finds there.

config.json   resolved settings          summary.json  the result
env.json      machine and versions       model/        weights, structure, card
log.jsonl     what happened, in order    report.html   the page
work/         caches and checkpoints; removed when the run is done
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import torch

from headstart.engine import distributed
from headstart.engine.files import write_json
from headstart.errors import ConfigError, RunFolderInUse, RunFolderMismatch

_OURS = ("config.json", "env.json", "log.jsonl", "summary.json", "inspection.json", "report.html", ".lock")
_OUR_FOLDERS = ("work", "model", "report_data")
_WHATEVER = ("out", "resume", "overwrite", "json")
"""Settings that may differ between a run and its resumption."""


@dataclass(frozen=True)
class RunFolder:
    """An open run folder; `resumed` when it held an unfinished or finished run with the same settings."""

    path: Path
    resumed: bool

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def summary(self) -> dict[str, Any] | None:
        """The result, when the run is finished."""
        path = self.path / "summary.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def write(self, name: str, value: Any) -> None:
        """Write `value` as JSON to the file `name`, from the first process."""
        if distributed.is_first():
            write_json(self.path / name, value)

    def clean(self) -> None:
        """Remove what only an unfinished run needs."""
        if distributed.is_first():
            shutil.rmtree(self.work, ignore_errors=True)


@contextmanager
def open_run(path: Path, config: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False) -> Iterator[RunFolder]:
    """Open `path` for a run with the settings `config` and hold it until the end.

    Raises RunFolderInUse when another process holds it, RunFolderMismatch when it holds another run, ConfigError when it
    cannot be a run folder.
    """
    handle: IO[str] | None = None
    try:
        resumed = False
        if distributed.is_first():
            _make(path)
            handle = _lock(path)
            resumed = _admit(path, config, resume, overwrite)
            write_json(path / "config.json", config)
            if not resumed:
                write_json(path / "env.json", environment())
        yield RunFolder(path, bool(distributed.share(resumed)))
    finally:
        if handle is not None:
            handle.close()
            (path / ".lock").unlink(missing_ok=True)


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"--out {path}: a file is in the way; choose another folder") from error
    except PermissionError as error:
        raise ConfigError(f"--out {path}: not allowed to write there; choose another folder") from error


def _lock(path: Path) -> IO[str]:
    try:
        handle = (path / ".lock").open("a+", encoding="utf-8")
    except PermissionError as error:
        raise ConfigError(f"--out {path}: not allowed to write there; choose another folder") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.seek(0)
        holder = handle.read().strip() or "unknown"
        handle.close()
        raise RunFolderInUse(
            f"{path} is in use by process {holder}; wait for it, stop it, or choose another folder with --out"
        ) from error
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    return handle


def _admit(path: Path, config: Mapping[str, Any], resume: bool, overwrite: bool) -> bool:
    """Whether there is a run to go on with; clears the way for a new one where that was asked for."""
    before = path / "config.json"
    if overwrite and not resume:
        for name in _OURS:
            if name != ".lock":
                (path / name).unlink(missing_ok=True)
        for name in _OUR_FOLDERS:
            shutil.rmtree(path / name, ignore_errors=True)
    if not before.exists():
        strangers = sorted(item.name for item in path.iterdir() if item.name not in (*_OURS, *_OUR_FOLDERS))
        if strangers:
            raise RunFolderMismatch(
                f"--out {path} is not empty and holds no run ({', '.join(strangers[:3])}); choose a new or empty folder"
            )
        return False
    if not resume:
        raise RunFolderMismatch(
            f"{path} already holds a run: go on with it by --resume, replace it by --overwrite, or choose another --out"
        )
    _compare(path, json.loads(before.read_text(encoding="utf-8")), config)
    return True


def _compare(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    plain = json.loads(json.dumps(now, default=str))
    names = sorted((set(before) | set(plain)) - set(_WHATEVER))
    changed = [
        f"{name} was {before.get(name)!r}, now {plain.get(name)!r}" for name in names if before.get(name) != plain.get(name)
    ]
    if changed:
        raise RunFolderMismatch(
            "\n".join(
                [
                    f"{path} was made by other settings, so it cannot be resumed:",
                    *(f"  - {line}" for line in changed),
                    "Use the old settings, or choose another folder with --out",
                ]
            )
        )


def environment() -> dict[str, Any]:
    """Machine and versions that a result depends on."""
    packages = ("torch", "torchvision", "timm", "numpy", "pillow", "scikit-learn", "safetensors")
    versions = {name: metadata.version(name) for name in packages if _installed(name)}
    cuda = torch.cuda.is_available()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "packages": versions,
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": distributed.world_size(),
        "devices": [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())] if cuda else [],
    }


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
