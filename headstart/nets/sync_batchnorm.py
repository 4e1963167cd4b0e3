"""BatchNorm over all processes, with a backward pass that knows it. Works on gloo (CPU) and NCCL.

Every process contributes its number of values, their mean and their sum of squared deviations from it per channel; the mean
and variance are those of all values together, whatever the batch of each process. In the backward pass the two sums that the
gradient needs are summed over the processes too. Where every process's loss is its share of the loss over all samples,
gradients summed over the processes equal those of one process on the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm


class _Normalise(torch.autograd.Function):
    """`(x - mean) / sqrt(var + eps) * weight + bias` with statistics over `group`; x `[N, C, ...]`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, group: Any) -> Any:
        dims = [d for d in range(x.dim()) if d != 1]
        wide = x.double() if x.dtype == torch.float64 else x.float()
        mean, variance, total = _moments(wide, dims, group)
        inverse = (variance + eps).rsqrt()
        normal = (wide - _wide(mean, x)) * _wide(inverse, x)
        ctx.save_for_backward(normal, inverse, weight, total)
        ctx.group, ctx.has_bias = group, bias is not None
        out = normal if weight is None else normal * _wide(weight, x)
        out = out if bias is None else out + _wide(bias, x)
        ctx.mark_non_differentiable(mean, variance, total)
        return out.to(x.dtype), mean, variance, total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        normal, inverse, weight, total = ctx.saved_tensors
        grad = grads[0].to(normal.dtype)
        dims = [d for d in range(grad.dim()) if d != 1]
        of_bias, of_weight = grad.sum(dims), (grad * normal).sum(dims)
        grad_x = None
        if ctx.needs_input_grad[0]:
            sums = _all_sum(torch.stack([of_bias, of_weight]), ctx.group) / total
            scale = inverse if weight is None else inverse * weight
            grad_x = (grad - _wide(sums[0], grad) - normal * _wide(sums[1], grad)) * _wide(scale, grad)
            grad_x = grad_x.to(grads[0].dtype)
        # Parameters get this process's share; whoever averages gradients over processes adds the others'.
        return grad_x, of_weight if weight is not None else None, of_bias if ctx.has_bias else None, None, None


def _wide(values: Tensor, like: Tensor) -> Tensor:
    """`[C]` shaped to broadcast over `[N, C, ...]`."""
    return values.view(1, -1, *[1] * (like.dim() - 2))


def _moments(x: Tensor, dims: list[int], group: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Mean `[C]`, biased variance `[C]` and number of values per channel over all processes, in one message.

    Each sends what it has around its own mean (Chan, Golub & LeVeque 1979): sums of squares around zero would lose the
    variance of channels far from it.
    """
    count = x.new_full((1,), float(x.numel() // max(x.shape[1], 1)))
    mean = x.sum(dims) / count.clamp(min=1)
    around = (x - _wide(mean, x)).square().sum(dims)
    every = _gathered(torch.cat([count, mean, around]), group)
    counts, means, arounds = every[:, :1], every[:, 1 : 1 + len(mean)], every[:, 1 + len(mean) :]
    total = counts.sum(0)
    middle = (counts * means).sum(0) / total
    return middle, (arounds + counts * (means - middle).square()).sum(0) / total, total


def _gathered(values: Tensor, group: Any) -> Tensor:
    """`[processes, n]` of every process's `values` `[n]`."""
    if not _many(group):
        return values[None]
    every = [torch.empty_like(values) for _ in range(dist.get_world_size(group))]
    dist.all_gather(every, values, group=group)
    return torch.stack(every)


def _all_sum(values: Tensor, group: Any) -> Tensor:
    if _many(group):
        dist.all_reduce(values, op=dist.ReduceOp.SUM, group=group)
    return values


def _many(group: Any) -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size(group) > 1


def synchronised(norm: _BatchNorm, x: Tensor, group: Any = None) -> Tensor:
    """What `norm` gives for `x` `[N, C, ...]` in training mode, with statistics over all processes of `group`.

    Running statistics follow the mean and the unbiased variance over all processes and are therefore equal in all of them.
    Every process must call it, with at least two values per channel together; a process may have none (N = 0).
    """
    out, mean, variance, total = _Normalise.apply(x, norm.weight, norm.bias, norm.eps, group)  # type: ignore[no-untyped-call]
    if norm.track_running_stats and norm.running_mean is not None and norm.running_var is not None:
        assert norm.num_batches_tracked is not None
        with torch.no_grad():
            norm.num_batches_tracked.add_(1)
            share = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            unbiased = variance * (total / (total - 1).clamp(min=1))
            norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
            norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), share)
    result: Tensor = out
    return result


@cache
def _synchronised_kind(kind: type[_BatchNorm], group: Any) -> type[_BatchNorm]:
    """The same kind of layer with another forward; a class and not a patched method, so that copies of a layer work."""

    def forward(self: _BatchNorm, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not self.training:
            result: Tensor = kind.forward(self, x, *args, **kwargs)
            return result
        out = synchronised(self, x, group)
        for name in ("drop", "act"):  # timm's BatchNormAct2d applies these itself
            part = getattr(self, name, None)
            out = part(out) if isinstance(part, nn.Module) else out
        return out

    return type(f"Synchronised{kind.__name__}", (kind,), {"forward": forward, "__module__": kind.__module__})


@contextmanager
def sync_batchnorm(net: nn.Module, group: Any = None) -> Iterator[None]:
    """Within the block every BatchNorm of `net` that is in training mode uses statistics over all processes of `group`.

    Layers in eval mode, and everything when there is one process, behave as ever. Parameters, buffers, names and modules
    stay the same objects, so optimisers and checkpoints notice nothing.
    """
    norms = [part for part in net.modules() if isinstance(part, _BatchNorm)]
    kinds = [type(norm) for norm in norms]
    try:
        if _many(group):
            for norm in norms:
                norm.__class__ = _synchronised_kind(type(norm), group)  # type: ignore[arg-type]
        yield
    finally:
        for norm, kind in zip(norms, kinds, strict=True):
            norm.__class__ = kind
