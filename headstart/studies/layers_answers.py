"""From finished runs to curves, to what the paper separates, to its three questions and its claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from headstart.metrics.paired import Difference, holm_differences
from headstart.studies.layers_paired import Floats, Mean, Unit, along, estimate, mean_of, pooled
from headstart.studies.layers_plan import Cut, Run

KINDS = ("selffer", "transfer", "selffer+", "transfer+", "random")
LETTERS = {"selffer": "BnB", "transfer": "AnB", "selffer+": "BnB+", "transfer+": "AnB+", "random": "random"}
GENERAL = 0.02
"""A layer counts as general when its specificity is below two points at the upper end of its interval."""
SUDDEN = 0.6
"""A change is called sudden when one layer makes this share of it."""


@dataclass(frozen=True)
class Table:
    """Finished runs: which test images each answered rightly."""

    right: Mapping[Run, Floats]
    cuts: Sequence[Cut]

    @property
    def halves(self) -> list[str]:
        """Kinds of halves studied, the one that the paper's main figure shows first."""
        return sorted({run.halves for run in self.right}, key=["like", "given", "unlike"].index)

    def units(self, halves: str, minus: tuple[str, str], n: int, images: int = 0) -> list[Unit]:
        """Pairs of runs at cut `n`: the first kind less the second, of the same target, split and seed.

        minus  kinds; the second may be `base`, which has no cut, or empty: the first alone
        """
        found = []
        for run, values in self.right.items():
            if (run.halves, run.kind, run.images) != (halves, minus[0], images) or run.n != (n if minus[0] != "base" else 0):
                continue
            other = self._partner(run, minus[1]) if minus[1] else np.zeros(1)
            if other is not None:
                found.append(Unit((run.target, run.split), values - other))
        return found

    def _partner(self, run: Run, kind: str) -> Floats | None:
        n, images = (0, 0) if kind == "base" else (run.n, run.images)
        return self._found.get((run.halves, kind, n, run.target, run.split, run.seed, images))

    @cached_property
    def _found(self) -> dict[tuple[Any, ...], Floats]:
        """The source of a run follows from the rest."""
        return {
            (run.halves, run.kind, run.n, run.target, run.split, run.seed, run.images): values
            for run, values in self.right.items()
        }

    def along(self, halves: str, first: str, second: str, images: int = 0) -> dict[int, Difference]:
        """One kind less another at every cut, an empty second being none."""
        return along({cut.n: self.units(halves, (first, second), cut.n, images) for cut in self.cuts})

    def contrast(
        self, halves: str, first: str, second: str, cuts: Sequence[int], less: Sequence[int] = ()
    ) -> Difference | None:
        """`mean` with its interval; None without runs."""
        found = self.mean(halves, first, second, cuts, less)
        return None if found is None else found.told(most=2.0 if less else 1.0)

    def mean(self, halves: str, first: str, second: str, cuts: Sequence[int], less: Sequence[int] = ()) -> Mean | None:
        """The mean of first less second over `cuts`, less its mean over the cuts in `less`; None without runs.

        Trainings count with the spread that these cuts have singly, which is more than a mean over them has.
        """
        by_cut = {cut.n: self.units(halves, (first, second), cut.n) for cut in self.cuts}
        wanted = [by_cut[n] for n in (*cuts, *less)]
        if not wanted or not wanted[0] or len({len(units) for units in wanted}) != 1:
            return None
        signs = [1 / len(cuts)] * len(cuts) + [-1 / max(len(less), 1)] * len(less)
        units = []
        for row in zip(*wanted, strict=True):
            mixed = sum((sign * unit.values for sign, unit in zip(signs, row, strict=True)), np.zeros(1))
            units.append(Unit(row[0].cell, mixed))
        return mean_of(units, pooled(wanted))


def curves(table: Table) -> list[dict[str, Any]]:
    """Accuracy of every kind at every cut, and relative to the base of the same target, split and seed."""
    rows = []
    for halves in table.halves:
        base = table.units(halves, ("base", ""), 0)
        if base:
            # Selffer runs learn the same from the same images, so their spread says more about a base's than two bases do.
            alike = [table.units(halves, ("selffer", ""), cut.n) for cut in table.cuts]
            rows.append(_row("base", halves, 0, estimate(base, pooled([base, *alike])), None, len(base)))
        for kind in KINDS:
            accuracy, relative = table.along(halves, kind, ""), table.along(halves, kind, "base")
            for n, found in accuracy.items():
                count = len(table.units(halves, (kind, ""), n))
                rows.append(_row(kind, halves, n, found, relative.get(n), count))
    return rows


def _row(kind: str, halves: str, n: int, found: Difference, relative: Difference | None, runs: int) -> dict[str, Any]:
    return {
        "kind": kind,
        "halves": halves,
        "n": n,
        "accuracy": found.mean,
        "interval": [max(found.low, 0.0), min(found.high, 1.0)],
        "relative": 0.0 if kind == "base" else None if relative is None else relative.mean,
        "relative_interval": None if relative is None else [relative.low, relative.high],
        "runs": runs,
    }


def separated(table: Table) -> dict[str, list[dict[str, Any]]]:
    """Co-adaptation, specificity and the boost to generality, of every kind of halves studied."""
    found: dict[str, list[dict[str, Any]]] = {"coadaptation": [], "specificity": [], "generality_boost": []}
    for halves in table.halves:
        found["coadaptation"] += _rows(halves, _flipped(table, halves, "selffer"), "drop")
        found["specificity"] += _rows(halves, table.along(halves, "selffer", "transfer"), "drop")
        found["generality_boost"] += _rows(halves, table.along(halves, "transfer+", "base"), "gain")
    return found


def _flipped(table: Table, halves: str, kind: str) -> dict[int, Difference]:
    """Base less `kind` at every cut: a base has no cut of its own, so the pairs are found from the other side."""
    return {n: _negative(found) for n, found in table.along(halves, kind, "base").items()}


def _negative(one: Difference) -> Difference:
    return Difference(-one.mean, -one.high, -one.low, one.p_value, one.decided, one.detectable, one.level, one.method)


def _rows(halves: str, found: Mapping[int, Difference], name: str) -> list[dict[str, Any]]:
    return [
        {
            "halves": halves,
            "n": n,
            name: one.mean,
            "interval": [one.low, one.high],
            "p_value": one.p_value,
            "decided": one.decided,
            "detectable": one.detectable,
        }
        for n, one in found.items()
    ]


def overtaking(table: Table, sizes: Sequence[int], whole: Mapping[str, int]) -> list[dict[str, Any]]:
    """Per cut and number of target images: AnB+ less AnB. `whole`: images of the smaller half, by kind of halves."""
    rows = [row for halves in table.halves for row in _overtaking(table, halves, sizes, whole[halves])]
    return sorted(rows, key=lambda row: (table.halves.index(row["halves"]), row["n"], row["target_images"]))


def _overtaking(table: Table, halves: str, sizes: Sequence[int], whole: int) -> Iterator[dict[str, Any]]:
    for size in (*sizes, 0):
        gaps = table.along(halves, "transfer+", "transfer", size)
        frozen, tuned = table.along(halves, "transfer", "", size), table.along(halves, "transfer+", "", size)
        for n, gap in gaps.items():
            yield {
                "halves": halves,
                "n": n,
                "target_images": size or whole,
                "frozen": frozen[n].mean,
                "fine_tuned": tuned[n].mean,
                "difference": gap.mean,
                "interval": [gap.low, gap.high],
            }


# --- the three questions --------------------------------------------------------------------------------------------------


def answers(table: Table, labels: Mapping[int, str]) -> list[dict[str, Any]]:
    """The paper's questions, answered from specificity (BnB less AnB) with the numbers behind each sentence.

    Of several kinds of halves the first is answered first.
    """
    rows = []
    for halves in table.halves:
        found = table.along(halves, "selffer", "transfer")
        if found:
            judged = {int(n): one for n, one in holm_differences({str(n): one for n, one in found.items()}).items()}
            three = (_how(judged, labels), _sudden(table, halves, judged, labels), _where(judged, labels))
            rows += [{"halves": halves, **one} for one in three]
    if len({row["halves"] for row in rows}) > 1:
        rows = [{**row, "question": f"{row['question'][:-1]}, with {row['halves']} halves?"} for row in rows]
    return rows


def _points(value: float) -> str:
    return f"{100 * value:.1f}"


def _told(one: Difference) -> str:
    return f"{_points(one.mean)} points ({_points(one.low)} to {_points(one.high)})"


def _how(found: Mapping[int, Difference], labels: Mapping[int, str]) -> dict[str, Any]:
    specific = [n for n, one in found.items() if one.decided and one.mean > 0]
    general = [n for n, one in found.items() if n not in specific and one.high < GENERAL]
    open_ = [n for n in found if n not in specific and n not in general]
    parts = []
    if general:
        parts.append(f"general up to {', '.join(labels[n] for n in general)}: less than {_points(GENERAL)} points are lost")
    if specific:
        told = ", ".join(f"{labels[n]} {_told(found[n])}" for n in specific)
        parts.append(f"specific to the other half: {told}")
    if open_:
        told = ", ".join(f"{labels[n]} {_told(found[n])}" for n in open_)
        parts.append(f"undecided: {told}")
    return {
        "question": "How general or specific is each layer?",
        "sentence": "Frozen layers from the other half instead of one's own, counted from the first: "
        + "; ".join(parts)
        + ".",
        "numbers": {
            "specificity": {str(n): one.mean for n, one in found.items()},
            "general": general,
            "specific": specific,
            "undecided": open_,
        },
    }


def _steps(found: Mapping[int, Difference]) -> dict[int, float]:
    """What each cut adds to the specificity of the one before it."""
    steps, before = {}, 0.0
    for n in sorted(found):
        steps[n], before = found[n].mean - before, found[n].mean
    return steps


def _sudden(table: Table, halves: str, found: Mapping[int, Difference], labels: Mapping[int, str]) -> dict[str, Any]:
    question = "Does the change from general to specific come suddenly, or is it spread over several layers?"
    last, steps = found[max(found)], _steps(found)
    largest = max(steps, key=lambda n: steps[n])
    share = steps[largest] / last.mean if last.mean > 0 else None
    step = table.contrast(halves, "selffer", "transfer", [largest], [n for n in [_before(found, largest)] if n])
    span = None if step is None else [step.low, step.high]
    numbers = {"total": last.mean, "decided": last.decided, "largest_step": steps[largest], "step_interval": span}
    numbers |= {"at": largest, "share": share}
    deep = f"with the layers up to {labels[max(found)]} transferred"
    if not last.decided:
        said = f"Undecided: {deep} {_told(last)} are lost, which may be nothing."
    elif share is None:
        said = f"There is none: {deep} nothing is lost, {_told(last)}."
    else:
        word = "It comes suddenly" if share >= SUDDEN else "It is spread out"
        said = f"{word}: of the {_points(last.mean)} points lost {deep}, the largest step, at {labels[largest]}, makes "
        said += f"{_points(steps[largest])}." if step is None else f"{_told(step)}."
    return {"question": question, "sentence": said, "numbers": numbers}


def _before(found: Mapping[int, Difference], n: int) -> int | None:
    """The cut before `n`; None for the first."""
    return max((other for other in found if other < n), default=None)


def _where(found: Mapping[int, Difference], labels: Mapping[int, str]) -> dict[str, Any]:
    steps = _steps(found)
    specific = [n for n in sorted(found) if found[n].decided and found[n].mean > 0]
    largest = max(steps, key=lambda n: steps[n])
    first = specific[0] if specific else None
    if first is None:
        said = "Nowhere that these runs can tell: no cut loses a decided amount. More seeds or splits decide finer ones."
    else:
        said = (
            f"The first cut with a decided loss is after {labels[first]}, {_told(found[first])}; "
            f"the largest step is at {labels[largest]}."
        )
    numbers = {"first_specific": first, "largest_step_at": largest, "steps": {str(n): step for n, step in steps.items()}}
    return {"question": "Where in the network does it happen?", "sentence": said, "numbers": numbers}


# --- the claims -----------------------------------------------------------------------------------------------------------


def claims(table: Table) -> list[dict[str, Any]]:
    """The paper's claims, each judged by one contrast that was fixed before: true, false, or undecided (None)."""
    halves = table.halves[0]
    ns = [cut.n for cut in table.cuts]
    third = max(1, round(len(ns) / 3))
    middle, top = ns[third:-third] or ns, ns[-third:]
    ends = [n for n in dict.fromkeys((ns[0], ns[-1])) if n not in middle]
    found = [
        _claim(
            "BnB dips in the middle (co-adaptation of neighbouring layers)",
            table.contrast(halves, "selffer", "base", ends, middle) if ends else None,
            f"BnB at the first and the last cut, less in the middle ({_cuts(middle)})",
        ),
        _claim(
            "AnB falls below BnB at the top (specificity)",
            table.contrast(halves, "selffer", "transfer", top),
            f"BnB less AnB, {_cuts(top)}",
        ),
        _claim(
            "fine-tuning recovers the dip (BnB+ above BnB in the middle)",
            table.contrast(halves, "selffer+", "selffer", middle),
            f"BnB+ less BnB, {_cuts(middle)}",
        ),
        _claim(
            "AnB+ is better than the base (transferred layers help even when fine-tuned)",
            table.contrast(halves, "transfer+", "base", ns),
            f"AnB+ less base, {_cuts(ns)}",
        ),
        _claim(
            "random frozen layers are worst",
            table.contrast(halves, "transfer", "random", ns),
            f"AnB less random, {_cuts(ns)}",
        ),
    ]
    if len(table.halves) > 1:
        found = [{**one, "claim": f"{one['claim']}, {halves} halves"} for one in found]
    if {"like", "unlike"} <= set(table.halves):
        found.append(_unlike(table, top))
    return found


def _cuts(ns: Sequence[int]) -> str:
    return f"mean of n = {', '.join(map(str, ns))}" if len(ns) > 1 else f"n = {ns[0]}"


def _unlike(table: Table, top: Sequence[int]) -> dict[str, Any]:
    """Unlike halves fall further: the trainings of both are different ones, so the variances add up."""
    like, unlike = (table.mean(halves, "transfer", "base", top) for halves in ("like", "unlike"))
    both = None if like is None or unlike is None else like.less(unlike).told(most=2.0)
    claim = "AnB falls further where the halves are unlike"
    return _claim(claim, both, f"AnB less base of like halves, less the same of unlike ones, {_cuts(top)}")


def _claim(claim: str, found: Difference | None, what: str) -> dict[str, Any]:
    if found is None:
        return {"claim": claim, "holds": None, "sentence": "Undecided: the runs that it needs are not there."}
    holds = found.mean > 0 if found.decided else None
    word = {True: "Holds", False: "Does not hold", None: "Undecided"}[holds]
    finest = "" if found.decided else f"; less than {_points(found.detectable)} points cannot be told from nothing here"
    return {
        "claim": claim,
        "holds": holds,
        "sentence": f"{word}: {what}: {_told(found)}{finest}.",
        "numbers": {"difference": found.mean, "interval": [found.low, found.high], "p_value": found.p_value},
    }
