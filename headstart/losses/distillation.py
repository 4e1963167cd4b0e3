"""Losses of a student's logits against a teacher's. Pure functions; float32 at least inside, also under autocast.

Temperatures T > 0 divide the logits of both. Gradients of the soft losses shrink like 1 / T^2; whoever adds them to others
multiplies them by T^2 (Hinton, Vinyals & Dean 2015), which no function here does.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.losses.precision import full


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """`[N]` cross-entropy of softmax(student / T) against softmax(teacher / T), both logits `[N, C]`.

    No distance: at its smallest it is the teacher's `entropy`. Its gradient for the student is that of `soft_kl`.
    """
    target = torch.softmax(full(teacher) / temperature, 1)
    return -(target * F.log_softmax(full(student) / temperature, 1)).sum(1)


def soft_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """`[N]` Kullback-Leibler divergence of softmax(student / T) from softmax(teacher / T), both logits `[N, C]`.

    Its mean over samples is what torch calls `batchmean`; torch's `mean` is C times smaller. A teacher's logit may be -inf
    (a class that it excludes).
    """
    log_p, log_q = (F.log_softmax(full(logits) / temperature, 1) for logits in (teacher, student))
    p = log_p.exp()
    return (p * (log_p.masked_fill(p == 0, 0) - log_q)).sum(1)


def entropy(logits: Tensor, temperature: float) -> Tensor:
    """`[N]` entropy (nats) of softmax(logits / T), logits `[N, C]`. For large T it is about ln C - Var(logits) / (2 T^2)."""
    log_p = F.log_softmax(full(logits) / temperature, 1)
    p = log_p.exp()
    return -(p * log_p.masked_fill(p == 0, 0)).sum(1)


def hard_distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """`[N]` cross-entropy of the student at T = 1 against the teacher's most likely class (Touvron et al. 2021, eq. 3)."""
    return F.cross_entropy(full(student), teacher.argmax(1), reduction="none")


def standardise(logits: Tensor, eps: float = 1e-2) -> Tensor:
    """Every row of `[N, C]` shifted to mean 0 and divided by its standard deviation (Sun et al. 2024, algorithm 1).

    eps  is added to the variance and bounds the gradient by 1 / sqrt(eps). Headstart's heads start at zero, where logits are
         equal and the gradient has no bound: students on digits from such heads reached 14 % with eps=1e-14, 83 % with 1e-5
         and 94 % with 1e-2. Logits that spread by 1 are 0.5 % smaller for it

    The standard deviation is the paper's (over C values); its authors' code divides by C - 1 and adds 1e-7 to it.
    """
    wide = full(logits)
    centred = wide - wide.mean(1, keepdim=True)
    return centred * (centred.square().mean(1, keepdim=True) + eps).rsqrt()
