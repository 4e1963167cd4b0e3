"""Whether a library's own download of weights can succeed, found out in seconds instead of minutes of retries."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path

from headstart.errors import BackboneError

SECONDS = 6.0
"""How long a server may take to answer before it counts as out of reach."""

OFFLINE_HELP = (
    "What works without the network: the embedded backbone (embedded), a weight file with the network it belongs to "
    "(--weights FILE), or the folder of a model that headstart saved"
)


def reachable(url: str) -> bool:
    """Whether the server of `url` answers at all; proxies of the environment are used."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=SECONDS):
            return True
    except urllib.error.HTTPError:
        return True  # it answered
    except (OSError, ValueError):
        return False


def cannot_download(name: str, reason: str) -> BackboneError:
    """The error for weights that cannot be had."""
    return BackboneError(f"the pretrained weights of {name} cannot be downloaded ({reason}). {OFFLINE_HELP}")


def cached_on_hub(repository: str, filename: str | None) -> Path | None:
    """A weight file of a model hub's repository that was downloaded earlier."""
    from huggingface_hub import try_to_load_from_cache

    name, _, revision = repository.partition("@")
    for candidate in [filename] if filename else ["model.safetensors", "pytorch_model.bin"]:
        found = try_to_load_from_cache(name, candidate, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def hub_address(repository: str) -> str:
    """Where the hub keeps a repository."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT.rstrip('/')}/{repository.partition('@')[0]}"


def cached_by_torch(url: str) -> Path | None:
    """A weight file that torch.hub downloaded earlier."""
    import torch

    found = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    return found if found.is_file() else None


def nothing_cached() -> bool:
    """Whether neither torch.hub nor the model hub's client ever kept a file here, so that no library need be asked."""
    import torch
    from huggingface_hub import constants

    places = (Path(torch.hub.get_dir()) / "checkpoints", Path(constants.HF_HUB_CACHE))
    return not any(place.is_dir() and any(place.iterdir()) for place in places)
