"""Losses on what blocks put out: which blocks of a student are compared with which of a teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headstart.errors import ConfigError
from headstart.nets.cost import activation_elements
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.terms.attention_transfer import AttentionTransfer
from headstart.terms.base import Term
from headstart.terms.contrastive import Contrastive
from headstart.terms.hints import Hints
from headstart.terms.relational import Relational
from headstart.terms.teacher import Live

Pair = tuple[str, str]
"""(block of the student, block of the teacher)."""


def feature_terms(net: Net, teacher: Live, names: Sequence[str], stage: Stage, seed: int) -> dict[str, Term]:
    """The terms called `names` (`hints`, `attention`, `relational`, `contrastive`) between a student and one teacher.

    Attention is compared at every resolution, hints in the middle, relations and contrasts at the end. Weights are those of
    the terms; what they draw at first follows from `seed`. Raises ConfigError where attention is asked for and a network
    has no maps.
    """
    made: dict[str, Term] = {}
    for name in names:
        if name == "attention":
            made[name] = AttentionTransfer(net, teacher, resolutions(net, teacher.net))
        elif name == "hints":
            made[name] = Hints(net, teacher, [middle(net, teacher.net)], seed=seed)
        elif name == "relational":
            made[name] = Relational(net, teacher, [ends(net, teacher)])
        else:
            made[name] = Contrastive(net, teacher, ends(net, teacher), stage.task, seed=seed)
    return made


def places_of(net: Net) -> dict[str, int]:
    """For every resolution of the network the last block that has it, and its number of places; vectors have none."""
    last: dict[int, str] = {}
    for name in net.block_names:
        if net.info[name].layout != "nc":
            last[activation_elements(net, name) // net.info[name].channels] = name
    order = net.block_names.index
    return {name: places for places, name in sorted(last.items(), key=lambda one: order(one[1]))}


def resolutions(student: Net, teacher: Net) -> list[Pair]:
    """Each resolution's last block of the student with the teacher's of the nearest resolution."""
    ours, theirs = places_of(student), places_of(teacher)
    if not ours or not theirs:
        who = "student" if not ours else "teacher"
        raise ConfigError(f"losses=attention: the {who} has no block whose output has places to look at; leave it out")
    return [(name, min(theirs, key=lambda other: abs(math.log(theirs[other] / places)))) for name, places in ours.items()]


def middle(student: Net, teacher: Net) -> Pair:
    """The pair of blocks halfway (FitNets): by resolutions, or among all blocks where a network has none."""
    if places_of(student) and places_of(teacher):
        pairs = resolutions(student, teacher)
        return pairs[len(pairs) // 2]
    ours, theirs = student.block_names, teacher.block_names
    return ours[len(ours) // 2], theirs[len(theirs) // 2]


def ends(student: Net, teacher: Live) -> Pair:
    """What the heads read: the student's last block, and the teacher's."""
    return student.last, teacher.net.head(teacher.head).reads[-1]
