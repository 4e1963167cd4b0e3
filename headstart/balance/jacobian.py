"""One step for several tasks from their whole gradients, by methods of TorchJD (an extra)."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from headstart.balance.base import Balance, Groups
from headstart.balance.gradients import Gradient, add_to, combined, gradient_of, processes, products, summed
from headstart.catalog.weightings import INSTALL
from headstart.errors import ConfigError, TrainingError

_CLASSES = {
    "pcgrad": "PCGradWeighting",
    "mgda": "MGDAWeighting",
    "cagrad": "CAGradWeighting",
    "nash_mtl": "NashMTL",
    "upgrad": "UPGradWeighting",
    "dualproj": "DualProjWeighting",
    "aligned_mtl": "AlignedMTLWeighting",
    "imtl_g": "IMTLGWeighting",
    "fairgrad": "FairGradWeighting",
    "config": "ConFIG",
    "graddrop": "GradDrop",
}
"""Name -> its class in torchjd.aggregation. Those with a memory that the library keeps to itself are left out: it could
not be saved with a checkpoint."""

_WHOLE = frozenset({"config", "graddrop"})
"""Methods that make a vector of the gradients which is no weighing of them."""

_SCALE_FREE = frozenset({"upgrad", "dualproj", "cagrad"})
"""Methods whose weights do not hang on the gradients' length, but for which the library takes gradients with a squared
length below 1e-4 for zero: they are shown them at unit length."""


_START = 1e-6
"""The least that Nash-MTL's solver starts from."""


class Jacobian(Balance):
    """The shared blocks move along what a method makes of the tasks' gradients, everything else along the plain sum.

    method     one of those in `catalog/weightings.py` of the family `by gradients`
    tasks      names of the losses weighed; others add their plain gradient everywhere
    normalise  scale the weights of a step to add up to the number of tasks in it; as published they add up to 1 for most
    settings   of the method, by TorchJD's names

    Row i of the Jacobian is the gradient of task i by all parameters of the group `shared` together, summed over processes;
    heads, terms and the balance's own parameters get the gradient of the sum of losses. The scalar products of the rows are
    taken in float64. Weights are found in the first process and sent to the others, so that they are equal in all. What
    is drawn (the order of tasks in PCGrad) is drawn from the step's own stream. A task that is absent from a step has no
    row. Methods that weigh no gradients (ConFIG, GradDrop) report 1 for every task.

    Raises ConfigError when TorchJD, or what a method needs besides, is not installed.
    """

    memory: Tensor

    def __init__(self, method: str, tasks: Sequence[str], *, normalise: bool = False, **settings: Any) -> None:
        super().__init__()
        if method not in _CLASSES:
            raise ConfigError(f"weighting {method!r} is unknown; of TorchJD's there are {', '.join(_CLASSES)}")
        self.method, self.tasks, self.normalise, self.settings = method, tuple(tasks), normalise, settings
        if method in _WHOLE and normalise:
            raise ConfigError(f"weighting {method!r} has no weights to scale; leave out normalise")
        # Of Nash-MTL: the weights its solver starts from, those of the step before.
        self.register_buffer("memory", torch.ones(len(self.tasks), dtype=torch.float64))
        self._made: dict[int, Any] = {}
        self._aggregator(len(self.tasks))

    def backward(self, losses: Mapping[str, Tensor], groups: Groups, step: int) -> dict[str, float]:
        shared = list(groups.get("shared", ()))
        rest = [parameter for name, group in groups.items() if name != "shared" for parameter in group]
        there = [place for place, name in enumerate(self.tasks) if name in losses]
        others = [loss for name, loss in losses.items() if name not in self.tasks]
        order = [losses[self.tasks[place]] for place in there] + others
        found = [gradient_of(loss, [*shared, *rest], keep=number + 1 < len(order)) for number, loss in enumerate(order)]
        rows, plain = (
            [one[: len(shared)] for one in found[: len(there)]],
            [one[: len(shared)] for one in found[len(there) :]],
        )
        used = self._step(rows, there)
        weights = [1.0] * len(there) if isinstance(used, list) else used.tolist()
        rows, scales = ([used], [1.0]) if isinstance(used, list) else (rows, weights)
        if order:
            add_to(shared, combined([*rows, *plain], [*scales, *[1.0] * len(plain)]))
            add_to(rest, combined([one[len(shared) :] for one in found], [1.0] * len(order)))
        known = dict(zip((self.tasks[place] for place in there), weights, strict=True))
        return {name: known.get(name, 1.0) for name in losses}

    def _step(self, rows: Sequence[Gradient], there: Sequence[int]) -> Tensor | list[Tensor | None]:
        """What to weigh the rows by `[P]`, or for methods that weigh nothing this process's part of the gradient.

        Raises TrainingError when the method's solver fails.
        """
        total = summed(rows)
        gram = products(total).cpu()
        if not 0 < float(gram.trace()) < float("inf"):
            # Nothing pulls anywhere, or something is not finite, which the loop tells by the losses: no case for a solver.
            return torch.ones(len(rows), dtype=torch.float64)
        try:
            with warnings.catch_warnings():
                # About how a library states its problem, and divisions on the way to a solution; none is the user's doing.
                warnings.simplefilter("ignore")
                if self.method in _WHOLE:
                    return self._vector(total)
                weights = self._weights(gram, there)
        except Exception as error:  # every solver has exceptions of its own
            raise TrainingError(
                f"weighting {self.method!r} found no step for the gradients of {', '.join(self.tasks[at] for at in there)} "
                f"({type(error).__name__}: {error}). Choose another weighting; the last checkpoint is kept"
            ) from error
        if processes() > 1:
            # Not every method's solver, nor what it draws, is the same in all processes.
            held = next(one for row in total for one in row if one is not None)
            sent = weights.to(held.device)
            dist.broadcast(sent, src=0)
            weights = sent.cpu()
        if self.method == "nash_mtl":
            self.memory[torch.tensor(there, device=self.memory.device)] = weights[len(rows) :].to(self.memory.device)
            weights = weights[: len(rows)]
        if self.normalise and float(weights.sum()) > 0:
            weights = weights * (len(weights) / weights.sum())
        return weights

    def _weights(self, gram: Tensor, there: Sequence[int]) -> Tensor:
        """`[P]` float64 from the rows' scalar products; of Nash-MTL `[2 P]`, its memory follows."""
        made = self._aggregator(len(gram))
        if self.method == "nash_mtl":
            return self._bargained(made.weighting, gram, there)
        weights: Tensor = made(gram / gram.trace() if self.method in _SCALE_FREE else gram)
        return weights.double()

    def _bargained(self, weighting: Any, gram: Tensor, there: Sequence[int]) -> Tensor:
        """Nash-MTL sees a matrix with the rows' scalar products: its symmetric root, as small as the number of tasks.

        A task that is alone has nobody to bargain with, which the library cannot state as its problem: the solution is 1,
        then cut to the longest gradient allowed.
        """
        if len(gram) == 1:
            longest, length = float(weighting.max_norm), float(gram.sqrt())
            alone = longest / length if 0 < longest < length else 1.0
            return torch.tensor([alone, *self.memory.cpu()[list(there)].tolist()], dtype=torch.float64)
        values, vectors = torch.linalg.eigh(gram)
        root = vectors * values.clamp(min=0).sqrt() @ vectors.T
        # The solver divides by where it starts from: from a zero, which it may have ended at, it would never come back.
        weighting.prvs_alpha = self.memory.cpu()[list(there)].clamp(min=_START).numpy()
        weights: Tensor = weighting(root)
        return torch.cat([weights.double(), torch.as_tensor(weighting.prvs_alpha, dtype=torch.float64)])

    def _vector(self, rows: Sequence[Gradient]) -> list[Tensor | None]:
        """The method's gradient in the first process and nothing in the others: gradients are summed over them."""
        shapes = [next((one for one in column if one is not None), None) for column in zip(*rows, strict=True)]
        flat = torch.stack(
            [
                torch.cat(
                    [
                        (torch.zeros_like(shape) if one is None else one).reshape(-1)
                        for one, shape in zip(row, shapes, strict=True)
                        if shape is not None
                    ]
                )
                for row in rows
            ]
        )
        found = self._aggregator(len(rows))(flat)
        if processes() > 1 and dist.get_rank() != 0:
            found = torch.zeros_like(found)
        parts = iter(torch.split(found, [shape.numel() for shape in shapes if shape is not None]))
        return [None if shape is None else next(parts).view_as(shape) for shape in shapes]

    def _aggregator(self, rows: int) -> Any:
        """The method for this many rows; made once."""
        if rows not in self._made:
            sized = {"n_tasks": rows} if self.method == "nash_mtl" else {}
            self._made[rows] = _make(self.method, {**sized, **self.settings})
        return self._made[rows]


def _make(method: str, settings: Mapping[str, Any]) -> Any:
    """A method of TorchJD. Raises ConfigError when it, or what the method needs besides, cannot be imported."""
    try:
        kind = getattr(importlib.import_module("torchjd.aggregation"), _CLASSES[method])
        return kind(**settings)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"weighting {method!r} needs TorchJD and its solvers, which cannot be used as they are ({error}):\n  {INSTALL}"
        ) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"weighting {method!r} cannot be made with {dict(settings)}: {error}") from error
