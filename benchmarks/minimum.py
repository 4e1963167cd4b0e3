"""The bare minimum of a frozen job: decode every image once, pass it through the network once - in the best way found.

Everything headstart could do is tried on a small sample first, and some things it does not do (TorchScript): how to
decode, the batch, the memory format, and whether BatchNorm is folded. The fastest combination is the yardstick.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torchvision.io as tio
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from benchmarks.timing import in_turn
from headstart.nets.fold import folded
from headstart.nets.net import Net

Decode = Callable[[str, int], NDArray[np.uint8]]


def _draft(path: str, size: int) -> NDArray[np.uint8]:
    """Pillow, at a half or quarter of the resolution where that is large enough, then resized."""
    with Image.open(path) as image:
        image.draft("RGB", (size, size))
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0))


def _whole(path: str, size: int) -> NDArray[np.uint8]:
    """Pillow, decoded in full."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


def _torchvision(path: str, size: int) -> NDArray[np.uint8]:
    """libjpeg by way of torchvision, resized with antialiasing."""
    image = tio.decode_jpeg(tio.read_file(path), tio.ImageReadMode.RGB).unsqueeze(0)
    small = nn.functional.interpolate(image, (size, size), mode="bilinear", antialias=True)
    out: NDArray[np.uint8] = small[0].permute(1, 2, 0).numpy()
    return out


_WORDS = {torch.contiguous_format: "contiguous", torch.channels_last: "channels last"}
DECODERS: dict[str, Decode] = {"Pillow with draft": _draft, "Pillow": _whole, "torchvision": _torchvision}


@dataclass(frozen=True)
class Minimum:
    """The best way found; `name` says which."""

    name: str
    decode: Decode
    net: Callable[[Tensor], Tensor]
    batch: int
    memory: torch.memory_format
    mean: Tensor
    std: Tensor
    size: int

    def decoded(self, paths: Sequence[str]) -> NDArray[np.uint8]:
        """`[N, S, S, 3]`."""
        out = np.empty((len(paths), self.size, self.size, 3), np.uint8)

        def one(place: int) -> None:
            out[place] = self.decode(paths[place], self.size)

        with ThreadPoolExecutor(_cores()) as pool:
            list(pool.map(one, range(len(paths))))
        return out

    @torch.no_grad()
    def passed(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Features `[N, D]`."""
        parts = []
        for start in range(0, len(pixels), self.batch):
            images = torch.from_numpy(pixels[start : start + self.batch]).permute(0, 3, 1, 2).float()
            parts.append(self.net(images.sub_(self.mean).mul_(self.std).contiguous(memory_format=self.memory)))
        return torch.cat(parts)

    def run(self, paths: Sequence[str]) -> Tensor:
        """The whole minimum."""
        return self.passed(self.decoded(paths))


def find(net: Net, paths: Sequence[str], *, rounds: int) -> Minimum:
    """Try every decoder, then every form and memory format, then every batch, on `paths`; return the fastest."""
    size = net.input.size
    mean = torch.tensor(net.input.mean).view(1, 3, 1, 1) * 255
    std = 1 / (torch.tensor(net.input.std).view(1, 3, 1, 1) * 255)
    decoder = _fastest({name: _over(decode, paths, size) for name, decode in DECODERS.items()}, rounds)
    forms = [
        Minimum(f"{decoder}; {form}, {_WORDS[memory]}", DECODERS[decoder], module, 16, memory, mean, std, size)
        for memory in _WORDS
        for form, module in _forms(net, memory).items()
    ]
    pixels = forms[0].decoded(paths)
    form = _fastest_of(forms, pixels, rounds)
    batches = [replace(form, name=f"{form.name}, batches of {batch}", batch=batch) for batch in (4, 8, 16, 32, 64)]
    return _fastest_of(batches, pixels, rounds)


def _fastest_of(ways: Sequence[Minimum], pixels: NDArray[np.uint8], rounds: int) -> Minimum:
    by_name = {way.name: way for way in ways}
    return by_name[_fastest({way.name: _passing(way, pixels) for way in ways}, rounds)]


def _passing(way: Minimum, pixels: NDArray[np.uint8]) -> Callable[[], object]:
    return lambda: way.passed(pixels)


def _over(decode: Decode, paths: Sequence[str], size: int) -> Callable[[], object]:
    return lambda: [decode(path, size) for path in paths]


def _fastest(parts: dict[str, Callable[[], object]], rounds: int) -> str:
    taken = in_turn(parts, rounds)
    return min(taken, key=lambda name: median(taken[name]))


@torch.no_grad()
def _forms(net: Net, memory: torch.memory_format) -> dict[str, nn.Module]:
    """The backbone as it is, with BatchNorm folded, and as frozen TorchScript (which folds too)."""
    plain = copy.deepcopy(nn.Sequential(*net.blocks.values())).eval().to(memory_format=memory)
    joined = nn.Sequential(*folded(net, net.block_names).values()).to(memory_format=memory)
    example = torch.zeros(8, 3, net.input.size, net.input.size).contiguous(memory_format=memory)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still the fastest here on some machines
        script = torch.jit.freeze(torch.jit.trace(copy.deepcopy(plain), example))
    return {"unfolded": plain, "folded": joined, "TorchScript": script}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def files(folder: Path) -> list[str]:
    """Every picture."""
    return [str(path) for path in sorted(folder.rglob("*.jpg"))]
