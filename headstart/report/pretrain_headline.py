"""The headline of `headstart pretrain`: whether it paid, against starting from nothing and against another network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.report import words
from headstart.report.folder import number, rows_of
from headstart.report.pretrain_verdict import RANDOM, planned

Gaps = Sequence[Mapping[str, Any]]


def headline(found: Mapping[str, Any]) -> tuple[str, str, str]:
    """(tone, kicker, sentence) of a verdict. What was not compared is not counted as undecided, nor a rival kept quiet."""
    every = rows_of(found.get("differences"))
    gaps = [gap for gap in every if gap.get("than") == RANDOM]
    if not gaps:
        return "undecided", "Not compared", "The time did not reach for any comparison."
    better, worse = _decided(gaps, 1), _decided(gaps, -1)
    made, rival = _made(len(gaps), planned(found)), _rival(found, [gap for gap in every if gap.get("than") != RANDOM])
    if not better and not worse:
        return "undecided", "Not decided", f"Whether it is better than starting from nothing is undecided in {made}.{rival}"
    if better and worse:
        sentence = f"Better than starting from nothing in {len(better)}, worse in {len(worse)} of {made}.{rival}"
        return "decided", "It depends on the number of labels", sentence
    sure, word = (better, "better") if better else (worse, "worse")
    if len(sure) == len(gaps):
        sentence = f"It is {word} than starting from nothing in {made}.{rival}"
    else:
        sentence = f"It is {word} than starting from nothing in {len(sure)} of {made}; the others are undecided.{rival}"
    paid = f"Pretraining paid{', but less than another network' if rival else ''}" if better else "Pretraining did not pay"
    return "decided", paid, sentence


def _decided(gaps: Gaps, sign: int) -> list[Mapping[str, Any]]:
    return [gap for gap in gaps if gap.get("decided") and sign * (number(gap.get("mean")) or 0) > 0]


def _made(made: int, of: int) -> str:
    """How many comparisons there are; where time or a failure kept some from being made, of how many."""
    return f"all {made} comparisons" if made >= of else f"the {made} comparison{'s' * (made > 1)}, of {of}, that had time"


def _rival(found: Mapping[str, Any], gaps: Gaps) -> str:
    """A sentence about another network that is decidedly better somewhere, where it is most so; else empty."""
    lost = _decided(gaps, -1)
    if not lost:
        return ""
    most = min(lost, key=lambda gap: number(gap.get("mean")) or 0)
    labels = {str(one.get("name")): str(one.get("label")) for one in rows_of(found.get("networks"))}
    shares = {one.get("images"): number(one.get("share")) for one in rows_of(found.get("shares"))}
    name = labels.get(str(most.get("than")), str(most.get("than")))
    way = "probed" if most.get("kind") == "probe" else "fine-tuned"
    points = words.figures(-100 * (number(most.get("mean")) or 0))
    return (
        f" {name[:1].upper()}{name[1:]} is better than it in {len(lost)} of {len(gaps)}, by up to {points} points "
        f"({way}, {words.percent(shares.get(most.get('images')), 0)} of the labels)."
    )
