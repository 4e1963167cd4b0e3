"""The words of docs/advice.md around the numbers of `benchmarks.advice`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from benchmarks.advice import (
    Cell,
    Choice,
    Regrets,
    always,
    by_forecast,
    minus,
    misses,
    nested,
    over_data_sets,
    rank_correlation,
    regrets,
    rivals,
    strategies,
    there,
)
from benchmarks.grid import PAIRS
from headstart.metrics.intervals import Interval
from headstart.transferability.adviser import WORDS, classic
from headstart.transferability.evidence import MEASURES
from headstart.transferability.experience import USED
from headstart.transferability.quadrant import GAIN, quadrant

PHOTOS = {
    "cifar10": "ResNet-20 trained on CIFAR-10, the embedded network",
    "half": "ResNet-20 trained on five classes of CIFAR-10",
    "imagenet": "MobileNetV1-0.25 trained on ImageNet",
}
MANY = 12
"""Rows of the table of pairs of measures."""


def page(every: Sequence[Cell]) -> str:
    """The whole page, in Markdown."""
    targets = sorted({cell.case.target for cell in every})
    draws = sorted({cell.draw for cell in every})
    parts = [
        "# How good the advice is",
        "",
        "What `headstart advise` says was learned from experiments, and this page says how well it did on data sets that it",
        "had not seen. `python -m benchmarks.grid`, `benchmarks.grid_measures` and `benchmarks.grid_similarity` make the",
        "tables it rests on (resumable, about four hours on one core); `python -m benchmarks.advice --write` makes this",
        "page, and the experience that the adviser carries, from them.",
        "",
        f"{len(every)} cells: {len({c.pair for c in every})} pairs of source and target ({len(targets)} target data sets),",
        f"three sizes, {len(draws)} draws of the training images, and in each the same {len(strategies(every))} strategies,",
        "judged on at most 1 000 test images. All inputs have at most 96 px, the networks are small, and no training part",
        "has more than 2 000 images: beyond that the page says nothing.",
        "",
        *_pairs(every),
        *_regret(every),
        *_measures(every),
        *_forecasts(every),
        *_border(every),
        *_cost(every),
        *_limits(),
    ]
    return "\n".join(parts) + "\n"


def _pairs(every: Sequence[Cell]) -> list[str]:
    lines = ["| source | target | px | images per class |", "|---|---|---|---|"]
    known = {cell.pair for cell in every}
    for pair in PAIRS:
        if pair.name in known:
            sizes = ", ".join(map(str, pair.per_class))
            lines.append(f"| {PHOTOS[pair.source]} | {pair.target} | {pair.size} | {sizes} |")
    return [*lines, ""]


def _points(i: Interval) -> str:
    return f"{i.mean:.2f} ({i.low:.2f} to {i.high:.2f})"


def _table(cell: Cell) -> str:
    """What the classic table says; its max-margin head is the probe of the grid."""
    found = classic(quadrant(cell.case.evidence).number, cell.case.evidence)[0]
    return "probe" if found == "svm" else found


def _regret(every: Sequence[Cell]) -> list[str]:
    advice = regrets(every, by_forecast(every, USED))
    best = [set_ for set_ in rivals() if there(every, set_)]
    inner, chosen = nested(every, best)
    choices: dict[str, Choice] = {f"always {WORDS[name]}": always(name) for name in strategies(every)}
    choices |= {"the classic table of four quadrants": _table}
    choices |= {"forecast, its measures chosen anew without each data set": inner}
    rows = [f"| **the advice** | **{_points(over_data_sets(advice))}** | |"]
    apart, level = [], []
    for name, choose in choices.items():
        other = regrets(every, choose)
        difference = over_data_sets(minus(other, advice))
        rows.append(f"| {name} | {_points(over_data_sets(other))} | {_points(difference)} |")
        (level if difference.low <= 0 else apart).append(name)
    used = sorted({", ".join(names) for names in chosen.values()})
    return [
        "## Regret",
        "",
        "Points of accuracy lost against the strategy that was best on the *other* draws, both as tested in this one (so",
        "that luck does not count as skill; it can be negative). The advice for a data set is learned from the other data",
        "sets. Means over cells, 95 % intervals by drawing the data sets anew; last column: paired difference to the",
        "advice.",
        "",
        "| advice | regret, points | worse than the advice by |",
        "|---|---|---|",
        *rows,
        "",
        *_said("The interval separates the advice from", apart),
        *_said("It cannot separate the advice from", level),
        f"The measures that the last row chose: {'; '.join(used)}.",
        "",
        *_by_set(every, {"advice": advice} | {name: regrets(every, always(name)) for name in strategies(every)}),
    ]


def _said(start: str, names: Sequence[str]) -> list[str]:
    return [f"{start}: {'; '.join(names)}.", ""] if names else []


def _by_set(every: Sequence[Cell], found: dict[str, Regrets]) -> list[str]:
    names = list(found)
    lines = ["By data set, mean points:", "", f"| data set | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for target in sorted({cell.case.target for cell in every}):
        told = " | ".join(f"{np.mean(found[name][target]):.1f}" for name in names)
        lines.append(f"| {target} | {told} |")
    return [*lines, ""]


def _measures(every: Sequence[Cell]) -> list[str]:
    size = "images per class"
    lines = [
        "## Which measure foretells the winner",
        "",
        "A ridge regression per strategy on the measures foretells its accuracy; the strategy with the best forecast is the",
        "advice. Regret of that advice with a measure alone, and with it and the images per class; and Spearman's rank",
        "correlation between the measure and the points by which the best trained strategy beat the best frozen one.",
        "",
        "| measure | alone: regret | with images per class: regret | rank correlation with the gap |",
        "|---|---|---|---|",
    ]
    missing = []
    for name in MEASURES:
        if not there(every, (name,)):
            missing.append(name)
            continue
        alone = over_data_sets(regrets(every, by_forecast(every, (name,))))
        both = "" if name == size else _points(over_data_sets(regrets(every, by_forecast(every, (size, name)))))
        correlation = rank_correlation(every, name)
        lines.append(f"| {name} | {_points(alone)} | {both} | {_points(correlation)} |")
    lines += ["", *_said("Not there for every cell", missing)]
    lines += _said("Alone as good as what the adviser uses, as far as can be told", _level(every))
    lines += [
        "Expected and not found: that the distances to the source foretell how far fine-tuning beats frozen heads. Two of",
        "them alone advise as well as the adviser's measures, but need statistics of the source, which most networks do not",
        "bring; and class-mean transport has the sign one would not expect (the farther, the smaller the gap). Within one",
        "source that vanishes (`python -m benchmarks.grid_similarity --correlations`): it tells sources apart, not targets.",
        "",
    ]
    pairs = [(over_data_sets(regrets(every, by_forecast(every, s))), s) for s in rivals() if len(s) == 3 and there(every, s)]
    pairs.sort(key=lambda pair: pair[0].mean)
    used = over_data_sets(regrets(every, by_forecast(every, USED)))
    lines += [
        f"The adviser uses {' and '.join(USED)}: {_points(used)}. Of all {len(pairs)} sets of two measures beside the",
        "images per class, these did best; that they were compared on the same cells flatters the first ones.",
        "",
        "| measures | regret |",
        "|---|---|",
        *(f"| {', '.join(names)} | {_points(found)} |" for found, names in pairs[:MANY]),
        "",
    ]
    return lines


def _level(every: Sequence[Cell]) -> list[str]:
    """Single measures whose advice cannot be told from the adviser's."""
    advice = regrets(every, by_forecast(every, USED))
    found = []
    for name in MEASURES:
        if there(every, (name,)):
            apart = over_data_sets(minus(regrets(every, by_forecast(every, (name,))), advice))
            if apart.low <= 0:
                found.append(f"{name} ({_points(apart)} worse)")
    return found


def _forecasts(every: Sequence[Cell]) -> list[str]:
    lines = [
        "## How far forecasts miss",
        "",
        "Accuracy expected on data sets not seen, against accuracy reached. The 80 % interval should hold 80 % of them.",
        "",
        "| strategy | in the 80 % interval | mean miss, points |",
        "|---|---|---|",
    ]
    choices: dict[str, Choice] = {"**the advised one**": by_forecast(every, USED)}
    choices |= {name: always(name) for name in strategies(every)}
    for name, choose in choices.items():
        found = misses(every, USED, choose)
        covered = over_data_sets({k: [100 * v for v in values] for k, values in found.covered.items()})
        told = f"{covered.mean:.0f} % ({covered.low:.0f} to {covered.high:.0f})"
        lines.append(f"| {name} | {told} | {_points(over_data_sets(found.error))} |")
    said, true = misses(every, USED, by_forecast(every, USED)).sure
    return [
        *lines,
        "",
        f"How sure: it said in the mean {100 * said:.0f} % that nothing else is more than a point better than what it",
        f"advised; that was so in {100 * true:.0f} % of the cells (each of one draw, in which luck helps to pick the best).",
        "",
    ]


def _border(every: Sequence[Cell]) -> list[str]:
    lines = [
        "## Where like ends",
        "",
        "Similarity is the share of a raw-pixel probe's errors that a head on the frozen features removes. If everything",
        "like the source got a linear head and all else were fine-tuned, the regret would be, by where like begins:",
        "",
        "| like from | regret | cells that are like | points lost there by a frozen linear head |",
        "|---|---|---|---|",
    ]
    for border in np.arange(0.3, 0.95, 0.1):
        like = [cell for cell in every if (cell.case.evidence.gain or 0.0) >= border]
        found = over_data_sets(regrets(every, lambda c, b=border: "probe" if (c.case.evidence.gain or 0.0) >= b else "full"))
        lost = [100 * (max(cell.case.accuracy.values()) - cell.case.accuracy["probe"]) for cell in like]
        lines.append(
            f"| {border:.1f} | {_points(found)} | {len(like)} | {np.mean(lost):.1f} |"
            if like
            else f"| {border:.1f} | | 0 | |"
        )
    return [*lines, "", f"The border is {GAIN}: below it the rule loses more, above it no less that could be told.", ""]


def _cost(every: Sequence[Cell]) -> list[str]:
    share = [cell.seconds / cell.rivals for cell in every]
    over = [cell for cell in every if cell.seconds > max(0.1 * cell.rivals, 10)]
    by_size: dict[str, list[Cell]] = defaultdict(list)
    for cell in every:
        by_size[cell.case.source].append(cell)
    lines = ["| source | measuring, s | all six strategies once, s | share |", "|---|---|---|---|"]
    for name, some in by_size.items():
        a, b = (float(np.median([getattr(c, key) for c in some])) for key in ("seconds", "rivals"))
        lines.append(
            f"| {PHOTOS[name]} | {a:.1f} | {b:.1f} | {100 * np.median([c.seconds / c.rivals for c in some]):.1f} % |"
        )
    return [
        "## What it costs",
        "",
        "Seconds on one core, medians over cells, beside other work: only their ratio says something. A race runs every",
        "strategy on up to five folds, so that its share is a fifth of the one here.",
        "",
        *lines,
        "",
        f"In {len(over)} of {len(every)} cells measuring took more than a tenth of the rivals and more than 10 s; median",
        f"share {100 * np.median(share):.1f} %, largest {100 * max(share):.1f} %.",
        "",
    ]


def _limits() -> list[str]:
    return [
        "## What this does not say",
        "",
        "- The border between little and much data is still the published one (20 000 images in all, 100 per class): no",
        "  data set here is that large. The forecast is not asked beyond ten times the largest training part it has seen.",
        "- Test parts have at most 1 000 images, so that a single difference of two points is often luck; means over cells",
        "  are not.",
        "- Two small networks and one half-trained one: larger ones are not in the experience. Whether the same lines hold",
        "  there is not known, and the interval does not know it either.",
        "- Trained strategies ran with the settings that `headstart adapt` gives them, cut to some twenty seconds; longer",
        "  training may favour them a little more.",
    ]
