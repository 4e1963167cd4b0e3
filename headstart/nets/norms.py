"""Batch normalisation that normalises nothing: folded into the convolutions, its statistics left at 0 and 1."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def folded_away(module: nn.Module) -> bool:
    """Whether batch normalisation within `module` was trained and then folded into the layers before it.

    Files made for devices often keep the layers: means 0, variances 1, scales in the convolutions, and what is left of them
    in the biases. Evaluated, such a network is what it was. Were it to use the statistics of a batch again, every layer
    would be normalised that was not meant to be, and nothing of what it knows would be left.
    """
    return any(_empty(layer) for layer in module.modules() if isinstance(layer, _BatchNorm))


def normalises(module: nn.Module) -> bool:
    """Whether `module` holds batch normalisation that is at work."""
    return any(not _empty(layer) for layer in module.modules() if isinstance(layer, _BatchNorm))


def _empty(layer: _BatchNorm) -> bool:
    """Statistics as drawn, though the bias is not: a new layer's bias is 0."""
    if layer.running_mean is None or layer.running_var is None or layer.bias is None:
        return False
    untouched = not bool(layer.running_mean.any()) and bool((layer.running_var == 1).all())
    return untouched and bool(layer.bias.any())
