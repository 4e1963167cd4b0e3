"""Decoupled knowledge distillation (Zhao et al. 2022): what a teacher says of the right class, and of the others.

With b = (p_y, 1 - p_y) and p^ the softmax over the classes other than y alone, the soft loss is
KL(teacher | student) = tckd + (1 - p_y of the teacher) nckd; decoupled, the second part no longer fades where the teacher
is sure. Pure functions; float32 at least inside, also under autocast.
"""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.losses.distillation import soft_kl
from headstart.losses.precision import full


def tckd(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """`[N]` KL between (p_y, 1 - p_y) of teacher and student at T; logits `[N, C]`, labels `[N]` (eq. 5, first part)."""
    ours, theirs = (_against_others(full(logits) / temperature, labels) for logits in (student, teacher))
    return soft_kl(ours, theirs, 1.0)


def nckd(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """`[N]` KL between teacher and student over the classes other than the label at T (eq. 5, second part).

    Computed on the other classes' logits; the authors' code takes 1000 from the label's logit instead, to the same end.
    """
    return soft_kl(_others(student, labels), _others(teacher, labels), temperature)


def _others(logits: Tensor, labels: Tensor) -> Tensor:
    """`[N, C - 1]`: every row without its label's entry."""
    places = torch.arange(logits.shape[1] - 1, device=logits.device)
    return logits.gather(1, places + (places >= labels[:, None]).long())


def _against_others(scaled: Tensor, labels: Tensor) -> Tensor:
    """`[N, 2]` logits of a question with two answers, the label and anything else."""
    return torch.stack([scaled.gather(1, labels[:, None])[:, 0], _others(scaled, labels).logsumexp(1)], 1)
