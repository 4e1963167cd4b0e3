"""The most memory that a piece of work had in use at once."""

from __future__ import annotations

import gc
from pathlib import Path
from types import TracebackType

import torch

from headstart.engine.allocator import give_freed_memory_back

_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class PeakMemory:
    """While inside, watches memory in use; `bytes` then is by how much its peak lay above what was in use on entering.

    On CUDA, of tensors on the device. On Linux, of the process, whose peak resident size is reset on entering. Elsewhere
    None.
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.bytes: int | None = None
        self._before: int | None = None

    def __enter__(self) -> PeakMemory:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_allocated(self.device)
            return self
        gc.collect()
        give_freed_memory_back()  # what others freed would hide what is asked for inside
        try:
            _RESET.write_text("5", encoding="ascii")  # sets the peak to what is in use now
        except OSError:
            return self
        self._before = _resident("VmRSS")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._before is None:
            return
        cuda = self.device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(self.device) if cuda else _resident("VmHWM")
        self.bytes = None if peak is None else max(0, peak - self._before)


def _resident(what: str) -> int | None:
    """A line of the process's status, in bytes; None where there is none."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line.split()[1] for line in lines if line.startswith(f"{what}:")), None)
    return None if found is None else 1024 * int(found)
