"""Anything that answers about images, opened to be asked: saved models, and files that headstart exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.engine.model import Model, model_folder
from headstart.engine.multi_answers import Question
from headstart.engine.step import present
from headstart.errors import ModelFileError
from headstart.export.deployed import Facts, answered, facts_of, taps_of
from headstart.export.onnx import OnnxRunner
from headstart.export.torch_export import TorchRunner
from headstart.nets.net import Net

Answer = Callable[[NDArray[Any]], tuple[NDArray[np.float32], ...]]
WEIGHTS = ("weights.safetensors", "net.json", "card.json")
"""Files of a saved model that answering needs."""


@dataclass(frozen=True)
class Runner:
    """A model that can be asked.

    name, path  as given
    facts       what it says about itself; `kind` says what runs it
    bytes       of its files
    answer      uint8 `[N, S, S, 3]` (vectors: float32 `[N, D]`) to logits and probabilities, float32 `[N, C]`; of a
                model for several questions at once to the answer to each, see `deployed.answered`
    """

    name: str
    path: Path
    facts: Facts
    bytes: int
    answer: Answer


def open_runner(path: Path, threads: int | None = None) -> Runner:
    """Open a saved model or run folder, an `.onnx` or a `.pt2` file, for the CPU.

    threads  that ONNX Runtime may use; PyTorch's number belongs to the process

    Raises ModelFileError for anything else, and for files that are damaged.
    """
    if path.is_dir():
        model = Model.load(path)
        place = model_folder(path)
        assert place is not None
        size = sum((place / name).stat().st_size for name in WEIGHTS)
        return Runner(str(path), path, facts_of(model, "headstart"), size, of_model(model))
    if not path.exists():
        raise ModelFileError(f"MODEL: {path} does not exist; give a saved model, a run folder, an .onnx or a .pt2 file")
    suffix = path.suffix.lower()
    if suffix not in (".onnx", ".pt2"):
        raise ModelFileError(f"MODEL: {path} is neither a folder with a saved model nor an .onnx or .pt2 file")
    runner = OnnxRunner(path, threads) if suffix == ".onnx" else TorchRunner(path)
    return Runner(str(path), path, runner.facts, path.stat().st_size, runner)


def of_model(model: Model) -> Answer:
    """A model's own answers, as `Model.probabilities` computes them, with the logits; or those to every question."""
    if model.card.questions:
        return _of_questions(model.net, model.card.questions)
    net, name = model.net, model.card.head
    head = net.head(name)

    def answer(samples: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            logits = net(present(torch.from_numpy(np.ascontiguousarray(samples)), net.input), name).float()
            return logits.numpy(), head.probabilities(logits).numpy()

    return answer


def _of_questions(net: Net, questions: Sequence[Question]) -> Answer:
    how = taps_of(net, questions)

    def answer(samples: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        with torch.inference_mode():
            seen = net.run(present(torch.from_numpy(np.ascontiguousarray(samples)), net.input), **how)
            return tuple(answered(net, one, seen).numpy() for one in questions)

    return answer
