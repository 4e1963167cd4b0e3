"""Build a `Net` from a name, a file, a folder or a module."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from headstart.catalog.models import nearest, own_name
from headstart.errors import BackboneError, ConfigError
from headstart.nets import timm_nets, torchvision_nets
from headstart.nets.library import Wanted, cannot_build, parse_args
from headstart.nets.net import Net
from headstart.nets.patches import amdim_encoder, cpc_encoder
from headstart.nets.published import adopted
from headstart.nets.rng import forked
from headstart.nets.saved import EMBEDDED, is_saved, load_embedded, load_net
from headstart.nets.small import cifar_resnet, convnet8
from headstart.nets.sources import assemble, from_module, from_source, make, ready
from headstart.nets.vit import vit
from headstart.nets.weights import WeightFile, classes_in, classifier_of, fit_weights, read_weights
from headstart.seeding import seed_for

__all__ = ["build", "from_source", "parse_args"]

log = logging.getLogger("headstart.nets")


def build(
    name: str | nn.Module | Path | None,
    *,
    weights: Path | None = None,
    args: Mapping[str, Any] | None = None,
    size: int | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    pretrained: bool = True,
    seed: int = 0,
) -> Net:
    """A network cut into blocks, in eval mode on the CPU; the network's own classifier stays as head `source`.

    name        `timm:NAME`, `torchvision:NAME`, `headstart:resnet20`, `embedded` (also None), the folder of a saved
                model, a bare name (looked for in this order: headstart's, timm's, torchvision's), or a module, which is
                copied. Of a module, `size`, `mean` and `std` must be given; its last linear layer on pooled features is
                taken to be a classifier
    weights     a weight file (see `weights.read_weights`) to load into the named network or the module
    args        options of the library's builder, e.g. `{"pad_type": "same"}`; of a module: `{"classifier": "keep"}`
                leaves its last layer where it is
    size        side of the input in pixels; `mean`, `std`: of its channels, in units of 0 to 1. None: as the library or
                the weight file says
    pretrained  load the library's own weights (ignored when `weights` is given); False: drawn at random from `seed`

    Raises BackboneError for a name that nothing has (with the nearest names), weights that cannot be downloaded, or that do
    not fit (everything that does not, together); ModelFileError for a file that cannot be trusted or read; ConfigError where
    the input is not known. The global random generators are left as they were.
    """
    options, wanted = dict(args or {}), Wanted(size, _tuple(mean), _tuple(std))
    file = read_weights(weights) if weights is not None else None
    if file is not None:
        wanted = wanted.over(Wanted(None, file.numbers("mean"), file.numbers("std")))
    with forked(seed_for(seed, "nets", "initialise")):
        if isinstance(name, nn.Module):
            return _from_module(name, options, wanted, file)
        kind, word = _resolve(name)
        if kind in ("saved", "embedded"):
            return _saved(kind, word, file, options, wanted)
        if kind == "headstart":
            return _own(word, options, wanted, file)
        return _from_library(kind, word, options, wanted, file, pretrained)


def _tuple(values: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(float(value) for value in values)


def _resolve(name: str | Path | None) -> tuple[str, str]:
    """Kind of builder and the name without its prefix."""
    if name is None or str(name) == "embedded":
        return "embedded", EMBEDDED
    text = str(name)
    if isinstance(name, Path) or Path(text).is_dir() or "/" in text or "\\" in text:
        return "saved", text
    prefix, colon, word = text.partition(":")
    if (own := own_name(text)) is not None:
        return "headstart", own
    checks: dict[str, Callable[[str], bool]] = {
        "headstart": lambda word: False,
        "timm": timm_nets.is_timm,
        "torchvision": torchvision_nets.is_torchvision,
    }
    if colon and prefix in checks:
        if checks[prefix](word):
            return prefix, word
        raise _unknown(text)
    for kind, has in checks.items():
        if not colon and has(text):
            return kind, text
    raise _unknown(text)


def _unknown(name: str) -> BackboneError:
    close = nearest(name)
    offer = f"Did you mean {', '.join(close)}? " if close else ""
    return BackboneError(f"no network is called {name!r}. {offer}`headstart models` lists what there is")


def _from_library(
    kind: str, name: str, options: dict[str, Any], wanted: Wanted, file: WeightFile | None, pretrained: bool
) -> Net:
    made = make(kind, name, options, wanted, pretrained and file is None, None)
    keeps = pretrained or file is not None
    if file is not None:
        classes = classes_in(file, made.classifiers)
        if classes is not None and classes != made.source["num_classes"]:
            made = make(kind, name, options, wanted, False, classes)
        keeps = fit_weights(made.module, file, made.classifiers, f"{kind}:{name}")
        made.source["weights"] = file.provenance()
        if not keeps:
            made.notes.append(f"{file.name} holds no classifier that fits; the network starts without one")
    return assemble(made, keep_head=keeps)


# --- modules, own networks, saved ones ------------------------------------------------------------------------------


def _from_module(module: nn.Module, options: dict[str, Any], wanted: Wanted, file: WeightFile | None) -> Net:
    who = type(module).__name__
    keep = options.pop("classifier", None)
    if options or keep not in (None, "keep"):
        raise ConfigError(f'options {options or keep} are not for a module; only {{"classifier": "keep"}} is')
    spec = wanted.spec(f"the module {who}")
    has_classifier = True
    if file is not None:
        module = copy.deepcopy(module)
        has_classifier = fit_weights(module, file, () if keep else classifier_of(module), who)
    net, _ = from_module(module, spec, keep_classifier=keep == "keep")
    if not has_classifier:
        log.info("%s holds no classifier that fits %s; the network starts without one", file and file.name, who)
        net.heads.clear()
    return net


def _own(name: str, options: dict[str, Any], wanted: Wanted, file: WeightFile | None) -> Net:
    options = {**options, **({"size": wanted.size} if wanted.size else {})}
    try:
        net = _drawn(name, options)
    except (TypeError, ValueError) as error:
        raise cannot_build(f"headstart:{name}", options, error) from error
    if wanted.mean or wanted.std:
        net.input = wanted.over(Wanted(net.input.size, net.input.mean, net.input.std)).spec(f"headstart:{name}")
    assert net.source is not None
    if file is not None:
        fit_weights(net, adopted(net, file), (), f"headstart:{name}")
        net.source["weights"] = file.provenance()
    net.source["input"] = json.loads(json.dumps(net.input.to_json()))
    return ready(net)


def _drawn(name: str, options: dict[str, Any]) -> Net:
    """One of headstart's own networks, its weights drawn from the generator as it stands."""
    whole: dict[str, Callable[..., Net]] = {
        "convnet8": convnet8,
        "vit": vit,
        "cpc_encoder": cpc_encoder,
        "amdim_encoder": amdim_encoder,
    }
    if name in whole:
        return whole[name](**options)
    return cifar_resnet(int(name.rpartition("resnet")[2]), **options)


def _saved(kind: str, word: str, file: WeightFile | None, options: dict[str, Any], wanted: Wanted) -> Net:
    if file is not None or options:
        raise ConfigError(f"{word} has its own weights; --weights and --backbone-args do not go with it")
    if kind == "saved" and not is_saved(Path(word)) and "/" not in word and "\\" not in word:
        raise _unknown(word)
    net = load_embedded() if kind == "embedded" else load_net(Path(word))
    known = Wanted(net.input.size, net.input.mean, net.input.std)
    net.input = wanted.over(known).spec(word) if net.input.kind == "image" else net.input
    return net
