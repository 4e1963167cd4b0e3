"""Networks by torchvision's names."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from torch import nn

from headstart.nets.downloads import cached_by_torch, cannot_download, reachable
from headstart.nets.library import Made, Wanted, cannot_build
from headstart.nets.weights import classifier_of


def _models() -> Any:
    return importlib.import_module("torchvision.models")


def is_torchvision(name: str) -> bool:
    """Whether the installed torchvision has a classification network of this name."""
    models = _models()
    return name in models.list_models(module=models)


def torchvision_weights_cached(name: str) -> bool:
    """Whether the default pretrained weights of this network were downloaded earlier; False for names it does not have."""
    return is_torchvision(name) and cached_by_torch(_models().get_model_weights(name).DEFAULT.url) is not None


def make_torchvision(
    name: str, args: dict[str, Any], wanted: Wanted, *, pretrained: bool, num_classes: int | None = None
) -> Made:
    """The torchvision network `name` with its classifier; see `timm_nets.make_timm`."""
    models = _models()
    weights = models.get_model_weights(name).DEFAULT
    options = dict(args)
    if num_classes is not None:
        options["num_classes"] = num_classes
    if name in ("googlenet", "inception_v3") and not pretrained:
        options |= {"init_weights": False, **options}
    if wanted.size is not None and "image_size" in inspect.signature(models.get_model_builder(name)).parameters:
        options.setdefault("image_size", wanted.size)
    if pretrained and cached_by_torch(weights.url) is None and not reachable(weights.url):
        host = weights.url.split("/")[2]
        raise cannot_download(f"torchvision:{name}", f"no answer from {host}, and they are not in the cache")
    module = _create(models, name, weights if pretrained else None, options, args)
    _drop_auxiliary(module)
    known = weights.transforms()
    known_input = Wanted(known.crop_size[0], tuple(known.mean), tuple(known.std))
    spec = wanted.over(known_input).spec(f"torchvision:{name}")
    classes = num_classes or options.get("num_classes", len(weights.meta["categories"]))
    source = {
        "builder": "torchvision",
        "name": name,
        "args": args,
        "num_classes": classes,
        "input": spec.to_json(),
        "library": f"torchvision {importlib.import_module('torchvision').__version__}",
        "weights": {"pretrained": str(weights)} if pretrained else None,
    }
    return Made(module, spec, source, classifier_of(module))


def _create(models: Any, name: str, weights: Any, options: dict[str, Any], args: dict[str, Any]) -> nn.Module:
    """Build with `options`, of which `args` are the user's own."""
    try:
        module: nn.Module = models.get_model(name, weights=weights, **({"progress": False} if weights else {}), **options)
    except (TypeError, ValueError) as error:
        raise cannot_build(f"torchvision:{name}", args, error) from error
    except Exception as error:
        if weights is None:
            raise cannot_build(f"torchvision:{name}", args, error) from error
        raise cannot_download(f"torchvision:{name}", f"{type(error).__name__}: {error}".splitlines()[0][:200]) from error
    return module


def _drop_auxiliary(module: nn.Module) -> None:
    """Take off the side classifiers of Inception and GoogLeNet, which answer in training mode only."""
    if getattr(module, "aux_logits", None):
        module.aux_logits = False  # type: ignore[assignment]
        for name in ("AuxLogits", "aux1", "aux2"):
            if hasattr(module, name):
                setattr(module, name, None)
