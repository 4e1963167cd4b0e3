"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike

from headstart.errors import DiskFull

_FULL = (errno.ENOSPC, errno.EDQUOT)
_UMASK = os.umask(0o077)
os.umask(_UMASK)  # it can only be read by setting it


def _full(path: Path) -> DiskFull:
    return DiskFull(
        f"no space left to write {path}; what was there before is intact. "
        "Free some space, then continue with --resume, or choose another folder with --out"
    )


def reserve(path: Path, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> np.memmap[Any, np.dtype[Any]]:
    """A new array of zeros in a memory-mapped file whose room on the disk is taken at once.

    Without that, writing to the map of a full disk would end the process by a signal. Raises DiskFull instead.
    """
    try:
        array = np.lib.format.open_memmap(path, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):
            with path.open("rb+") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno in _FULL:
            raise _full(path) from error
        raise
    return array


@contextmanager
def held(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Within, no other process is within this for the same `path`, a file without content that is removed afterwards.

    waiting  called several times a second while another process is; may raise
    """
    while True:
        with path.open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                time.sleep(0.1)
                continue
            if not is_open_at(path, handle):  # whoever held it has removed it since it was opened here
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def is_open_at(path: Path, handle: IO[str]) -> bool:
    """Whether what `handle` has open is still the file at `path`, and not one that was removed or replaced since."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle.fileno()))
    except FileNotFoundError:
        return False


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, make it durable, and rename it into place.

    Where `path` is a link, what it leads to is replaced; a pipe or a device is written to and stays what it is. Raises
    DiskFull when there is no space; whatever `path` held before is then still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not (path.is_file() or path.is_dir()):
        write(path)
        return
    path = path.resolve() if path.is_symlink() else path
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_UMASK)  # safetensors writes files that only their owner may read
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in _FULL:
            raise _full(path) from error
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=_plain) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write `text` atomically; what UTF-8 cannot hold is replaced."""

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(text)

    write_atomic(path, write)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not go into JSON")
