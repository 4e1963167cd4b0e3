"""What short trainings tell: their differences, what decides, and both in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.names import some
from headstart.metrics.paired import Difference, holm_differences, paired_bootstrap

Answers = dict[str, dict[int, NDArray[np.bool_]]]
"""Of every training, by its name: seed -> `[T]` right or wrong on the same test images."""

_DRAWS = 2000
"""Of the bootstrap: some hundred pairs are compared. Between seeds p-values come from Student's t, so few draws do."""

PUBLISHED = {
    "augmentations": "SimCLR (ImageNet, ResNet-50): random crop and colour distortion together teach most, more than either",
    "projection": "SimCLR: nonlinear is 3 points above linear, and more than 10 above none",
    "batch": "SimCLR: larger batches are better, the more so the shorter the training",
    "network": "SimCLR: wider and deeper networks gain more than they do with labels",
    "epochs": "SimCLR: longer training is better, up to 1 000 epochs",
}


def against_the_best(answers: Answers, seed: int) -> list[dict[str, Any]]:
    """The best training against every other, the best of them first.

    Which is the best is seen on the images it is compared on, so that any pair might have been the one compared: p-values
    are corrected (Holm 1979) over all pairs, and not only over those with the best.
    """
    ranked = sorted(answers, key=lambda name: -float(np.mean(list(answers[name].values()))))
    if len(ranked) < 2:
        return []
    couples = list(combinations(ranked, 2))
    # No pair of one seed can be decided: the others' p-values would be for nothing.
    wanted = couples if any(len(_shared(answers, *pair)) > 1 for pair in couples) else couples[: len(ranked) - 1]
    return list(islice(_differences(answers, wanted, seed), len(ranked) - 1))


def between_neighbours(answers: Answers, couples: Sequence[tuple[str, str]], seed: int) -> list[dict[str, Any]]:
    """Couples that stood before any training; p-values are corrected (Holm 1979) over these."""
    return list(_differences(answers, couples, seed))


def _shared(answers: Answers, one: str, other: str) -> list[int]:
    return [seed for seed in answers[one] if seed in answers[other]]


def _differences(answers: Answers, couples: Sequence[tuple[str, str]], seed: int) -> Iterator[dict[str, Any]]:
    """Paired on test images and on seeds. With one seed nothing is decided: what the next would give is not known."""
    found = {couple: _gap(answers, couple, seed) for couple in couples}
    named = {f"{place}": one for place, one in enumerate(found.values())}
    corrected = list(holm_differences(named).values())
    for (one, other), gap in zip(found, corrected, strict=True):
        seeds = len(_shared(answers, one, other))
        yield {
            "a": one,
            "b": other,
            "mean": gap.mean,
            "low": gap.low,
            "high": gap.high,
            "p_value": gap.p_value,
            "decided": gap.decided and seeds > 1,
            "detectable": gap.detectable,
            "seeds": seeds,
        }


def _gap(answers: Answers, couple: tuple[str, str], seed: int) -> Difference:
    shared = _shared(answers, *couple)
    one, other = (np.stack([answers[name][number] for number in shared]).astype(float) for name in couple)
    return paired_bootstrap(one, other, seed, draws=_DRAWS)


def sentences(summary: Mapping[str, Any]) -> Iterator[str]:
    """What was found, and what is published."""
    rows = {row["name"]: row for row in summary["cells"]}
    if summary["command"] == "study augmentations":
        if rows:
            yield f"{_first(list(rows.values()), summary['differences'])} {PUBLISHED['augmentations']}."
        return
    for axis in dict.fromkeys(row["place"][0] for row in rows.values()):
        line = [row for row in rows.values() if row["place"][0] == axis]
        yield f"{axis}: {_along(line, {one['a']: one for one in summary['differences']})} {PUBLISHED[axis]}."


def _first(rows: Sequence[Mapping[str, Any]], gaps: Sequence[Mapping[str, Any]]) -> str:
    best = max(rows, key=lambda row: row["accuracy"]["mean"])
    told = f"{best['name']} came first of {len(rows)}: {_percent(best)}"
    if not gaps:
        return f"{told}."
    if _of_one_seed(gaps):
        return f"{told}. One seed: another may order them otherwise, so none is called better; --seeds 3 would tell."
    beaten, open_ = ([one["b"] for one in gaps if one["decided"] is decided] for decided in (True, False))
    parts = [f"better than {some(beaten, 4)}"] if beaten else []
    parts += [f"it cannot be told from {some(open_, 4)}"] if open_ else []
    return f"{told}; {'; '.join(parts)} (corrected for all pairs)."


def _along(line: Sequence[Mapping[str, Any]], gaps: Mapping[str, Mapping[str, Any]]) -> str:
    parts, used = [f"{line[0]['place'][1]} {_percent(line[0])}"], [gaps[row["name"]] for row in line[1:]]
    for row, one in zip(line[1:], used, strict=True):
        verdict = "" if one["decided"] or _of_one_seed(used) else ", undecided" if one["seeds"] > 1 else ", of one seed"
        points = f"{100 * one['mean']:+.1f} points, {100 * one['low']:+.1f} to {100 * one['high']:+.1f}{verdict}"
        parts.append(f"{row['place'][1]} {_percent(row)} ({points})")
    said = "; ".join(parts)
    if _of_one_seed(used):
        return f"{said}. One seed: intervals are over images only, and nothing is called decided."
    return f"{said}."


def _of_one_seed(gaps: Sequence[Mapping[str, Any]]) -> bool:
    return bool(gaps) and all(one["seeds"] < 2 for one in gaps)


def _percent(row: Mapping[str, Any]) -> str:
    return f"{100 * row['accuracy']['mean']:.1f} %"


def as_text(summary: Mapping[str, Any]) -> str:
    """The result for a terminal."""
    head = (
        f"{summary['images']} images, {summary['epochs']} epochs of SimCLR on {' and '.join(summary['networks'])}, judged "
        "by a linear probe on the best block"
    )
    lines = [head, ""]
    width = max((len(row["name"]) for row in (*summary["cells"], *summary["left_out"])), default=0)
    for row in sorted(summary["cells"], key=lambda row: -row["accuracy"]["mean"]):
        low, high = (100 * row["accuracy"][end] for end in ("low", "high"))
        lines.append(
            f"{row['name']:<{width}} {_percent(row):>8}  ({low:.1f} to {high:.1f})  {row['block']:<12} "
            f"{row['seconds']:.0f} s"
        )
    lines += [f"{one['name']:<{width}} left out: {one['reason']}" for one in summary["left_out"]]
    return "\n".join([*lines, "", *summary["sentences"]])
