"""What leaves the house: a network with its preprocessing inside, and what a person must know to use the file."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

import headstart
from headstart.engine.model import Model
from headstart.errors import ModelFileError
from headstart.nets.cost import block_flops, head_macs
from headstart.nets.net import InputSpec, count_parameters
from headstart.studies.opening import fingerprint_of

FORMAT, VERSION = "headstart-export", 1
INPUT, OUTPUTS = "images", ("logits", "probabilities")
FITS = {
    "squash": "the whole image, squeezed",
    "pad": "the whole image in proportion, on a ground of its mean colour",
    "crop": "the largest centred square",
}


@dataclass(frozen=True)
class Facts:
    """What an exported file says about itself, besides its weights.

    kind        `onnx`, `onnx-int8` or `torch-export`; `headstart` for a saved model
    name        what its newest ancestor is called
    input       the network's `InputSpec`: size, mean and std, kind
    fit         how an image is brought to the square of that size, which stays outside the file
    parameters  of the network before it was quantised; `flops` of one image, a multiply-add counting two
    weights     fingerprint of the network's weights; two files of one model have the same
    """

    kind: str
    name: str
    classes: tuple[str, ...]
    input: InputSpec
    fit: str
    parameters: int
    flops: int
    weights: str
    made_by: str

    def to_json(self) -> dict[str, Any]:
        """With what `from_json` does not need: format, and the input in words."""
        return {
            "format": FORMAT,
            "version": VERSION,
            **asdict(self),
            "inputs": {INPUT: self.shape},
            "outputs": list(OUTPUTS),
            "preprocessing": self.preparation,
        }

    def text(self) -> str:
        """As the file holds it."""
        return json.dumps(self.to_json(), ensure_ascii=False, sort_keys=True)

    @staticmethod
    def from_json(kept: Mapping[str, Any], where: str) -> Facts:
        """The facts that a file holds. Raises ModelFileError for those of something else."""
        if kept.get("format") != FORMAT or kept.get("version") != VERSION:
            raise ModelFileError(
                f"{where} says nothing that this headstart ({headstart.__version__}) knows; export it again"
            )
        try:
            parts = {name: kept[name] for name in Facts.__dataclass_fields__}
            return Facts(**{**parts, "input": InputSpec.from_json(parts["input"]), "classes": tuple(parts["classes"])})
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"{where}: its description is damaged ({error}); export it again") from error

    @property
    def shape(self) -> str:
        """The input as `type [shape]`."""
        if self.input.kind != "image":
            return f"float32 [batch, {self.input.size}]"
        return f"uint8 [batch, {self.input.size}, {self.input.size}, {len(self.input.mean)}]"

    @property
    def preparation(self) -> str:
        """What is inside and what stays outside, for the one who calls it."""
        if self.input.kind != "image":
            return "vectors as they are"
        side = self.input.size
        how = FITS.get(self.fit, self.fit)
        return (
            f"outside: RGB, resized with antialiasing to {side} x {side} ({self.fit}: {how}); "
            "inside: normalisation, channels moved first"
        )


def facts_of(model: Model, kind: str) -> Facts:
    """What is to be said about a model written as `kind`."""
    net, head = model.net, model.card.head
    macs = sum(block_flops(net).values()) + head_macs(net, head)
    name = model.card.ancestors[-1].name if model.card.ancestors else "a model"
    # Heads that do not answer are not exported.
    count = count_parameters(net.blocks) + count_parameters(net.head(head))
    made_by = f"headstart {headstart.__version__}"
    return Facts(kind, name, model.classes, net.input, model.card.fit, count, 2 * macs, fingerprint_of(net), made_by)


class Deployed(nn.Module):
    """A network from stored images to answers: what `Model.probabilities` does, in one module.

    Takes uint8 `[N, S, S, 3]` (vectors: float32 `[N, D]`), gives logits and calibrated probabilities, float32 `[N, C]`.
    """

    def __init__(self, model: Model, *, contiguous: bool) -> None:
        super().__init__()
        # A copy: the caller's network keeps its device, memory format and other heads.
        net = copy.deepcopy(model.net).cpu().eval().requires_grad_(False)
        for name in [name for name in net.heads if name != model.card.head]:
            del net.heads[name]
        if contiguous:
            # Other runtimes know one layout; PyTorch's strides would be traced as gathers.
            net = net.to(memory_format=torch.contiguous_format)
        self.net, self.head, self.contiguous = net, model.card.head, contiguous
        self.image = net.input.kind == "image"
        self.shift: Tensor
        self.scale: Tensor
        # The very numbers of `data.views.normalise`.
        self.register_buffer("shift", torch.tensor(net.input.mean, dtype=torch.float32) * 255)
        self.register_buffer("scale", 1 / (torch.tensor(net.input.std, dtype=torch.float32) * 255))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probabilities `[N, C]`."""
        x = images
        if self.image:
            x = images.to(torch.float32).sub(self.shift).mul(self.scale).permute(0, 3, 1, 2)
            x = x.contiguous() if self.contiguous else x
        logits = self.net(x, self.head).float()
        return logits, self.net.head(self.head).probabilities(logits)

    def example(self) -> Tensor:
        """Two samples without content, of the right shape. Two, because one would be taken for a constant."""
        side = self.net.input.size
        if self.image:
            return torch.zeros(2, side, side, len(self.net.input.mean), dtype=torch.uint8)
        return torch.zeros(2, side)
