"""Attention transfer (Zagoruyko & Komodakis 2017): where a network looks, whatever its channels say."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from headstart.losses.places import averaged_down
from headstart.losses.precision import full


def attention_map(maps: Tensor, power: float = 2.0) -> Tensor:
    """`[N, H, W]` from activations `[N, C, H, W]`: sum over channels of |a|^power (section 3.1)."""
    return full(maps).abs().pow(power).sum(1)


def attention_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    """`[N]` mean over places of the squared difference of two attention maps `[N, H, W]`, each of length 1.

    The larger map is averaged down to the smaller one's places first. Equation 2 has the norm of the difference; as in its
    authors' code it is squared here, and divided by the number of places. A map of zeros stays one.
    """
    places = tuple(min(a, b) for a, b in zip(student.shape[1:], teacher.shape[1:], strict=True))
    ours, theirs = (_unit(averaged_down(x, places).flatten(1)) for x in (student, teacher))
    return (ours - theirs).square().mean(1)


def _unit(x: Tensor) -> Tensor:
    """Rows of length 1. By the largest entry first, whose square may be too large or too small for float32."""
    top = x.detach().amax(1, keepdim=True)
    return F.normalize(x / top.where(top > 0, 1), dim=1)
