"""What stands between a backbone's features and the embeddings that are compared; it is thrown away afterwards."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from headstart.catalog.contrast import Projection
from headstart.nets.rng import forked
from headstart.seeding import seed_for


def projection(kind: Projection, width: int, dimensions: int, seed: int, *, norm: bool = True) -> nn.Module:
    """A head from features `[N, width]` to embeddings `[N, dimensions]`; with `none` they are the features themselves.

    norm  batch normalisation after each linear map, as in SimCLR's code (its paper's eq. is W2 max(0, W1 h)); without,
          the heads of MoCo (linear) and MoCo v2 (nonlinear)

    Weights follow from `seed`; the hidden layer is as wide as the features.
    """
    if kind == "none":
        return nn.Identity()
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    with forked(seed_for(seed, "terms", "projection")):
        if kind == "nonlinear":
            layers["hidden"] = nn.Linear(width, width, bias=not norm)
            layers |= {"hidden_norm": nn.BatchNorm1d(width)} if norm else {}
            layers["relu"] = nn.ReLU()
        layers["out"] = nn.Linear(width, dimensions, bias=not norm)
        layers |= {"out_norm": nn.BatchNorm1d(dimensions)} if norm else {}
    return nn.Sequential(layers)
