"""How a teacher's answers are kept: all logits, or the few largest with what remains, and a mark of the sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.errors import ConfigError

_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Format:
    """How an answer is kept.

    dtype  of logits when all are kept
    top_k  keep only the `k` largest, as float16 log-probabilities with their int32 classes, and the logarithm of what
           remains, which is spread evenly over the other classes; None keeps all
    """

    dtype: Literal["float32", "float16"] = "float32"
    top_k: int | None = None

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "float16"):
            raise ConfigError(f"dtype={self.dtype!r}: answers are kept as float32 or float16")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k={self.top_k}: keep one class at least, or none for all of them")

    def keeps(self, classes: int) -> int | None:
        """How many of `classes` are kept; None for all."""
        return self.top_k if self.top_k is not None and self.top_k < classes else None

    def layout(self, classes: int) -> np.dtype[Any]:
        """One sample's record."""
        kept = self.keeps(classes)
        mark: list[Any] = [("mark", np.int64)]
        if kept is None:
            return np.dtype([*mark, ("values", self.dtype, (classes,))])
        return np.dtype([*mark, ("values", np.float16, (kept,)), ("classes", np.int32, (kept,)), ("rest", np.float32)])

    def pack(self, logits: Tensor, samples: Tensor) -> NDArray[Any]:
        """Records `[B]` of answers `[B, C]` on samples `[B, ...]`."""
        classes = logits.shape[1]
        records = np.zeros(len(logits), self.layout(classes))
        records["mark"] = marks(samples).cpu().numpy()
        kept, logits = self.keeps(classes), logits.float()
        if kept is not None:
            top, order, rest = _top(logits, kept)
            records["classes"], records["rest"] = order.cpu().numpy(), rest.cpu().numpy()
            logits = top
        elif self.dtype == "float16" and bool((logits.abs() > _LARGEST).any()):
            raise ConfigError(
                f"a teacher's answer of {float(logits.abs().max()):.3g} does not fit into float16; keep float32"
            )
        records["values"] = logits.cpu().numpy()
        return records

    def unpack(self, records: NDArray[Any], classes: int, device: torch.device) -> Tensor:
        """Logits `[B, C]` in float32 of records `[B]`; log-probabilities where only some are kept."""
        values = _tensor(records["values"], device).float()
        if self.keeps(classes) is None:
            return values
        even = _tensor(records["rest"], device) - math.log(classes - values.shape[1])
        full = even[:, None].expand(-1, classes).contiguous()
        return full.scatter_(1, _tensor(records["classes"], device).long(), values)


def _tensor(values: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)


def _top(logits: Tensor, kept: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `kept` largest log-probabilities `[B, k]`, their classes, and the logarithm of the remaining mass `[B]`."""
    top, order = logits.topk(kept, 1)
    whole = logits.logsumexp(1, keepdim=True)
    others = logits.scatter(1, order, -torch.inf).logsumexp(1, keepdim=True)
    return (top - whole).clamp(min=-_LARGEST), order, (others - whole).clamp(min=-_LARGEST)[:, 0]


def marks(samples: Tensor) -> Tensor:
    """A 64-bit number per sample that tells rendered samples apart `[B]`: their bytes times odd numbers, summed."""
    flat = samples.contiguous().reshape(len(samples), -1).view(torch.uint8)
    flat = nn.functional.pad(flat, (0, -flat.shape[1] % 8)).contiguous().view(torch.int64)
    odd = torch.arange(flat.shape[1], device=flat.device) * 0x5851F42D4C957F2D + 0x14057B7EF767814F | 1
    return (flat * odd).sum(1)
