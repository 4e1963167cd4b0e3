"""Gradients of single samples from a layer's input and the gradient of its output, added up and never kept.

A rule takes the input `a` `[B, ...]`, the gradients `gs` of the output for each of K directions (every one `[B, ...]`) and
`measure`, the square or the magnitude, and gives per weight sum over B samples and K directions of measure(gradient).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

Measure = Callable[[Tensor], Tensor]
Rule = Callable[[nn.Module, Tensor, Sequence[Tensor], Measure], dict[str, Tensor]]

AT_ONCE = 2_000_000
"""Numbers in one slice of a product over samples. Eight megabytes stay near the processor."""


def rule_of(layer: nn.Module) -> Rule | None:
    """How the gradients of this layer's weights are found; None for a kind of layer without a rule.

    A layer of a class that computes its output in another way than its base has none.
    """
    for kinds, rule in _RULES:
        for kind in kinds:
            if isinstance(layer, kind) and type(layer).forward is kind.forward:
                return rule
    return None


def linear(layer: nn.Module, a: Tensor, gs: Sequence[Tensor], measure: Measure) -> dict[str, Tensor]:
    """`[B, I]`: the gradient is an outer product, so its squares are the product of squares, (g^2)^T (a^2), and the
    directions add up before it. `[B, L, I]`: see `_products`."""
    if a.ndim > 2:
        rows = [g.flatten(1, -2).transpose(1, 2)[:, None] for g in gs]
        tokens = a.flatten(1, -2).transpose(1, 2)[:, None]
        return _with_bias(layer, _products(lambda some: tokens[some], tokens.shape[2], rows, measure), rows, measure)
    total = _sum(measure(g) for g in gs)
    found = {"weight": total.T @ measure(a)}
    return found | ({"bias": total.sum(0)} if layer._parameters.get("bias") is not None else {})


def convolution(layer: nn.Module, a: Tensor, gs: Sequence[Tensor], measure: Measure) -> dict[str, Tensor]:
    """A product of output gradients with the windows of the input, sample by sample and group by group."""
    assert isinstance(layer, _ConvNd)
    padded = _padded(layer, a)
    rows = [g.reshape(len(a), layer.groups, layer.out_channels // layer.groups, -1) for g in gs]
    weight = layer.weight
    return _with_bias(
        layer, _products(lambda some: _windows(layer, padded[some]), weight[0].numel(), rows, measure), rows, measure
    )


def normalisation(layer: nn.Module, a: Tensor, gs: Sequence[Tensor], measure: Measure) -> dict[str, Tensor]:
    """Scale and shift of what is normalised first, whose gradients are g times that, and g, summed over places."""
    plain = _normalised(layer, a)
    weight = layer._parameters.get("weight")
    assert weight is not None
    over = tuple(range(1, a.ndim - weight.ndim)) if isinstance(layer, nn.LayerNorm) else tuple(range(2, a.ndim))

    def summed(gradients: Iterator[Tensor]) -> Tensor:
        return _sum(measure(g.sum(over) if over else g).sum(0) for g in gradients)

    found = {"weight": summed(g * plain for g in gs)}
    return found | ({"bias": summed(iter(gs))} if layer._parameters.get("bias") is not None else {})


_RULES: tuple[tuple[tuple[type[nn.Module], ...], Rule], ...] = (
    ((nn.Linear,), linear),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), convolution),
    ((_BatchNorm, nn.LayerNorm, nn.GroupNorm), normalisation),
)


def _products(windows: Callable[[slice], Tensor], inputs: int, rows: Sequence[Tensor], measure: Measure) -> Tensor:
    """`[G * O, J]`: measure(sum over places of g times its window), over samples and directions, a slice at a time.

    windows  gives those of some samples, `[b, G, J, L]`; inputs: J
    rows     output gradients `[B, G, O, L]`, one for each direction
    """
    samples, groups, outputs, places = rows[0].shape
    total = rows[0].new_zeros(groups, outputs, inputs)
    together = max(1, min(len(rows), AT_ONCE // (groups * outputs * inputs)))
    width = max(groups * inputs * places, groups * outputs * inputs * together)
    step = max(1, AT_ONCE // width)
    for start in range(0, samples, step):
        some = slice(start, start + step)
        seen = windows(some).transpose(2, 3)
        for first in range(0, len(rows), together):
            found = torch.cat([row[some] for row in rows[first : first + together]], 2) @ seen
            total += measure(found).sum(0).reshape(groups, -1, outputs, inputs).sum(1)
    return total.flatten(0, 1)


def _with_bias(layer: nn.Module, weight: Tensor, rows: Sequence[Tensor], measure: Measure) -> dict[str, Tensor]:
    kept = layer._parameters["weight"]
    assert kept is not None
    found = {"weight": weight.reshape(kept.shape)}
    if layer._parameters.get("bias") is None:
        return found
    return found | {"bias": _sum(measure(row.sum(3)).sum(0).flatten() for row in rows)}


def _padded(layer: _ConvNd, a: Tensor) -> Tensor:
    """The input with its padding, `same` being more on the far side where it is odd (as PyTorch has it)."""
    sides: list[tuple[int, int]] = []
    for axis, kernel in enumerate(layer.kernel_size):
        if layer.padding == "same":
            whole = layer.dilation[axis] * (kernel - 1)
            sides.append((whole // 2, whole - whole // 2))
        else:
            each = 0 if isinstance(layer.padding, str) else layer.padding[axis]
            sides.append((each, each))
    flat = [side for pair in reversed(sides) for side in pair]
    if not any(flat):
        return a.contiguous()
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(a, flat, mode).contiguous()


def _windows(layer: _ConvNd, a: Tensor) -> Tensor:
    """What each output place of a convolution sees: `[b, G, J, L]`, J inputs of one group, from a padded input."""
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    axes = range(len(kernel))
    out = [(a.shape[2 + axis] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1 for axis in axes]
    steps = a.stride()
    shape = (a.shape[0], a.shape[1], *kernel, *out)
    inner = [steps[2 + axis] * dilation[axis] for axis in axes] + [steps[2 + axis] * stride[axis] for axis in axes]
    view = a.as_strided(shape, (steps[0], steps[1], *inner), a.storage_offset())
    return view.reshape(a.shape[0], layer.groups, -1, math.prod(out))


def _normalised(layer: nn.Module, a: Tensor) -> Tensor:
    """The input after normalisation, before scale and shift."""
    if isinstance(layer, nn.LayerNorm):
        return F.layer_norm(a, layer.normalized_shape, None, None, layer.eps)
    if isinstance(layer, nn.GroupNorm):
        return F.group_norm(a, layer.num_groups, None, None, layer.eps)
    assert isinstance(layer, _BatchNorm)
    without = layer.running_mean is None
    return F.batch_norm(a, layer.running_mean, layer.running_var, None, None, without, 0.0, layer.eps)


def _sum(parts: Iterator[Tensor]) -> Tensor:
    total = next(parts).clone()
    for part in parts:
        total += part
    return total
