"""Networks on disk: `weights.safetensors` and `net.json`, verified by checksum, rebuilt without code from the user."""

from __future__ import annotations

import copy
import errno
import hashlib
import json
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headstart.errors import BackboneError, ModelFileError
from headstart.files import write_atomic, write_text
from headstart.nets.columns import GROWN, growth, regrow
from headstart.nets.heads import head_from
from headstart.nets.net import TOWERS, BlockInfo, InputSpec, Net, TowerPlan
from headstart.nets.parallel import side_by_side
from headstart.nets.rng import forked
from headstart.nets.sources import from_module, from_source

FORMAT, VERSION = "headstart-net", 1
WEIGHTS, DESCRIPTION = "weights.safetensors", "net.json"
EMBEDDED = "embedded"

Builder = Callable[[], "nn.Module | Net"]


def is_saved(folder: Path) -> bool:
    """Whether a folder holds a network saved by headstart."""
    return (folder / DESCRIPTION).is_file()


def save_net(net: Net, folder: Path, *, extra: Mapping[str, Any] | None = None) -> None:
    """Write a network, its heads and what is needed to build it again into `folder`.

    extra  JSON of the caller's, kept as it is under `extra` (class names, ancestors, ...)

    Tensors shared between modules are written once, with aliases; the strides of those in channels-last memory are noted.
    Each file replaces an older one only when it is complete. Raises DiskFull; the older files are then still there.
    """
    _write(net, Path(folder) / WEIGHTS, Path(folder) / DESCRIPTION, extra)


def save_embedded(net: Net, assets: Path, *, extra: Mapping[str, Any] | None = None) -> None:
    """Write the network that comes with headstart: `embedded.safetensors` and `embedded.json`."""
    _write(net, Path(assets) / f"{EMBEDDED}.safetensors", Path(assets) / f"{EMBEDDED}.json", extra)


def load_net(folder: Path, builder: Builder | None = None) -> Net:
    """The network in `folder`, in eval mode on the CPU, equal to the saved one to the bit.

    builder  needed only for a network that was given as a module: makes it again, as a module or as a `Net`

    Raises ModelFileError for a folder that is damaged, holds something else, or needs `builder`.
    """
    folder = Path(folder)
    if not is_saved(folder):
        what = "holds no saved headstart model" if folder.is_dir() else "is no folder"
        raise ModelFileError(
            f"{folder} {what} (a model has {DESCRIPTION} and {WEIGHTS}); a run keeps its model in RUN/model"
        )
    return _read(folder / DESCRIPTION, builder)


def read_description(folder: Path) -> dict[str, Any]:
    """The JSON of a saved network, `extra` included, without loading its weights."""
    return _description(Path(folder) / DESCRIPTION)


def load_embedded() -> Net:
    """The network that comes with headstart."""
    assets = Path(str(resources.files("headstart.assets")))
    if not (assets / f"{EMBEDDED}.json").is_file():
        raise BackboneError(
            "this installation has no embedded backbone (assets/embedded.json); name a network, e.g. timm:resnet18"
        )
    return _read(assets / f"{EMBEDDED}.json", None)


# --- writing -----------------------------------------------------------------------------------------------------------


def _write(net: Net, weights: Path, description: Path, extra: Mapping[str, Any] | None) -> None:
    tensors, aliases = _once(net.state_dict())
    write_atomic(weights, lambda path: _save_tensors({name: value.contiguous() for name, value in tensors.items()}, path))
    spec = {
        "format": FORMAT,
        "version": VERSION,
        "source": net.source,
        # A network with a source lists its growth, and its towers, there.
        **({GROWN: growth(net)} if net.source is None and growth(net) else {}),
        **({TOWERS: net.towers.to_json()} if net.source is None and net.towers is not None else {}),
        "input": net.input.to_json(),
        "blocks": {name: net.info[name].to_json() for name in net.block_names},
        "heads": {name: net.head(name).spec() for name in net.heads},
        "weights": {"file": weights.name, "sha256": _sha256(weights)},
        "aliases": aliases,
        "strides": {name: list(value.stride()) for name, value in tensors.items() if not value.is_contiguous()},
        "extra": dict(extra or {}),
    }
    text = json.dumps(spec, indent=1, ensure_ascii=False) + "\n"
    write_text(description, text)


def _once(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors without those that are another's under a second name, and these: alias -> name."""
    first: dict[tuple[Any, ...], str] = {}
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    for name, value in state.items():
        value = value.detach().cpu()
        key = (value.data_ptr(), tuple(value.shape), value.stride(), value.dtype)
        same = first.setdefault(key, name) if value.numel() else name
        if same == name:
            kept[name] = value
        else:
            aliases[name] = same
    return kept, aliases


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        if "os error 28" in str(error) or "No space" in str(error):
            raise OSError(errno.ENOSPC, str(error)) from error
        raise


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- reading -----------------------------------------------------------------------------------------------------------


def _description(path: Path) -> dict[str, Any]:
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} cannot be read ({error}); the model is damaged, take it from a copy") from error
    if not isinstance(spec, dict) or spec.get("format") != FORMAT:
        raise ModelFileError(f"{path} was not written by headstart; name a folder that headstart saved")
    if spec.get("version") != VERSION:
        raise ModelFileError(
            f"{path} has version {spec.get('version')}, this headstart reads {VERSION}; use the one that wrote it"
        )
    missing = [key for key in ("source", "input", "blocks", "heads", "weights", "aliases", "strides") if key not in spec]
    if missing:
        raise ModelFileError(f"{path} lacks {', '.join(missing)}; the model is damaged, take it from a copy")
    return spec


def _read(path: Path, builder: Builder | None) -> Net:
    spec = _description(path)
    tensors = _tensors(path.parent / str(spec["weights"]["file"]), str(spec["weights"]["sha256"]))
    net = _rebuilt(path, spec, builder)
    with forked(0):  # layers draw weights as they are made; these are overwritten
        for name, head in spec["heads"].items():
            net.heads[name] = head_from(head)
    if net.source is not None:
        net.source = spec["source"]
    net.info = {name: BlockInfo.from_json(one) for name, one in spec["blocks"].items()}
    tensors |= {alias: tensors[name] for alias, name in spec["aliases"].items() if name in tensors}
    _fill(net, tensors, spec["strides"], path)
    return net.eval()


def _tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelFileError(f"{path} is missing; the model is damaged, take it from a copy")
    if _sha256(path) != sha256:
        raise ModelFileError(
            f"{path} is not what was saved (its checksum differs); the model is damaged, take it from a copy"
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} cannot be read ({error}); the model is damaged, take it from a copy") from error


def _rebuilt(path: Path, spec: Mapping[str, Any], builder: Builder | None) -> Net:
    given = InputSpec.from_json(spec["input"])
    if spec["source"] is not None:
        net = from_source(spec["source"])
    elif builder is None:
        raise ModelFileError(
            f"{path.parent}: this network was given as a Python module, which a file cannot hold; "
            "in Python pass what makes it: headstart.Model.load(folder, builder=lambda: MyNetwork())"
        )
    else:
        made = builder()
        net = made if isinstance(made, Net) else from_module(made, given, keep_classifier=False)[0]
    net.input = given
    net.heads.clear()
    if net.towers is None:  # of a builder that makes the towers too nothing is left to do
        regrow(net, spec.get(GROWN) or ())
        net = _with_towers(net, spec.get(TOWERS))
    if net.block_names != list(spec["blocks"]):
        raise ModelFileError(
            f"{path}: the saved network has the blocks {list(spec['blocks'])}, what was built again has {net.block_names}; "
            f"use the versions that saved it ({(spec['source'] or {}).get('library', 'headstart')})"
        )
    return net


def _with_towers(net: Net, plan: Mapping[str, Any] | None) -> Net:
    """A network made of a module, with towers as they were."""
    if plan is None:
        return net
    return side_by_side([net, *(copy.deepcopy(net) for _ in plan["tasks"][1:])], TowerPlan.from_json(plan))


def _fill(net: Net, tensors: Mapping[str, Tensor], strides: Mapping[str, list[int]], path: Path) -> None:
    have = net.state_dict(keep_vars=True)
    wrong = [name for name in have if name in tensors and have[name].shape != tensors[name].shape]
    odd = sorted({*(set(have) ^ set(tensors)), *wrong})
    if odd:
        raise ModelFileError(f"{path}: {len(odd)} tensors do not belong to what was built again: {', '.join(odd[:8])}")
    with torch.no_grad():
        for name, value in have.items():
            wanted = tuple(strides.get(name, tensors[name].stride()))
            if value.stride() != wanted:
                value.data = torch.empty_strided(tuple(value.shape), wanted, dtype=value.dtype)
            value.copy_(tensors[name])
