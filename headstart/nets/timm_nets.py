"""Networks by timm's names. timm is imported here, when one is asked for, and nowhere else."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from headstart.errors import BackboneError
from headstart.nets.downloads import cached_by_torch, cached_on_hub, cannot_download, hub_address, reachable
from headstart.nets.library import Made, Wanted, cannot_build


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise BackboneError(f"timm networks need the timm package, which cannot be imported: {error}") from error


def is_timm(name: str) -> bool:
    """Whether the installed timm has a network of this name, with or without a tag of its weights."""
    timm = _timm()
    return bool(timm.is_model(name)) and (("." not in name) or _config(name) is not None)


def _config(name: str) -> Any:
    try:
        return _timm().models.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:  # a tag that timm does not have
        return None


def timm_weights_cached(name: str) -> bool:
    """Whether the pretrained weights of this name were downloaded earlier; False for names timm does not have."""
    config = _config(name)
    if config is None or not config.has_weights:
        return False
    on_hub = config.hf_hub_id and cached_on_hub(config.hf_hub_id, config.hf_hub_filename)
    return bool(on_hub or (config.url and cached_by_torch(config.url)))


def make_timm(name: str, args: dict[str, Any], wanted: Wanted, *, pretrained: bool, num_classes: int | None = None) -> Made:
    """The timm network `name` with its classifier, its weights pretrained or drawn from the global generator.

    `args` go to timm's builder. `num_classes` replaces the number that the weights of this name have.

    Raises BackboneError when the weights cannot be downloaded or timm does not take the options.
    """
    config = _config(name)
    options = dict(args)
    if num_classes is not None:
        options["num_classes"] = num_classes
    if config is not None and wanted.size is not None and "img_size" not in options:
        options |= _image_size(name, config, wanted.size)
    if pretrained:
        options |= _weights(name, config)
    module = _create(name, {"pretrained": pretrained, **options}, args)
    known = getattr(module, "pretrained_cfg", None) or {}
    size = wanted.size or _side(options.get("img_size")) or _side((known.get("input_size") or (None,))[-1])
    spec = Wanted(size, wanted.mean or known.get("mean"), wanted.std or known.get("std")).spec(f"timm:{name}")
    # The tag names weights: where none of them were loaded, it would say what is not so.
    tag = f".{known['tag']}" if pretrained and known.get("tag") and "." not in name else ""
    source = {
        "builder": "timm",
        "name": name + tag,
        "args": args,
        "num_classes": getattr(module, "num_classes", num_classes),
        "input": spec.to_json(),
        "library": f"timm {_timm().__version__}",
        "weights": {"pretrained": name + tag} if pretrained else None,
    }
    classifier = known.get("classifier") or ()
    return Made(module, spec, source, (classifier,) if isinstance(classifier, str) else tuple(classifier))


def _side(value: Any) -> int | None:
    value = value[-1] if isinstance(value, (tuple, list)) else value
    return int(value) if value is not None else None


def _image_size(name: str, config: Any, size: int) -> dict[str, Any]:
    """The option that fixes a network's input size, for networks that have one."""
    if size == config.input_size[-1]:
        return {}
    if config.fixed_input_size:
        return {"img_size": size}
    return {}


def _weights(name: str, config: Any) -> dict[str, Any]:
    """Builder options that make timm find the weights, or BackboneError at once when it would not."""
    if config is None or not config.has_weights:
        tagged = list(_timm().list_pretrained(f"{name.split('.')[0]}.*"))
        more = f"; with weights there are {', '.join(tagged[:5])}" if tagged else ""
        raise BackboneError(f"timm has no pretrained weights for {name}{more}. Give --weights FILE, or another network")
    cached = None
    if config.hf_hub_id:
        cached, address = cached_on_hub(config.hf_hub_id, config.hf_hub_filename), hub_address(config.hf_hub_id)
    elif config.url:
        cached, address = cached_by_torch(config.url), config.url
    else:
        return {}
    if reachable(address):
        return {}
    if cached is None:
        raise cannot_download(f"timm:{name}", f"no answer from {address.split('/')[2]}, and they are not in the cache")
    return {"pretrained_cfg_overlay": {"file": str(cached)}}


def _create(name: str, options: dict[str, Any], args: dict[str, Any]) -> nn.Module:
    """Build with `options`, of which `args` are the user's own."""
    try:
        module: nn.Module = _timm().create_model(name, **options)
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        raise cannot_build(f"timm:{name}", args, error) from error
    except Exception as error:
        if not options["pretrained"]:
            raise cannot_build(f"timm:{name}", args, error) from error
        # Any failure of a download: the hub's client has a tree of errors of its own.
        raise cannot_download(f"timm:{name}", f"{type(error).__name__}: {error}".splitlines()[0][:200]) from error
    return module


def without_classifier(module: nn.Module) -> None:
    """Take the classifier off by timm's own means; the network then gives pooled features."""
    getattr(module, "reset_classifier")(0)  # noqa: B009 - every timm network has it, nn.Module does not
