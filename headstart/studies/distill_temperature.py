"""What the temperature does to a teacher's answers: their entropy, the share of the gradient, and examples; T by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.data.task import Task
from headstart.errors import ConfigError
from headstart.metrics.distillation import log_softmax, mean_entropy

Floats = NDArray[np.float64]
GRID = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 14.0, 20.0, 28.0, 40.0)
"""Temperatures of the curves."""
SHOWN = (1.0, 2.0, 4.0, 10.0, 20.0, 40.0)
"""Temperatures at which examples are shown."""
EXAMPLES, _TOP = 6, 5
_LEAST, _MOST = 1e-3, 1e4
"""Where an automatic temperature is looked for."""


def entropy_share(logits: ArrayLike, temperature: float) -> float:
    """Mean entropy of softened answers `[N, C]` as a share of the largest, ln C."""
    return mean_entropy(logits, temperature) / math.log(np.shape(logits)[1])


def find_temperature(logits: ArrayLike, target: float) -> float:
    """The temperature at which `entropy_share` is `target`, to three digits.

    Entropy grows with T (dH/dT = Var(z) / T^3), so bisection finds the only one. Raises ConfigError when no temperature
    does, as with a teacher that answers all classes alike.
    """
    low, high = math.log(_LEAST), math.log(_MOST)
    ends = [entropy_share(logits, math.exp(end)) for end in (low, high)]
    if not ends[0] < target < ends[1]:
        raise ConfigError(
            f"--temperature auto: no temperature gives the teacher's answers {target:.0%} of the largest entropy (they have "
            f"{ends[0]:.1%} to {ends[1]:.1%}); give a number, or another --target-entropy"
        )
    while high - low > 1e-5:
        middle = (low + high) / 2
        if entropy_share(logits, math.exp(middle)) < target:
            low = middle
        else:
            high = middle
    return float(f"{math.exp((low + high) / 2):.3g}")


def soft_gradient_share(
    logits: ArrayLike, labels: ArrayLike, temperature: float, share: float, *, kind: str = "soft"
) -> float:
    """How much of the loss's gradient the soft term has at the beginning, when the student answers all classes alike.

    The mean over images of |soft| / (|soft| + |hard|), the norms of lambda T (q - p_T) and (1 - lambda) (q - y), which are
    the gradients of the two terms in the student's logits. For `kind="hard"` the first is lambda (q - teacher's class).
    """
    answers, truth = np.asarray(logits, np.float64), np.asarray(labels)
    classes = answers.shape[1]
    own = np.eye(classes)
    even = np.full((1, classes), 1 / classes)
    if kind == "hard":
        soft = share * (even - own[answers.argmax(1)])
    else:
        soft = share * temperature * (even - np.exp(log_softmax(answers, temperature)))
    hard = (1 - share) * (even - own[truth])
    first, second = np.linalg.norm(soft, axis=1), np.linalg.norm(hard, axis=1)
    return float(np.mean(first / np.maximum(first + second, np.finfo(np.float64).tiny)))


def temperature_record(
    logits: ArrayLike, labels: ArrayLike, value: float, share: float, *, automatic: bool, target: float, kind: str
) -> dict[str, Any]:
    """The chosen temperature among others: entropy of the teacher's answers and share of the gradient at each."""
    return {
        "value": value,
        "automatic": automatic,
        "target_entropy": target if automatic else None,
        "by": [
            {
                "t": t,
                "entropy_mean": entropy_share(logits, t),
                "soft_gradient_share": soft_gradient_share(logits, labels, t, share, kind=kind),
            }
            for t in sorted({*GRID, value})
        ],
    }


def choose_examples(logits: ArrayLike, labels: ArrayLike, count: int = EXAMPLES) -> NDArray[np.int64]:
    """Positions of a few images, from the one that the teacher is surest of to the one it doubts most, of several classes.

    Those at evenly spread ranks of the entropy; of a class that was shown already the next in rank is taken.
    """
    p = log_softmax(logits)
    order = np.argsort(-(np.exp(p) * p).sum(1), kind="stable")
    truth = np.asarray(labels)
    chosen: list[int] = []
    for rank in np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int):
        near = sorted(range(len(order)), key=lambda place, rank=rank: (abs(place - int(rank)), place))  # type: ignore[misc]
        fresh = [int(order[place]) for place in near[: max(10, len(order) // 10)] if int(order[place]) not in chosen]
        shown = {int(truth[one]) for one in chosen}
        chosen.append(next((one for one in fresh if int(truth[one]) not in shown), fresh[0] if fresh else int(order[rank])))
    return np.array(list(dict.fromkeys(chosen)), np.int64)


def example_records(
    logits: ArrayLike, task: Task, places: Sequence[int] | NDArray[np.int64], value: float
) -> list[dict[str, Any]]:
    """Softened answers about chosen images; `image` is the place of its thumbnail."""
    answers = np.asarray(logits, np.float64)
    found = []
    for number, place in enumerate(places):
        soft = [{"t": t, "top": _top(answers[int(place)], t, task.classes)} for t in sorted({*SHOWN, value})]
        found.append({"image": number, "label": task.classes[int(task.targets[int(place)])], "soft": soft})
    return found


def _top(logits: Floats, temperature: float, classes: Sequence[str]) -> list[dict[str, Any]]:
    p = np.exp(log_softmax(logits[None], temperature))[0]
    return [{"class": classes[at], "p": float(p[at])} for at in np.argsort(-p, kind="stable")[:_TOP]]
