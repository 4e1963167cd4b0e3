"""The figures of a study of layers, beside the paper's own: accuracy by cut, change against base, and what drops where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.folder import interval, number, rows_of
from headstart.report.layer_charts import Mark, Trace, layer_chart, sample
from headstart.report.svg import both
from headstart.transferability import yosinski2014

AXIS = "layers taken over (n)"


@dataclass(frozen=True)
class Kind:
    """What a kind of networks is called, what it is, and how it is drawn."""

    name: str
    what: str
    style: str
    shape: str


KINDS = {
    "base": Kind("base", "learned on the target's half alone", "base", "circle"),
    "selffer": Kind("BnB", "n layers from a network of the same half, frozen", "same", "circle"),
    "transfer": Kind("AnB", "n layers from a network of the other half, frozen", "other", "square"),
    "selffer+": Kind("BnB+", "as BnB, but fine-tuned", "same plus", "circle"),
    "transfer+": Kind("AnB+", "as AnB, but fine-tuned", "other plus", "square"),
    "random": Kind("random", "n layers left at random, frozen", "random", "triangle"),
}
"""Kinds of networks in the order of the key."""

HALVES = {
    "like": Kind("like halves", "AnB, classes dealt out at random", "other", "square"),
    "unlike": Kind("unlike halves", "AnB, classes of different kinds", "unlike", "diamond"),
    "given": Kind("the halves given", "AnB", "same", "square"),
}
"""Halves of the classes, and how AnB of each is drawn beside the others."""

DROPS = {
    "coadaptation": Kind("co-adaptation", "base minus BnB: layers that had learned together were parted", "same", "circle"),
    "specificity": Kind("specificity", "BnB minus AnB: the features are specific to the other half", "other", "square"),
}


@dataclass(frozen=True)
class Panel:
    """One picture of a figure under a heading of its own."""

    title: str
    picture: Markup


@dataclass(frozen=True)
class Figure:
    """A section: what is seen, the key to the marks, the pictures (the paper's last) and how to read them."""

    lead: str
    key: Sequence[tuple[Markup, str, str]]
    panels: Sequence[Panel]
    caption: str


def cut_of(value: Any) -> int | None:
    """A number of layers, or None for what cannot be one."""
    found = number(value)
    return int(found) if found is not None and 0 <= found <= 10_000 and found == int(found) else None


def at(n: int) -> str:
    """n = 3, never parted."""
    return f"n{words.NARROW}={words.NARROW}{n}"


def cut_names(summary: Mapping[str, Any]) -> dict[int, str]:
    """What the last block of each cut is called."""
    return {
        n: next((one for key in ("label", "block") if isinstance(one := row.get(key), str)), "")
        for row in rows_of(summary.get("cuts"))
        if (n := cut_of(row.get("n"))) is not None
    }


def halves_of(summary: Mapping[str, Any]) -> list[str]:
    """The kinds of halves that this study has numbers of, as far as this page knows them."""
    seen = {str(row.get("halves")) for key in ("curves", "runs") for row in rows_of(summary.get(key))}
    return [name for name in HALVES if name in seen]


def first_halves(summary: Mapping[str, Any]) -> str:
    """The halves that a study separates the drops of, where it does not say: the first of those studied."""
    return next(iter(halves_of(summary)), "")


def marks(rows: Iterable[Mapping[str, Any]], value: str, span: str) -> list[Mark]:
    """The means of a curve in order of n; rows without a number are left out, of several for one n the first counts."""
    found: dict[int, Mark] = {}
    for row in rows:
        n, mean = cut_of(row.get("n")), number(row.get(value))
        if n is not None and mean is not None and abs(mean) <= 1:
            found.setdefault(n, Mark(n, mean, _inside(interval(row.get(span)))))
    return [found[n] for n in sorted(found)]


def _inside(span: tuple[float, float] | None) -> tuple[float, float] | None:
    return (max(-1.0, min(span)), min(1.0, max(span))) if span else None


def singles(summary: Mapping[str, Any], kind: str, halves: str) -> list[tuple[int, float]]:
    """`(n, accuracy)` of every single run of a kind; runs on part of the target's images stand in another figure."""
    every = rows_of(summary.get("runs"))
    whole: dict[str, float] = {}
    for row in every:
        whole[_half(row)] = max(whole.get(_half(row), 0.0), number(row.get("images")) or 0.0)
    found = []
    for row in every:
        n, accuracy = cut_of(row.get("n")), number(row.get("accuracy"))
        if (row.get("kind"), row.get("halves")) != (kind, halves) or n is None or accuracy is None:
            continue
        if (number(row.get("images")) or whole[_half(row)]) >= whole[_half(row)]:
            found.append((n, min(max(accuracy, 0.0), 1.0)))
    return found


def _half(row: Mapping[str, Any]) -> str:
    return " ".join(str(row.get(key)) for key in ("halves", "split", "target"))


def _curve(summary: Mapping[str, Any], kind: str, halves: str) -> list[Mapping[str, Any]]:
    return [row for row in rows_of(summary.get("curves")) if (row.get("kind"), row.get("halves")) == (kind, halves)]


def accuracies(summary: Mapping[str, Any]) -> Figure | None:
    """Figure 1: accuracy by cut for every kind, and the paper's own on an axis of its own."""
    names, panels, lead = cut_names(summary), [], []
    drawn: dict[str, Trace] = {}
    for halves in halves_of(summary):
        traces = []
        for key, kind in KINDS.items():
            means, runs = marks(_curve(summary, key, halves), "accuracy", "interval"), singles(summary, key, halves)
            if key != "random" and (means or runs):
                traces.append(Trace(kind.name, kind.style, kind.shape, means, runs))
        if traces:
            panels.append(Panel(f"Here, {HALVES[halves].name}", _both(traces, names)))
            of = "unlike" if halves == "unlike" else "like"
            theirs = _paper(of)
            panels.append(Panel(f"The paper, {HALVES[of].name} of ImageNet", _both(theirs, _paper_names())))
            drawn |= {trace.name: trace for trace in [*theirs, *traces]}
            lead.append(_accuracy_lead(traces, HALVES[halves].name))
    if not panels:
        return None
    caption = (
        "Here: large marks are means over splits, seeds and both directions, upright lines their intervals, small dots "
        "single runs. The paper: means; upright lines reach from the least to the most of its runs, where there were "
        "several. Each picture has an axis of its own: compare shapes, not heights. The dotted line is the mean of base."
    )
    if any("unlike" in panel.title for panel in panels):
        caption += " For unlike halves the paper's two directions (natural, man-made) are the small dots."
    return Figure(" ".join(filter(None, lead)), _key(drawn), panels, caption)


def _accuracy_lead(traces: Sequence[Trace], halves: str) -> str:
    means = {trace.name: {one.n: one.mean for one in trace.marks} for trace in traces}
    base, other = means.get("base", {}).get(0), means.get("AnB", {})
    if base is None or not other:
        return ""
    deep = max(other)
    text = f"With {halves} base gets {words.percent(base)} right, AnB with {words.plural(deep, 'frozen layer')} "
    text += words.percent(other[deep])
    plus = means.get("AnB+", {}).get(deep)
    return text + (f", fine-tuned {words.percent(plus)}." if plus is not None else ".")


def _key(drawn: Mapping[str, Trace]) -> list[tuple[Markup, str, str]]:
    what = {kind.name: kind.what for kind in [*KINDS.values(), *DROPS.values()]}
    order = [kind.name for kind in KINDS.values() if kind.name in drawn]
    return [(sample(drawn[name]), name, what[name]) for name in order]


def _both(traces: Sequence[Trace], names: Mapping[int, str], *, change: bool = False) -> Markup:
    return both(lambda width: layer_chart(traces, width, names, AXIS, change=change))


def _paper_names() -> dict[int, str]:
    return dict(enumerate(yosinski2014.layers()[:-1], start=1))


def _paper(halves: str) -> list[Trace]:
    found = []
    for key, kind in KINDS.items():
        if rows := yosinski2014.curve(key, halves):
            means = [Mark(one.n, one.accuracy, _spread(one.spread, one.runs, halves)) for one in rows]
            ways = [one for to in ("natural", "man-made") for one in yosinski2014.curve(key, halves, to)]
            found.append(Trace(kind.name, kind.style, kind.shape, means, [(one.n, one.accuracy) for one in ways]))
    return found


def _spread(spread: tuple[float, float], runs: int, halves: str) -> tuple[float, float] | None:
    """Least and most of several runs of the same thing; the two directions of the unlike halves are two things."""
    return spread if runs > 1 and halves == "like" else None


def changes(summary: Mapping[str, Any]) -> Figure | None:
    """Figure 2: change against base for like halves, unlike halves and random weights together, and the paper's."""
    ours, names = [], cut_names(summary)
    for halves, kind in HALVES.items():
        if means := _beyond_base(marks(_curve(summary, "transfer", halves), "relative", "relative_interval")):
            ours.append(Trace(kind.name, kind.style, kind.shape, means))
    drawn_random = [(h, _beyond_base(marks(_curve(summary, "random", h), "relative", "relative_interval"))) for h in HALVES]
    drawn_random = [(h, means) for h, means in drawn_random if means]
    several = len(drawn_random) > 1
    for place, (halves, means) in enumerate(drawn_random):
        name = f"random, {HALVES[halves].name}" if several else "random weights"
        ours.append(Trace(name, "random plus" if place else "random", "triangle", means))
    if not ours:
        return None
    theirs = _paper_changes("random, the paper's" if several else "random weights")
    shown = {one.name: one for one in [*ours, *theirs]}
    said = {kind.name: kind.what for kind in HALVES.values()}
    key = [(sample(one), one.name, said.get(one.name, KINDS["random"].what)) for one in shown.values()]
    panels = [
        Panel("Here", _both(ours, names, change=True)),
        Panel("The paper", _both(theirs, _paper_names(), change=True)),
    ]
    caption = (
        "Percentage points against base of the same target; zero is base itself. Here upright lines are intervals, in the "
        "paper they reach from the least to the most of its runs. Its random weights are of networks for all 1000 classes."
    )
    return Figure(_change_lead(ours), key, panels, caption)


def _beyond_base(found: Sequence[Mark]) -> list[Mark]:
    return [one for one in found if one.n > 0]


def _change_lead(traces: Sequence[Trace]) -> str:
    shared = set.intersection(*({one.n for one in trace.marks} for trace in traces))
    if not shared:
        return ""
    deep = max(shared)
    said = [
        f"{words.points(one.mean, sign=True)} for {trace.name}{_range(one)}"
        for trace in traces
        for one in trace.marks
        if one.n == deep
    ]
    return f"With {words.plural(deep, 'layer')} taken over and frozen the accuracy changes by {words.listed(said)}."


def _range(one: Mark) -> str:
    return f" ({words.points_range(one.span)})" if one.span else ""


def _paper_changes(random: str) -> list[Trace]:
    found = []
    for key, halves, kind in (
        *(("transfer", name, HALVES[name]) for name in ("like", "unlike")),
        ("random", "none", replace(KINDS["random"], name=random)),
    ):
        rows = yosinski2014.curve(key, halves)
        means = [Mark(one.n, one.relative, one.relative_spread if one.runs > 1 else None) for one in rows]
        found.append(Trace(kind.name, kind.style, kind.shape, means))
    return found


def drops(summary: Mapping[str, Any]) -> Figure | None:
    """Co-adaptation and specificity apart, each with its interval, and the paper's."""
    names, panels, leads = cut_names(summary), [], []
    drawn: dict[str, Trace] = {}
    first = first_halves(summary)
    present = {str(row.get("halves") or first) for key in DROPS for row in rows_of(summary.get(key))}
    for halves in [name for name in ("", *HALVES) if name in present]:
        traces = _drop_traces(lambda key, halves=halves: _drop_marks(summary, key, halves, first))  # type: ignore[misc]
        if traces:
            where = HALVES[halves].name if halves else ""
            panels.append(Panel(f"Here, {where}" if where else "Here", _both(traces, names, change=True)))
            leads.append(_drop_lead(traces, where))
            drawn |= {trace.name: trace for trace in traces}
    if not panels:
        return None
    panels.append(
        Panel("The paper, like halves of ImageNet", _both(_drop_traces(_paper_drops), _paper_names(), change=True))
    )
    key = [(sample(drawn[kind.name]), kind.name, kind.what) for kind in DROPS.values() if kind.name in drawn]
    caption = (
        "Percentage points lost, so that higher is worse. Upright lines: here intervals of the paired differences, in the "
        "paper from the least to the most of its pairs. Added together they are what AnB lies below base."
    )
    return Figure(" ".join(leads), key, panels, caption)


def _drop_traces(marks_of: Callable[[str], Sequence[Mark]]) -> list[Trace]:
    return [Trace(k.name, k.style, k.shape, found) for key, k in DROPS.items() if (found := marks_of(key))]


def _drop_marks(summary: Mapping[str, Any], key: str, halves: str, first: str) -> list[Mark]:
    rows = (row for row in rows_of(summary.get(key)) if str(row.get("halves") or first) == halves)
    return marks(rows, "drop", "interval")


def _paper_drops(key: str) -> list[Mark]:
    rows = yosinski2014.coadaptation() if key == "coadaptation" else yosinski2014.specificity()
    return [Mark(one.n, one.drop, one.spread) for one in rows]


def _drop_lead(traces: Sequence[Trace], where: str) -> str:
    said = []
    for trace in traces:
        worst = max(trace.marks, key=lambda one: one.mean)
        said.append(f"{trace.name} costs most at {at(worst.n)}, {words.points(worst.mean)}{_range(worst)}")
    text = words.listed(said)
    return words.sentence(f"with {where} {text}" if where else text)
