"""From a module to a `Net`, and from `Net.source` back to the same architecture."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from headstart.errors import BackboneError
from headstart.nets import timm_nets, torchvision_nets
from headstart.nets.columns import GROWN, regrow
from headstart.nets.cut import Cut, cut_network
from headstart.nets.heads import LinearHead
from headstart.nets.library import Made, Wanted
from headstart.nets.net import TOWERS, InputSpec, Net, TowerPlan
from headstart.nets.parallel import side_by_side
from headstart.nets.patches import amdim_encoder, cpc_encoder
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet, convnet8, mlp
from headstart.nets.vit import vit
from headstart.seeding import seed_for

SOURCE = "source"
"""Name of the head that keeps a pretrained network's own classifier."""


def make(kind: str, name: str, options: dict[str, Any], wanted: Wanted, pretrained: bool, classes: int | None) -> Made:
    """A network of timm or torchvision with its classifier; see `timm_nets.make_timm`."""
    maker = timm_nets.make_timm if kind == "timm" else torchvision_nets.make_torchvision
    return maker(name, options, wanted, pretrained=pretrained, num_classes=classes)


def assemble(made: Made, *, keep_head: bool) -> Net:
    """A library's network as a `Net`; with its classifier as head `source` where it has a plain one and it is to be kept."""
    found = _cut(made)
    notes = [*made.notes, *found.notes]
    source = {**made.source, **({"notes": notes} if notes else {})}
    net = Net(found.blocks, made.input, found.info, json.loads(json.dumps(source)))
    if keep_head:
        _keep_classifier(net, found.classifier)
    return ready(net)


def _cut(made: Made) -> Cut:
    sides = (len(made.input.mean), made.input.size, made.input.size)
    found = cut_network(made.module, sides)
    if found.classifier is None and made.source["builder"] == "timm" and made.source["num_classes"]:
        # Two classifiers averaged, or one that is no linear layer: timm knows how to take it off, the graph does not.
        timm_nets.without_classifier(made.module)
        found = cut_network(made.module, sides, keep_classifier=True)
    return found


def from_module(module: nn.Module, spec: InputSpec, *, keep_classifier: bool) -> tuple[Net, list[str]]:
    """A copy of a module as a `Net` without source, its classifier as head `source`; and notes for the user."""
    found = cut_network(copy.deepcopy(module).cpu(), (len(spec.mean), spec.size, spec.size), keep_classifier=keep_classifier)
    net = Net(found.blocks, spec, found.info, None)
    _keep_classifier(net, found.classifier)
    return ready(net), found.notes


def _keep_classifier(net: Net, classifier: nn.Linear | None) -> None:
    if classifier is None:
        return
    head = LinearHead((net.last,), classifier.in_features, classifier.out_features)
    with torch.no_grad():
        head.linear.weight.copy_(classifier.weight)
        if classifier.bias is not None:
            head.linear.bias.copy_(classifier.bias)
    net.heads[SOURCE] = head


def ready(net: Net) -> Net:
    """In eval mode, all parameters requiring gradients, convolutions in channels-last memory (faster, same values)."""
    net.requires_grad_(True).eval()
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def from_source(source: Mapping[str, Any], seed: int = 0) -> Net:
    """The architecture that `Net.source` describes, with blocks of the same names, weights drawn from `seed`, and no heads.

    What it grew is there too (`columns.GROWN`), and its towers; every column and every tower is drawn for itself.
    The global random generators are left as they were. Raises BackboneError for a source that this version cannot build.
    """
    with forked(seed_for(seed, "nets", "initialise")):
        net = _grown(source)
    net.source = dict(source)
    return ready(net)


def _grown(source: Mapping[str, Any]) -> Net:
    net = _from_source(source)
    regrow(net, source.get(GROWN) or (), lambda: _from_source(source))
    return net


def _from_source(source: Mapping[str, Any]) -> Net:
    builder, args = source.get("builder"), dict(source.get("args") or {})
    if builder == TOWERS:
        return side_by_side([_grown(source["of"]) for _ in source["tasks"]], TowerPlan.from_json(source))
    if builder in ("timm", "torchvision"):
        spec = InputSpec.from_json(source["input"])
        wanted = Wanted(spec.size, spec.mean, spec.std)
        return assemble(make(builder, source["name"], args, wanted, False, source["num_classes"]), keep_head=False)
    if builder == "cifar_resnet":
        net = cifar_resnet(**args)
    elif builder == "convnet8":
        net = convnet8(**args)
    elif builder == "vit":
        net = vit(**args)
    elif builder == "cpc_encoder":
        net = cpc_encoder(**args)
    elif builder == "amdim_encoder":
        net = amdim_encoder(**args)
    elif builder == "mlp":
        net = mlp(int(args["features"]), tuple(args["widths"]))
    else:
        raise BackboneError(f"the network was made by builder {builder!r}, which this version of headstart does not know")
    if "input" in source:
        net.input = InputSpec.from_json(source["input"])
    return net
