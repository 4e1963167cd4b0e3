"""Weight files of CIFAR ResNets that others trained, in the layout of the usual implementations."""

from __future__ import annotations

import re
from dataclasses import replace

import torch

from headstart.nets.net import Net
from headstart.nets.sources import SOURCE
from headstart.nets.weights import WeightFile

_CLASSIFIERS = ("linear", "fc", "classifier")
_STEM, _LAYER = re.compile(r"(conv1|bn1)\.(.+)"), re.compile(r"layer([123])\.(\d+)\.(.+)")


def adopted(net: Net, file: WeightFile) -> WeightFile:
    """The file with its tensors named as in `net`, one of headstart's CIFAR ResNets, which gets the file's classifier.

    A file whose names are not those of the usual layout (`conv1`, `layer1.0.conv1`, ..., `linear` or `fc` at the end) is
    returned as it is.
    """
    if "conv1.weight" not in file.tensors or not any(name.startswith("layer1.0.") for name in file.tensors):
        return file
    last = next((name for name in _CLASSIFIERS if f"{name}.weight" in file.tensors), None)
    tensors = {_ours(name, last): value for name, value in file.tensors.items()}
    weight = None if last is None else file.tensors[f"{last}.weight"]
    if weight is not None and weight.ndim == 2 and weight.shape[1] == net.info[net.last].channels:
        head = net.add_head(SOURCE, int(weight.shape[0]))
        tensors.setdefault(f"heads.{SOURCE}.linear.bias", torch.zeros(head.num_classes))
        tensors[f"heads.{SOURCE}.calibration"] = head.calibration
    return replace(file, tensors=tensors)


def _ours(name: str, classifier: str | None) -> str:
    """What headstart calls a tensor."""
    if (stem := _STEM.fullmatch(name)) is not None:
        return f"blocks.stem.{stem[1]}.{stem[2]}"
    if (layer := _LAYER.fullmatch(name)) is not None:
        return f"blocks.layer{layer[1]}_{layer[2]}.{layer[3]}"
    head, _, rest = name.rpartition(".")
    return f"heads.{SOURCE}.linear.{rest}" if head == classifier else name
