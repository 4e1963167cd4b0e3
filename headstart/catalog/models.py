"""What can be used as a backbone, without importing torch: names, sizes and nearest names.

`timm_names.txt` lists timm's pretrained networks, one per line: name, parameters in thousands (0: not known), side of the
input in pixels. It is written by `write_timm_names`, run by hand (`python -m headstart.catalog.models`) when the pinned timm
changes.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

_TORCHVISION = (
    (
        "alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161 densenet169 "
        "densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 "
        "efficientnet_b6 efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s googlenet inception_v3 "
        "maxvit_t mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small "
        "regnet_x_16gf regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf "
        "regnet_y_128gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf regnet_y_800mf "
        "regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50 resnext101_32x8d resnext101_64x4d resnext50_32x4d "
        "shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_b "
        "swin_s swin_t swin_v2_b swin_v2_s swin_v2_t vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn "
        "vit_b_16 vit_b_32 vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2 wide_resnet50_2 "
    )
    .strip()
    .split(" ")
)
"""torchvision's classification networks."""

_OWN = {"cifar_resnet8": 76, "cifar_resnet20": 270, "cifar_resnet32": 464, "cifar_resnet44": 658, "cifar_resnet56": 853}
_OWN |= {
    "resnet8": 76,
    "resnet20": 270,
    "resnet56": 853,
    "convnet8": 87,
    "vit": 461,
    "cpc_encoder": 276,
    "amdim_encoder": 582,
}
"""headstart's own networks and their parameters in thousands. `resnetN` is short for `cifar_resnetN`."""

_NOTES = {
    "vit": "; has a distillation token",
    "cpc_encoder": "; for --method cpc: each place sees one patch, no batch normalisation",
    "amdim_encoder": "; for --method amdim: maps of 7x7, 5x5 and 1x1 places",
}
_OWN_NAME = re.compile(r"(headstart:)?cifar_resnet\d+|headstart:(resnet\d+|convnet8|vit|cpc_encoder|amdim_encoder)")
"""How they are typed: without the prefix only where no library could be meant (timm's resnet26 and resnet50 are others)."""


def own_name(name: str) -> str | None:
    """The name of one of headstart's own networks without its prefix; None where another is meant.

    >>> own_name("headstart:resnet20"), own_name("resnet50")
    ('resnet20', None)
    """
    return name.removeprefix("headstart:") if _OWN_NAME.fullmatch(name) else None


@dataclass(frozen=True)
class ModelName:
    """A network that can be named as a backbone.

    name        as typed: `timm:resnet18.a1_in1k`
    kind        `embedded`, `headstart`, `timm` or `torchvision`
    params      number of parameters with the original classifier, to a thousand; None where not known
    input_size  side of the image in pixels it was made for; None where not known
    note        a word for the person who chooses
    """

    name: str
    kind: str
    params: int | None = None
    input_size: int | None = None
    note: str = ""


def own_models() -> list[ModelName]:
    """What needs no download."""
    found = [ModelName("embedded", "embedded", 272_000, 32, "trained on CIFAR-10, comes with headstart")]
    for name, thousands in _OWN.items():
        note = "weights drawn at random" + _NOTES.get(name, "")
        found.append(ModelName(f"headstart:{name}", "headstart", thousands * 1000, 32, note))
    return found


@cache
def _timm_models() -> tuple[ModelName, ...]:
    text = resources.files("headstart.catalog").joinpath("timm_names.txt").read_text(encoding="utf-8")
    found = []
    for line in text.splitlines():
        name, thousands, size = line.split()
        found.append(ModelName(f"timm:{name}", "timm", int(thousands) * 1000 or None, int(size)))
    return tuple(found)


def torchvision_names() -> list[str]:
    """torchvision's classification networks, without the prefix."""
    return list(_TORCHVISION)


def known_models() -> list[ModelName]:
    """Every network that can be named: what comes with headstart first, then torchvision's, then timm's."""
    torchvision = [ModelName(f"torchvision:{name}", "torchvision") for name in _TORCHVISION]
    return [*own_models(), *torchvision, *_timm_models()]


def nearest(name: str, n: int = 5) -> list[str]:
    """Up to `n` known names that look like `name`, best first.

    Compared without prefix and without timm's tag of the training data, unless `name` has them.
    """
    kind, _, bare = name.rpartition(":")
    wanted = bare.lower()
    shorts: dict[str, str] = {}
    for model in known_models():
        prefix, _, word = model.name.rpartition(":")
        if kind in ("timm", "torchvision", "headstart") and prefix != kind:
            continue
        short = word if "." in wanted else word.split(".")[0]
        if short not in shorts or prefix == "timm":  # a bare name means timm's where several libraries have it
            shorts[short] = f"{prefix}:{short}" if prefix else short
    likeness = difflib.SequenceMatcher(b=wanted)
    scores: dict[str, float] = {}
    for short in difflib.get_close_matches(wanted, shorts, n=50, cutoff=0.6):
        likeness.set_seq1(short)
        scores[short] = likeness.ratio()
    for short in sorted((short for short in shorts if wanted and short.startswith(wanted)), key=len)[:n]:
        scores[short] = max(scores.get(short, 0.0), 0.9)  # the beginning of a name
    ranked = sorted(scores, key=lambda short: (-scores[short], len(short), short))
    return [shorts[short] for short in ranked[:n]]


def write_timm_names(path: Path) -> int:
    """List the installed timm's pretrained networks in `path`; returns how many. Imports torch and timm; takes minutes."""
    import timm
    import torch

    params: dict[str, int] = {}
    lines = []
    for name in timm.list_models(pretrained=True):
        architecture = name.split(".")[0]
        if architecture not in params:
            try:
                with torch.device("meta"):
                    weights = timm.create_model(architecture, pretrained=False).parameters()
                params[architecture] = round(sum(weight.numel() for weight in weights) / 1000)
            except Exception:  # some networks compute with their weights as they are made, which meta tensors cannot
                params[architecture] = 0
        config = timm.models.get_pretrained_cfg(name)
        lines.append(f"{name} {params[architecture]} {config.input_size[-1] if config else 224}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)


if __name__ == "__main__":
    print(write_timm_names(Path(__file__).with_name("timm_names.txt")))
