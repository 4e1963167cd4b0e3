"""What leaves the house: a network with its preprocessing inside, and what a person must know to use the file."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

import headstart
from headstart.engine.model import Model
from headstart.engine.multi_answers import Question
from headstart.errors import ModelFileError
from headstart.nets.cost import block_flops, head_macs
from headstart.nets.net import Activation, InputSpec, Net, count_parameters
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
    tasks       questions that a model for several at once answers, each with an output; none of any other
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
    tasks: tuple[Question, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """With what `from_json` does not need: format, and the input in words."""
        kept = {name: value for name, value in asdict(self).items() if name != "tasks" or value}
        return {
            "format": FORMAT,
            "version": VERSION,
            **kept,
            "inputs": {INPUT: self.shape},
            "outputs": list(self.outputs),
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
            parts = {name: kept[name] for name in Facts.__dataclass_fields__ if name != "tasks"}
            tasks = tuple(Question(**{**one, "classes": tuple(one["classes"])}) for one in kept.get("tasks", ()))
            made = {"input": InputSpec.from_json(parts["input"]), "classes": tuple(parts["classes"]), "tasks": tasks}
            return Facts(**{**parts, **made})
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"{where}: its description is damaged ({error}); export it again") from error

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs: logits and probabilities, or one per question."""
        return tuple(map(output_of, self.tasks)) or OUTPUTS

    @property
    def answers(self) -> list[str]:
        """The outputs for people, a line each."""
        if not self.tasks:
            return [f"logits and probabilities: float32 [batch, {len(self.classes)}]; class names are in the file"]
        found = []
        for one in self.tasks:
            form = "[batch]" if one.kind == "number" else f"[batch, {len(one.classes)}], probabilities"
            found.append(f"{output_of(one)}: float32 {form}; {one}")
        return found

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
    model.check_answers()
    net, head = model.net, model.card.head
    heads = dict.fromkeys(one.head for one in model.card.questions) or {head: None}
    macs = sum(block_flops(net).values()) + sum(head_macs(net, name) for name in heads)
    name = model.card.ancestors[-1].name if model.card.ancestors else "a model"
    # Heads that do not answer are not exported.
    count = count_parameters(net.blocks) + sum(count_parameters(net.head(name)) for name in heads)
    made_by = f"headstart {headstart.__version__}"
    facts = (kind, name, model.classes, net.input, model.card.fit, count, 2 * macs, fingerprint_of(net), made_by)
    return Facts(*facts, model.card.questions)


def output_of(question: Question) -> str:
    """Name of the output that answers a question: its own, unless the input is called so."""
    return f"{question.name}_answer" if question.name == INPUT else question.name


def taps_of(net: Net, questions: Sequence[Question]) -> dict[str, Any]:
    """How `Net.run` is called so that all questions can be answered from one pass."""
    reads = {tap for one in questions for tap in net.head(one.head).reads}
    return {"until": max(reads, key=net.block_names.index), "taps": reads}


def answered(net: Net, question: Question, seen: Mapping[str, Activation]) -> Tensor:
    """`[N, C]` probabilities or `[N]` numbers from one pass, as `Model.predict` gives them."""
    head, outputs = net.head(question.head), net.answer(seen, question.head).float()
    return head.numbers(outputs) if question.kind == "number" else head.probabilities(outputs)


class Deployed(nn.Module):
    """A network from stored images to answers: what `Model.probabilities` does, in one module.

    Takes uint8 `[N, S, S, 3]` (vectors: float32 `[N, D]`), gives logits and calibrated probabilities, float32 `[N, C]`; of a
    model for several questions at once, by name, what `answered` gives for each.
    """

    def __init__(self, model: Model, *, contiguous: bool) -> None:
        super().__init__()
        # A copy: the caller's network keeps its device, memory format and other heads.
        net = copy.deepcopy(model.net).cpu().eval().requires_grad_(False)
        self.questions = model.card.questions
        kept = {one.head for one in self.questions} or {model.card.head}
        for name in [name for name in net.heads if name not in kept]:
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

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor] | dict[str, Tensor]:
        """Logits and probabilities `[N, C]`; or the answers to every question."""
        x = images
        if self.image:
            x = images.to(torch.float32).sub(self.shift).mul(self.scale).permute(0, 3, 1, 2)
            x = x.contiguous() if self.contiguous else x
        if self.questions:
            seen = self.net.run(x, **taps_of(self.net, self.questions))
            return {output_of(one): answered(self.net, one, seen) for one in self.questions}
        logits = self.net(x, self.head).float()
        return logits, self.net.head(self.head).probabilities(logits)

    def example(self) -> Tensor:
        """Two samples without content, of the right shape. Two, because one would be taken for a constant."""
        side = self.net.input.size
        if self.image:
            return torch.zeros(2, side, side, len(self.net.input.mean), dtype=torch.uint8)
        return torch.zeros(2, side)
