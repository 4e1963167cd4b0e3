"""The five requirements of learning without forgetting, side by side for every arm, as a drawing and in figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import SMALL
from headstart.report.distill_tables import Row
from headstart.report.extend_read import Arm, Measured
from headstart.report.svg import TEXT, Scale, both, drawing, fit, label, line, tag, text_width

KINDS = 8
"""Colours of parts; further parts begin again."""


@dataclass(frozen=True)
class Entry:
    """One bar: its length as a share of its column, its interval and a mark in the same measure, and its texts."""

    text: str
    share: float | None
    span: tuple[float, float] | None = None
    mark: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Column:
    """One requirement with an entry per arm."""

    head: str
    below: str
    entries: Sequence[Entry]


@dataclass(frozen=True)
class Needs:
    """The section. `told` pairs each requirement with the run's sentence about it."""

    lead: str
    plot: Markup
    key: str
    told: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    measures: Sequence[Row]


HEADS = ("New task", "Old tasks kept", "Old data needed", "Training", "To store")


def needs(arms: Sequence[Arm], sentences: Sequence[str], agnostic: bool, old: bool) -> Needs | None:
    """All five for every arm; None without arms.

    agnostic  the task is not known when answering: the new task's accuracy is drawn that way where it was measured
    old       whether there are tasks from before at all
    """
    if not arms:
        return None
    found = columns(arms, agnostic, old)
    rate = "the task not known" if agnostic else "the task known"
    lead = "What each way gives and what it asks for: long bars are good in the first two columns, short ones in the others."
    marked = any(one.mark is not None for one in found[1].entries)
    key = f"Accuracies on test images, {rate}; thin lines are 95{words.NARROW}% intervals."
    key += " The upright mark is where the old tasks stood before." if marked else ""
    key += " Training counts all floating-point operations of all parts; storing, all that the next task or an answer needs."
    told = list(zip(HEADS, map(_told, sentences), strict=False))
    return Needs(
        lead,
        both(lambda width: table_of_bars(found, [arm.label for arm in arms], [bool(arm.bound) for arm in arms], width)),
        key,
        told,
        [_row(arm, agnostic, old) for arm in arms],
        [_measures(arm) for arm in arms],
    )


def _told(text: str) -> str:
    """The run's sentence without the name of the requirement, which stands beside it."""
    head, colon, rest = text.partition(": ")
    return plain(rest if colon and len(head) < 20 else text)


def plain(text: str) -> str:
    """A sentence of the run with its figures as on the rest of the page."""
    text = re.sub(r"(?<=\d)%", f"{words.NARROW}%", words.grouped(text))
    return words.sentence(re.sub(r"(?<![\w.])-(?=\d)", words.MINUS, text))


def columns(arms: Sequence[Arm], agnostic: bool, old: bool) -> list[Column]:
    """The five requirements."""
    missing = "not judged" if old else "no old task"
    return [
        Column(HEADS[0], "accuracy", [_share(_new(arm, agnostic), "not judged") for arm in arms]),
        Column(HEADS[1], "accuracy", [_kept(arm, agnostic, missing) for arm in arms]),
        Column(HEADS[2], "bytes", _amounts([arm.old_bytes for arm in arms], _bytes)),
        Column(HEADS[3], "operations", _amounts([arm.training for arm in arms], words.flop)),
        Column(HEADS[4], "bytes", _amounts([arm.stored for arm in arms], _bytes)),
    ]


def _new(arm: Arm, agnostic: bool) -> Measured | None:
    return (arm.new_agnostic or arm.new) if agnostic else arm.new


def _kept(arm: Arm, agnostic: bool, missing: str) -> Entry:
    """With the task not known, where that was measured."""
    if agnostic and arm.agnostic_after is not None and not arm.listed:
        return _share(arm.agnostic_after, missing)
    return _share(arm.after, missing, arm.before, arm.change)


def _share(one: Measured | None, missing: str, before: Measured | None = None, change: Measured | None = None) -> Entry:
    if one is None:
        return Entry(missing, None)
    note = words.points(change.mean, sign=True).replace(" points", "").replace(" point", "") if change else ""
    return Entry(one.percent, one.mean, one.span, before.mean if before else None, note)


def _amounts(values: Sequence[float | None], unit: Callable[[float | None], str]) -> list[Entry]:
    most = max((value for value in values if value is not None), default=0.0) or 1.0
    return [Entry("not counted", None) if value is None else Entry(unit(value), value / most) for value in values]


def _bytes(value: float | None) -> str:
    return "none" if value == 0 else words.size(value)


# --- the drawing -----------------------------------------------------------------------------------------------------------


def table_of_bars(found: Sequence[Column], names: Sequence[str], bounds: Sequence[bool], width: float) -> Markup:
    """On a desktop a row per arm and a column per requirement; on a phone the requirements one below the other."""
    spoken = "; ".join(
        f"{name}: {', '.join(f'{column.head} {column.entries[at].text}' for column in found)}"
        for at, name in enumerate(names)
    )
    draw = _stacked if width < 500 else _beside
    height, parts = draw(found, names, bounds, width)
    return drawing(width, height, f"Five requirements for every arm: {spoken}", *parts)


def _beside(
    found: Sequence[Column], names: Sequence[str], bounds: Sequence[bool], width: float
) -> tuple[float, list[Markup]]:
    gutter = min(150.0, 14 + max(text_width(name, TEXT) for name in names))
    step, gap, head = 42.0, 16.0, 40.0
    wide = (width - gutter - gap * (len(found) - 1)) / len(found)
    bottom = head + step * len(names)
    parts = [line(0, head + step * at, width, head + step * at, "grid") for at in range(len(names))]
    for at, name in enumerate(names):
        parts.append(label(0, head + step * at + 25, fit(name, gutter - 10, TEXT), class_=_named(bounds[at])))
    for place, column in enumerate(found):
        left = gutter + place * (wide + gap)
        parts.append(label(left, 15, column.head, class_="name best", size=12.5))
        parts.append(label(left, 30, column.below, class_="muted", size=SMALL))
        for at, entry in enumerate(column.entries):
            parts += _bar(entry, left, head + step * at + 7, wide, bounds[at])
    return bottom + 2, parts


def _stacked(
    found: Sequence[Column], names: Sequence[str], bounds: Sequence[bool], width: float
) -> tuple[float, list[Markup]]:
    step, top, parts = 36.0, 4.0, []
    for column in found:
        parts.append(label(0, top + 14, column.head, class_="name best", size=14))
        parts.append(label(text_width(column.head, 14) * 1.1 + 10, top + 14, column.below, class_="muted", size=SMALL))
        top += 22
        for at, entry in enumerate(column.entries):
            room = width - 12 - text_width(entry.text + entry.note, 12.5)
            parts.append(label(0, top + 15, fit(names[at], room, TEXT), class_=_named(bounds[at])))
            parts += _bar(entry, 0, top + 3, width, bounds[at], right=True)
            top += step
        top += 18
    return top - 14, parts


def _named(bound: bool) -> str:
    return "name faint" if bound else "name"


def _bar(entry: Entry, left: float, top: float, wide: float, bound: bool, right: bool = False) -> list[Markup]:
    """The figure above, the bar below it, over a track as long as it could be."""
    x, anchor = (left + wide, "end") if right else (left, None)
    kind = "muted" if entry.share is None else "value"
    shown = f"{entry.text}  ({entry.note})" if entry.note and right else entry.text
    parts = [label(x, top + 12, shown, class_=kind, anchor=anchor, size=12.5)]
    if entry.note and not right:
        parts.append(label(left + wide, top + 12, entry.note, class_="note", anchor="end", size=SMALL))
    if entry.share is None:
        return parts
    y, scale = top + 18, Scale(0, 1, left, left + wide)
    parts.append(tag("rect", x=left, y=y, width=wide, height=9, rx=2, class_="track"))
    length = min(max(entry.share, 0.0), 1.0) * wide
    if length > 0:
        least = max(length, 1.5)  # what is there is seen to be there
        parts.append(tag("rect", x=left, y=y, width=least, height=9, rx=2, class_=f"need{' bound' if bound else ''}"))
    if entry.span:
        low, high = (scale(min(max(end, 0.0), 1.0)) for end in entry.span)
        parts.append(line(low, y + 4.5, high, y + 4.5, "need-span"))
        parts += [line(end, y + 1.5, end, y + 7.5, "need-span") for end in (low, high)]
    if entry.mark is not None:
        parts.append(line(scale(entry.mark), y - 3, scale(entry.mark), y + 12, "need-mark"))
    return parts


# --- in figures ------------------------------------------------------------------------------------------------------------


def tagged(arm: Arm) -> tuple[str, str]:
    """What stands beside an arm's name, and the class of that tag."""
    return (arm.bound, "") if arm.bound else ("", "")


def _row(arm: Arm, agnostic: bool, old: bool) -> Row:
    new, other = (arm.new_agnostic, arm.new) if agnostic and arm.new_agnostic else (arm.new, arm.new_agnostic)
    beside = f"{other.percent} with the task {'known' if new is arm.new_agnostic else 'not known'}" if other and new else ""
    missing = "not judged" if old else "no old task"
    cells = [
        _cell(HEADS[0], new, beside, "not judged"),
        _cell(HEADS[1], arm.after, _changed(arm), missing),
        (HEADS[2], _bytes(arm.old_bytes), _old(arm)),
        (HEADS[3], words.flop(arm.training), f"{words.flop(arm.inference)} an answer" if arm.inference else ""),
        (HEADS[4], _bytes(arm.stored), f"{words.compact(arm.parameters)} weights" if arm.parameters else ""),
    ]
    seeds = words.plural(arm.seeds, "seed") if arm.seeds > 1 else ""
    took = f"{words.duration(arm.seconds)} of training" if arm.seconds is not None else ""
    family = arm.family if arm.family != "bound" else ""
    below = ", ".join(filter(None, (family, seeds, took)))
    return Row(arm.label, cells, *tagged(arm), below=below)


def _cell(head: str, one: Measured | None, below: str, missing: str) -> tuple[str, str, str]:
    if one is None:
        return head, missing, ""
    return head, one.percent, "; ".join(filter(None, (one.between, below)))


def _changed(arm: Arm) -> str:
    if arm.change is None:
        return ""
    span = f" ({words.points_range(arm.change.span)})" if arm.change.span else ""
    return f"{words.points(arm.change.mean, sign=True)}{span}"


def _old(arm: Arm) -> str:
    images = words.plural(arm.old_images, "image") if arm.old_images else ""
    return ", ".join(filter(None, (images, arm.old_what if arm.old_what != "none" else "")))


def _measures(arm: Arm) -> Row:
    def lost(one: Measured | None) -> tuple[str, str]:
        if one is None:
            return words.UNKNOWN, ""
        return words.points(one.mean, sign=True), words.points_range(one.span) if one.span else ""

    average = (arm.overall.percent, arm.overall.between) if arm.overall else (words.UNKNOWN, "")
    free = None if arm.alike else arm.average if arm.listed else arm.agnostic_average
    unknown = [(f"Average, task {'' if arm.listed else 'not '}known", free.percent, free.between)] if free else []
    cells = [
        ("Average accuracy", *average),
        *unknown,
        ("Forgetting", *lost(arm.forgetting)),
        ("Backward transfer", *lost(arm.backward)),
    ]
    return Row(arm.label, cells, *tagged(arm))


# --- what compute and storage add up of ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """Stacked bars with their legend: pairs of a colour's class and a part's name; `table` says the same in figures."""

    title: str
    plot: Markup
    legend: Sequence[tuple[str, str]]
    table: Sequence[tuple[str, Sequence[tuple[str, str]]]]


def parts_of(arms: Sequence[Arm]) -> list[Parts]:
    """Training by part and storage by part, as far as the run counted them."""
    training = [(arm.label, arm.training_parts) for arm in arms]
    stored = [(arm.label, arm.stored_parts) for arm in arms]
    found = (
        _parts("Training, in floating-point operations", words.flop, training),
        _parts("To store, in bytes", words.size, stored),
    )
    return [one for one in found if one is not None]


def _parts(title: str, unit: Callable[[float | None], str], rows: Sequence[tuple[str, Mapping[str, float]]]) -> Parts | None:
    rows = [(name, parts) for name, parts in rows if parts]
    names = list(dict.fromkeys(part for _, parts in rows for part in parts))
    if not rows:
        return None
    kinds = {name: f"part p{place % KINDS}" for place, name in enumerate(names)}
    plot = both(partial(_stack, rows, kinds, unit, title))
    table = [
        (name, [*((part, unit(value)) for part, value in parts.items()), ("together", unit(sum(parts.values())))])
        for name, parts in rows
    ]
    return Parts(title, plot, [(kinds[name], name) for name in names], table)


def _stack(
    rows: Sequence[tuple[str, Mapping[str, float]]],
    kinds: Mapping[str, str],
    unit: Callable[[float | None], str],
    title: str,
    width: float,
) -> Markup:
    narrow = width < 500
    gutter = 0.0 if narrow else min(150.0, 14 + max(text_width(name, TEXT) for name, _ in rows))
    step, room = (38.0, 0.0) if narrow else (28.0, 92.0)
    scale = Scale(0, max(sum(parts.values()) for _, parts in rows), 0, width - gutter - room)
    drawn = []
    for place, (name, parts) in enumerate(rows):
        top, total = step * place, unit(sum(parts.values()))
        y, x = (top + 20 if narrow else top + 7), gutter
        drawn.append(
            label(0, top + (14 if narrow else 19), fit(name, (width - 100) if narrow else gutter - 10), class_="name")
        )
        for part, value in parts.items():
            long = scale(value)
            drawn.append(tag("rect", x=x, y=y, width=max(long - 0.6, 0.4), height=14, class_=kinds[part]))
            x += long
        drawn.append(label(width, top + (14 if narrow else 19), total, class_="value", anchor="end", size=12.5))
    spoken = "; ".join(f"{name} {', '.join(f'{k} {unit(v)}' for k, v in parts.items())}" for name, parts in rows)
    return drawing(width, step * len(rows) + 2, f"{title}: {spoken}", *drawn)
