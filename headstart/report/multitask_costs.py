"""What one network costs against a network for each task: as shares, and every way in figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.distill_tables import Row
from headstart.report.folder import number, table_of
from headstart.report.multitask_read import EACH, Arm, Found
from headstart.report.multitask_tables import tag_of
from headstart.report.svg import TEXT, Scale, both, drawing, label, tag, text_width


@dataclass(frozen=True)
class Share:
    """One cost: of the one network, of a network each, and the first as a share of the second."""

    name: str
    one: str
    other: str
    share: float


@dataclass(frozen=True)
class Costs:
    """The section."""

    lead: str
    plot: Markup | None
    rows: Sequence[Row]
    note: str


def costs(found: Found) -> Costs | None:
    """None when nothing was counted."""
    memory = any(arm.memory is not None for arm in found.together)
    rows = [_row(found, arm, memory) for arm in found.together]
    rows += [_each(found, memory)] if table_of(found.summary.get("apart")) else []
    if not rows:
        return None
    shares = list(_shares(found))
    return Costs(_lead(found, shares), both(partial(_bars, shares)) if shares else None, rows, _note(found, memory))


def _lead(found: Found, shares: Sequence[Share]) -> str:
    if not shares:
        return "What each way takes. No network of its own was trained for the tasks, so there is nothing to compare with."
    name = found.best.name if found.best else "one network"
    networks = number(table_of(found.summary.get("apart")).get("networks"))
    return f"What {name} takes, as a share of {words.count(networks)} networks for one task each; shorter is cheaper."


def _shares(found: Found) -> Iterator[Share]:
    arm, apart = found.best, table_of(found.summary.get("apart"))
    if arm is None or not apart:
        return
    inference = table_of(found.summary.get("inference"))
    one, other = (table_of(inference.get(key)) for key in ("together", "apart"))
    listed = [
        ("weights", words.compact, arm.parameters, number(apart.get("parameters"))),
        ("stored", words.size, arm.bytes, number(apart.get("bytes"))),
        ("work of an answer", words.flop, number(one.get("flops")), number(other.get("flops"))),
        ("time of an answer", words.short, _seconds(one), _seconds(other)),
        ("work of training", words.flop, arm.training, number(apart.get("flops"))),
        ("time of training", words.duration, arm.seconds, number(apart.get("seconds"))),
    ]
    for name, unit, first, second in listed:
        if first is not None and second:
            yield Share(name, unit(first), unit(second), first / second)


def _seconds(row: Mapping[str, Any]) -> float | None:
    ms = number(row.get("ms"))
    return None if ms is None else ms / 1000


def _bars(shares: Sequence[Share], width: float) -> Markup:
    """A bar per cost, a line at what a network each takes."""
    narrow = width < 500
    gutter = 0.0 if narrow else 14 + max(text_width(one.name, TEXT) for one in shares)
    size = 11.0 if narrow else 12.0
    texts = [f"{one.one} instead of {one.other}" for one in shares]
    step, room = (46.0, 8.0) if narrow else (30.0, 12 + max(text_width(text, 12) for text in texts))
    scale = Scale(0, max(1.0, *(one.share for one in shares)), gutter, width - room)
    parts = []
    for place, one in enumerate(shares):
        top = step * place
        y = top + (24 if narrow else 8)
        parts.append(label(0, top + (15 if narrow else 20), one.name, class_="name"))
        parts.append(tag("rect", x=gutter, y=y, width=scale(1) - gutter, height=14, rx=2, class_="track"))
        parts.append(tag("rect", x=gutter, y=y, width=max(scale(one.share) - gutter, 1.5), height=14, rx=2, class_="need"))
        parts.append(label(width, top + (15 if narrow else 20), texts[place], class_="note", anchor="end", size=size))
    spoken = "; ".join(f"{one.name} {words.percent(one.share, 0)}, {one.one} instead of {one.other}" for one in shares)
    return drawing(width, step * len(shares) + 4, f"Costs as shares of a network each: {spoken}", *parts)


def _row(found: Found, arm: Arm, memory: bool) -> Row:
    inference = table_of(table_of(found.summary.get("inference")).get("together")) if arm.name == found.chosen else {}
    tag_, tone = tag_of(found, arm)
    before = table_of(arm.raw.get("before"))
    cells = _cells(arm.parameters, arm.bytes, arm.training, inference, arm.seconds, before)
    cells += [("Peak memory", words.size(arm.memory), "")] if memory else []
    return Row(arm.name, cells, tag_, tone)


def _each(found: Found, memory: bool) -> Row:
    apart, inference = (table_of(found.summary.get("apart")), table_of(found.summary.get("inference")))
    weights, stored, training = (number(apart.get(key)) for key in ("parameters", "bytes", "flops"))
    below = f"{words.count(number(apart.get('networks')))} networks, added up{'; of memory the largest' if memory else ''}"
    cells = _cells(weights, stored, training, table_of(inference.get("apart")), number(apart.get("seconds")))
    cells += [("Peak memory", words.size(number(apart.get("memory"))), "")] if memory else []
    return Row(EACH, cells, below=below)


def _cells(
    weights: float | None,
    stored: float | None,
    training: float | None,
    inference: Mapping[str, Any],
    seconds: float | None,
    before: Mapping[str, Any] | None = None,
) -> list[tuple[str, str, str]]:
    low, high = number(inference.get("ms_low")), number(inference.get("ms_high"))
    flops = number(inference.get("flops"))
    spread = "" if low is None or high is None else f"{words.figures(low)} to {words.figures(high)}{words.NARROW}ms"
    below = "; ".join(filter(None, (spread, words.flop(flops) if flops is not None else "")))
    took = words.duration(seconds) if seconds is not None else ""
    if before:
        first = f"{words.flop(number(before.get('flops')))}, {words.duration(number(before.get('seconds')))}"
        took += f"; of which {first} for the networks that it began as"
    return [
        ("Weights", words.compact(weights), words.size(stored) if stored is not None else ""),
        ("All answers", words.short(_seconds(inference)), below),
        ("Training", words.flop(training), took),
    ]


def _note(found: Found, memory: bool) -> str:
    mean = f", the mean of {words.plural(found.seeds, 'seed')}" if found.seeds > 1 else ""
    text = (
        "All answers: one image through the network, or through all networks in turn, the median of repeated timings and "
        "their quartiles; timed for the saved network only. Training: floating-point operations counted, seconds "
        f"measured{mean}"
    )
    parts = [table_of(table_of(arm.raw.get("flops")).get("parts")) for arm in found.together]
    if any("task gradients" in part for part in parts):
        text += ". Further backward passes of ways that look at every task's gradient are among the operations"
    if any(len(arm.tasks) > 1 for arm in found.together):
        text += ". Comparing the tasks' gradients once per epoch, for this page, is in the seconds only"
    if memory:
        text += (
            ". Peak memory: all tensors at the fullest moment of a training step - weights, gradients, the optimiser's "
            "memory, a batch and what the backward pass keeps; on a processor counted, without what operations need for "
            "themselves"
        )
    return f"{text}."
