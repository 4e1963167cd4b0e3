"""The folder of a run: one writer at a time, settings that must agree on resume, and the files a reader finds there.

config.json   resolved settings          summary.json  the result
env.json      machine and versions       model/        weights, structure, card
log.jsonl     what happened, in order    report.html   the page
work/         caches and checkpoints; removed when the run is done
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import torch

from headstart.engine import distributed
from headstart.engine.log import Listener, RunLog
from headstart.errors import ConfigError, InputError, RunError, RunFolderInUse, RunFolderMismatch
from headstart.files import is_open_at, write_json

_OURS = ("config.json", "env.json", "log.jsonl", "summary.json", "inspection.json", "report.html", ".lock")
_OUR_FOLDERS = ("work", "model", "report_data")
_BEFORE_IT_BEGINS = ("env.json", ".lock", "work")
"""What a run that never got as far as its config.json may leave behind."""
_WHATEVER = ("out", "resume", "overwrite", "json")
"""Settings that may differ between a run and its resumption."""


@dataclass(frozen=True)
class RunFolder:
    """An open run folder; `resumed` when it held an unfinished or finished run with the same settings.

    asked  going on was asked for, whether or not there was something to go on with

    Nothing of an earlier run is touched before `begin`, so that a new one which cannot start costs nothing.
    """

    path: Path
    resumed: bool
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    asked: bool = False

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
        return _read(path) if path.exists() else None

    def finished(self, listeners: Sequence[Listener] = ()) -> dict[str, Any] | None:
        """The result of a resumed run that had ended before, in all processes; what it kept for going on is removed.

        listeners  are told that it is that, for images and networks may have changed since
        """
        done: dict[str, Any] | None = distributed.first(lambda: self.summary if self.resumed else None)
        if done is not None:
            self.clean()
            text = f"{self.path} holds a finished run: this is its result, and nothing was read or learned again"
            RunLog(None, tuple(listeners)).event("note", text=text)
        return done

    def begin(self, **inputs: str) -> None:
        """Make this folder the run's: replace what an earlier one left, or go on with it.

        inputs  fingerprints of what the result depends on besides the settings; a resumed run must have the same

        Raises RunFolderMismatch when it was begun with others.
        """
        distributed.first(lambda: self._begin(inputs))

    def _begin(self, inputs: Mapping[str, str]) -> None:
        kept = self.work / "inputs.json"
        if self.resumed and kept.exists():
            _compare_inputs(self.path, _read(kept), inputs)
            return
        if not self.resumed:
            _clear(self.path)
            write_json(self.path / "env.json", environment())
        write_json(kept, inputs)
        write_json(self.path / "config.json", self.config)

    def write(self, name: str, value: Any) -> None:
        """Write `value` as JSON to the file `name`, from the first process."""
        distributed.first(lambda: write_json(self.path / name, value))

    def clean(self) -> None:
        """Remove what only an unfinished run needs."""
        if distributed.is_first():
            shutil.rmtree(self.work, ignore_errors=True)


@contextmanager
def open_run(path: Path, config: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False) -> Iterator[RunFolder]:
    """Open `path` for a run with the settings `config` and hold it until the end.

    Raises RunFolderInUse when another process holds it, RunFolderMismatch when it holds another run, ConfigError when it
    cannot be a run folder, RunError when the file system refuses one.
    """
    handle: IO[str] | None = None

    def enter() -> bool:
        nonlocal handle
        _make(path)
        handle = _lock(path)
        _sweep(path)
        return _admit(path, config, resume, overwrite)

    try:
        yield RunFolder(path, distributed.first(enter), config, resume)
    except InputError:
        if handle is not None and not (path / "config.json").exists():
            shutil.rmtree(path / "work", ignore_errors=True)  # what could not begin leaves nothing behind
        raise
    finally:
        if handle is not None:
            _unlock(path, handle)


def _read(path: Path) -> dict[str, Any]:
    """A JSON file of a run. Raises RunFolderMismatch when it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunFolderMismatch(
            f"{path} is damaged ({error}): start again by --overwrite, or choose another folder with --out"
        ) from error
    if not isinstance(found, dict):
        raise RunFolderMismatch(f"{path} was not written by headstart: choose another folder with --out")
    return found


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"--out {path}: a file is in the way; choose another folder") from error
    except PermissionError as error:
        raise ConfigError(f"--out {path}: not allowed to write there; choose another folder") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise  # the disk's fault, not the folder's
        raise RunError(f"--out {path}: no folder can be made there ({error.strerror}); choose another one") from error


def _lock(path: Path) -> IO[str]:
    """The lock file, held. Its holder removes it at the end, so what was locked must still be what is there."""
    while True:
        try:
            handle = (path / ".lock").open("a+", encoding="utf-8")
        except PermissionError as error:
            raise ConfigError(f"--out {path}: not allowed to write there; choose another folder") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _not_locked(path, handle, error) from error
        if is_open_at(path / ".lock", handle):
            break
        handle.close()
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    return handle


def _not_locked(path: Path, handle: IO[str], error: OSError) -> Exception:
    handle.seek(0)
    holder = handle.read().strip() or "unknown"
    handle.close()
    if not isinstance(error, BlockingIOError):
        return ConfigError(f"--out {path}: files cannot be locked there ({error.strerror}); choose a folder on a local disk")
    return RunFolderInUse(f"{path} is in use by process {holder}; wait for it, stop it, or choose another folder with --out")


def _unlock(path: Path, handle: IO[str]) -> None:
    """Let go, in this order: a file removed after it was let go could be another's by then."""
    (path / ".lock").unlink(missing_ok=True)
    handle.close()
    with suppress(OSError):  # a folder made for a run that could not begin, and in which nothing was left
        path.rmdir()


def _sweep(path: Path) -> None:
    """Remove the temporary files of a writer that was killed."""
    for folder in (path, *(path / name for name in _OUR_FOLDERS)):
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)


def _admit(path: Path, config: Mapping[str, Any], resume: bool, overwrite: bool) -> bool:
    """Whether there is a run to go on with. Changes nothing."""
    before = path / "config.json"
    if before.exists() and resume:
        _compare(path, _read(before), config)
        return True
    found = sorted(item.name for item in path.iterdir())
    strangers = [name for name in found if name not in (*_OURS, *_OUR_FOLDERS)]
    if strangers and not before.exists():
        raise RunFolderMismatch(
            f"--out {path} is not empty and holds no run ({', '.join(strangers[:3])}); choose a new or empty folder"
        )
    if overwrite or set(found) <= set(_BEFORE_IT_BEGINS):
        return False
    what = "already holds a run" if before.exists() else "holds parts of a run, without its config.json"
    onward = "go on with it by --resume, " if before.exists() else ""
    raise RunFolderMismatch(f"{path} {what}: {onward}replace it by --overwrite, or choose another --out")


def _clear(path: Path) -> None:
    """Remove an earlier run: first what makes it one. Decoded images are kept, they say themselves what they are of."""
    for name in _OURS:
        if name != ".lock":
            (path / name).unlink(missing_ok=True)
    for name in _OUR_FOLDERS:
        for item in (path / name).glob("*"):
            if item != path / "work" / "data":
                shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()


def _compare_inputs(path: Path, before: Mapping[str, Any], now: Mapping[str, str]) -> None:
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        raise RunFolderMismatch(
            f"{path} was begun with other {' and '.join(changed)}, so it cannot be resumed. Put them back as they were, "
            "start again by --overwrite, or choose another folder with --out"
        )


def _compare(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    old, new = _flat(before), _flat(json.loads(json.dumps(now, default=str)))
    names = sorted((set(old) | set(new)) - set(_WHATEVER))
    changed = [f"{name} was {old.get(name)!r}, now {new.get(name)!r}" for name in names if old.get(name) != new.get(name)]
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


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Groups of settings opened, since a user gives and reads each by its own name."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value) if isinstance(value, dict) else {name: value}
    return flat


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
