"""Checkpoints: nested state as one safetensors file with its JSON inside, atomic, checked, and never unpickled.

A state is a nested dict whose leaves are tensors or JSON values. Tensors that share memory are stored once, with aliases.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from headstart.engine.log import SILENT, RunLog
from headstart.errors import CheckpointError
from headstart.files import write_atomic, write_json

State = dict[str, Any]
_TENSOR, _SEPARATOR = "@tensor", "/"


def save_state(path: Path, state: State) -> None:
    """Write `state` to `path` atomically. Raises DiskFull, leaving the earlier file intact."""
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_pack(state, "", tensors, {}), allow_nan=True)
    metadata = {"headstart": "1", "state": tree, "checksum": _checksum(tensors, tree)}

    def write(temporary: Path) -> None:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:
            if "No space" in str(error) or "os error 28" in str(error):
                raise OSError(28, str(error)) from error
            raise

    write_atomic(path, write)


def load_state(path: Path) -> State:
    """Read what `save_state` wrote. Raises CheckpointError when a byte is wrong or the file is another kind."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error
    if "state" not in metadata:
        raise CheckpointError(f"{path} was not written by headstart")
    if _checksum(tensors, metadata["state"]) != metadata.get("checksum"):
        raise CheckpointError(f"{path} is damaged: its checksum does not match its content")
    unpacked: State = _unpack(json.loads(metadata["state"]), tensors)
    return unpacked


def _pack(value: Any, path: str, tensors: dict[str, Tensor], seen: dict[Any, str]) -> Any:
    if isinstance(value, Tensor):
        flat = value.detach().cpu()
        identity = (value.device, value.data_ptr(), tuple(value.shape), value.stride()) if value.numel() else None
        if identity is None or identity not in seen:
            tensors[path] = flat.contiguous().clone() if flat.data_ptr() == value.data_ptr() else flat.contiguous()
            if identity is not None:
                seen[identity] = path
        return {_TENSOR: seen[identity] if identity is not None else path}
    if isinstance(value, dict):
        return {str(key): _pack(item, f"{path}{_SEPARATOR}{key}", tensors, seen) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(item, f"{path}{_SEPARATOR}{place}", tensors, seen) for place, item in enumerate(value)]
    return value


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if set(value) == {_TENSOR}:
            return tensors[value[_TENSOR]]
        return {key: _unpack(item, tensors) for key, item in value.items()}
    return [_unpack(item, tensors) for item in value] if isinstance(value, list) else value


def _checksum(tensors: dict[str, Tensor], tree: str) -> str:
    digest = hashlib.blake2b(tree.encode(), digest_size=16)
    for name in sorted(tensors):
        digest.update(f"{name}{tuple(tensors[name].shape)}{tensors[name].dtype}".encode())
        digest.update(bytes_of(tensors[name]))
    return digest.hexdigest()


def bytes_of(tensor: Tensor) -> memoryview:
    """The raw bytes of a tensor, in the order of its elements."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b"")


class Checkpoints:
    """The newest checkpoint of a stage and the one before it."""

    def __init__(self, folder: Path) -> None:
        self.incoming = folder / "incoming.safetensors"
        self.latest = folder / "latest.safetensors"
        self.previous = folder / "previous.safetensors"
        self._begun = folder / "begun.json"

    def begun(self, log: int) -> int:
        """How long the log was when the stage was first begun: `log` now, unless an attempt was lost before it saved."""
        if self._begun.exists():
            return int(json.loads(self._begun.read_text(encoding="utf-8"))["log"])
        write_json(self._begun, {"log": log})
        return log

    def save(self, state: State) -> None:
        """Write `state` as the newest; the newest so far becomes the previous one."""
        self._settle()
        save_state(self.incoming, state)
        self._settle()

    def _settle(self) -> None:
        """Put a checkpoint that is written into its place; one may wait since a kill between two renames."""
        if self.incoming.exists():
            if self.latest.exists():
                self.latest.replace(self.previous)
            self.incoming.replace(self.latest)

    def load(self, log: RunLog = SILENT) -> State | None:
        """The newest readable checkpoint, or None when none was ever written. A damaged one is named in the log.

        Raises CheckpointError when checkpoints exist and none can be read.
        """
        faults = []
        for path in (self.incoming, self.latest, self.previous):
            if not path.exists():
                continue
            try:
                return load_state(path)
            except CheckpointError as error:
                faults.append(str(error))
                log.event("warning", text=f"{error}; falling back to the one before")
        if faults:
            raise CheckpointError("no checkpoint is readable: " + "; ".join(faults) + ". Start again in a new --out folder")
        return None

    def clear(self) -> None:
        """Remove them all, and what a kill left half-written."""
        halves = self.latest.parent.glob(f".{self.incoming.name}.*.tmp")
        for path in (self.incoming, self.latest, self.previous, self._begun, *halves):
            path.unlink(missing_ok=True)
