"""Networks whose weights are on this machine already: nothing is downloaded to use them."""

from __future__ import annotations

from pathlib import Path

from headstart.catalog.models import known_models
from headstart.nets.downloads import nothing_cached
from headstart.nets.saved import is_saved
from headstart.nets.timm_nets import timm_weights_cached
from headstart.nets.torchvision_nets import torchvision_weights_cached


def local_networks(runs: Path) -> list[str]:
    """Names that `build` takes without a download: `embedded`, models saved below `runs`, what libraries keep cached.

    headstart's own networks without weights are left out: they know nothing.
    """
    return ["embedded", *saved_below(runs), *cached_networks()]


def saved_below(runs: Path) -> list[str]:
    """Folders below `runs` that hold a saved model, in order."""
    return [str(card.parent) for card in sorted(runs.glob("**/card.json")) if is_saved(card.parent)]


def cached_networks() -> list[str]:
    """Networks of torchvision and timm whose published weights were downloaded earlier. Looks, and downloads nothing."""
    if nothing_cached():
        return []
    there = {"torchvision": torchvision_weights_cached, "timm": timm_weights_cached}
    names = (model.name.partition(":") for model in known_models() if model.kind in there)
    return [f"{kind}:{name}" for kind, _, name in names if there[kind](name)]
