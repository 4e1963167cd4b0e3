"""What is left of a pretraining whose loss came to be no number: the newest weights that were sound, as a backbone."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from headstart.engine.checkpoint import load_state
from headstart.engine.course import KEPT
from headstart.engine.model import Card, Model
from headstart.errors import CheckpointError, NonFiniteLoss
from headstart.nets.net import Net


def last_good(error: NonFiniteLoss, net: Net, place: Path, card: Card, target: Path) -> NonFiniteLoss:
    """The error with what can be gone on from, which is saved in `target` as a backbone.

    place  where the run keeps its stages
    """
    state = next(_sound(place), None)
    if state is None:
        said = str(error).replace(KEPT, "No checkpoint before that holds sound weights, so that no weights are kept")
        return NonFiniteLoss(said)
    last = copy.deepcopy(net).cpu()
    last.heads.clear()
    last.load_state_dict({name: value for name, value in state.items() if name in last.state_dict()}, strict=False)
    saved = Model(last, card).save(target)
    return NonFiniteLoss(
        f"{error}; it can be gone on from: --start trained --backbone {saved} with a smaller --lr and another --out"
    )


def _sound(place: Path) -> Iterator[Mapping[str, torch.Tensor]]:
    """The network in every checkpoint and finished stage that holds numbers throughout, the newest first."""
    folders = {path.parent for path in place.glob("*/*.safetensors")}
    for folder in sorted(folders, key=_number, reverse=True):
        for name in ("latest", "previous", "finished"):
            path = folder / f"{name}.safetensors"
            try:
                state: Mapping[str, torch.Tensor] = load_state(path)["net"] if path.exists() else {}
            except CheckpointError:
                continue
            if state and all(bool(torch.isfinite(value).all()) for value in state.values()):
                yield state


def _number(folder: Path) -> int:
    """Of a stage, which its folder's name begins with: text would put the hundredth before the second."""
    return int(folder.name.partition("-")[0])
