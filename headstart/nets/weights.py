"""Weight files: read without running anything in them, and fitted to a network with every misfit named at once."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from headstart.errors import BackboneError, ModelFileError

TORCH_SUFFIXES = (".pt", ".pth", ".th", ".bin", ".ckpt", ".tar")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "params")
_PREFIXES = ("module.", "_orig_mod.")
_SHOWN = 12


@dataclass
class WeightFile:
    """Tensors by name (floating ones as float32), and what the file says about itself.

    name      the file's name, without its folder
    sha256    of the file
    metadata  strings a safetensors file carries, such as the mean and standard deviation of the input
    """

    name: str
    sha256: str
    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """A metadata entry as numbers (`0.5,0.5,0.5`); None when it is absent or says something else."""
        try:
            return tuple(float(part) for part in self.metadata[key].strip("()[] ").split(","))
        except (KeyError, ValueError):
            return None

    def provenance(self) -> dict[str, str]:
        """What a saved model keeps about the file."""
        return {"file": self.name, "sha256": self.sha256}


def read_weights(path: Path) -> WeightFile:
    """Read a .safetensors file or a PyTorch weight file.

    PyTorch files are unpickled with `weights_only=True`, so nothing in them can run. Wrappers (`{"state_dict": ...}`,
    `{"model": ...}`) and the prefixes of DataParallel and torch.compile are taken off; half precision becomes float32.

    Raises ModelFileError for a file that is missing, empty, damaged, of another kind, or a pickle of something else.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"weight file {path}: {'is a folder' if path.is_dir() else 'there is no such file'}")
    if path.stat().st_size == 0:
        raise ModelFileError(f"weight file {path}: is empty; fetch it again")
    if path.suffix == ".safetensors":
        tensors, metadata = _read_safetensors(path)
    elif path.suffix in TORCH_SUFFIXES:
        tensors, metadata = _read_torch(path), {}
    else:
        kinds = ", ".join((".safetensors", *TORCH_SUFFIXES))
        raise ModelFileError(f"weight file {path}: its ending {path.suffix!r} is not one of {kinds}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return WeightFile(path.name, digest, {name: _full(value) for name, value in tensors.items()}, metadata)


def _full(value: Tensor) -> Tensor:
    return value.detach().to(torch.float32) if value.is_floating_point() else value.detach()


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            return _plain({key: file.get_tensor(key) for key in file.keys()}), dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"weight file {path}: is damaged or not a safetensors file ({error}); fetch it again"
        ) from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():  # of pickle protocols it may not know: what it cannot read it refuses anyway
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        first = str(error).strip().splitlines()[0]
        raise ModelFileError(
            f"weight file {path}: refused, it is not a plain weight file and could run code when loaded ({first}). "
            "Save only the weights: torch.save(model.state_dict(), file), or convert it to safetensors"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelFileError(f"weight file {path}: is damaged or not a PyTorch file ({first}); fetch it again") from error
    return _plain(_unwrapped(content, path))


def _unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    """The named tensors inside what torch.load gave."""
    while isinstance(content, Mapping) and not any(isinstance(value, Tensor) for value in content.values()):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    found = (
        {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not found:
        what = f"a dictionary of {sorted(map(str, content))[:5]}" if isinstance(content, Mapping) else type(content).__name__
        raise ModelFileError(f"weight file {path}: holds {what} and no named tensors; save model.state_dict() instead")
    return found


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without a prefix that every name has."""
    for prefix in _PREFIXES * 2:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def classifier_of(module: nn.Module) -> tuple[str, ...]:
    """Name of the last linear or convolutional layer of a network, which in an image classifier is the classifier."""
    layers = [name for name, part in module.named_modules() if isinstance(part, (nn.Linear, nn.Conv2d))]
    return tuple(layers[-1:])


def classes_in(file: WeightFile, classifiers: tuple[str, ...]) -> int | None:
    """Number of classes of the file's classifier; None when it has none under these names."""
    weights = (file.tensors.get(f"{name}.weight") for name in classifiers)
    return next((int(weight.shape[0]) for weight in weights if weight is not None), None)


def fit_weights(module: nn.Module, file: WeightFile, classifiers: tuple[str, ...], who: str) -> bool:
    """Load the file into `module`; returns whether the classifier came with it.

    A classifier that the file does not have, or has for another number of classes, is left as it is. Step counters of
    normalisation layers may be absent. Everything else must fit exactly.

    Raises BackboneError naming all missing, unexpected and wrong-shaped tensors together.
    """
    have = module.state_dict(keep_vars=True)
    ours = {f"{name}.{kind}" for name in classifiers for kind in ("weight", "bias")} & set(have)
    wrong = {name for name in have if name in file.tensors and have[name].shape != file.tensors[name].shape}
    missing = {name for name in have if name not in file.tensors and not name.endswith("num_batches_tracked")}
    headless = bool(ours & (wrong | missing))
    dropped = (ours if headless else set()) - _misfits(ours & set(file.tensors), have, file)
    found = [
        *_listed("missing in the file", sorted(missing - dropped)),
        *_listed("in the file, but not in the network", sorted(set(file.tensors) - set(have))),
        *_listed("of another shape", [_shapes(name, have, file) for name in sorted(wrong - dropped)]),
    ]
    if found:
        body = "\n".join(f"  - {line}" for line in found)
        raise BackboneError(
            f"weight file {file.name} does not fit {who}:\n{body}\n"
            "Name the network that it was saved from, with the options that shape it (--backbone-args key=value)"
        )
    with torch.no_grad():
        for name, value in file.tensors.items():
            if name not in dropped:
                have[name].copy_(value)
    return not headless


def _misfits(classifier: set[str], have: Mapping[str, Tensor], file: WeightFile) -> set[str]:
    """Of a classifier in the file what no number of classes explains: it reads other features, or its parts disagree."""
    if len({len(file.tensors[name]) if file.tensors[name].ndim else 0 for name in classifier}) > 1:
        return classifier
    return {name for name in classifier if have[name].shape[1:] != file.tensors[name].shape[1:]}


def _shapes(name: str, have: Mapping[str, Tensor], file: WeightFile) -> str:
    return f"{name} {list(file.tensors[name].shape)} (the network has {list(have[name].shape)})"


def _listed(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{what} ({len(names)}): {', '.join(names[:_SHOWN])}{more}"]
