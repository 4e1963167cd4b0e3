"""How good the advice is: which measures foretell the winning strategy, cross-fitted regret, and how far forecasts miss.

    python -m benchmarks.advice [--write]

Reads benchmarks/grid.csv, grid_measures.csv and grid_similarity.csv, prints the page docs/advice.md, and with --write writes
it, together with the experience that the adviser carries, headstart/assets/experience.json.

Regret of an advice in a cell (source, target, images per class, draw): the strategy that was best on the mean of the *other*
draws, less the advised one, both as tested in this draw, in points of accuracy. The forecast behind the advice is learned
from the other data sets only. Intervals draw the data sets anew (95 %).
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from benchmarks.grid import STRATEGY_NAMES
from headstart.files import write_json, write_text
from headstart.metrics.intervals import Interval
from headstart.seeding import generator
from headstart.transferability.evidence import MEASURES, Evidence
from headstart.transferability.experience import FROZEN, to_json
from headstart.transferability.forecast import Case, Forecaster, fit

HERE = Path(__file__).parent
ASSET = HERE.parent / "headstart" / "assets" / "experience.json"
PAGE = HERE.parent / "docs" / "advice.md"
NAMES = {"partial_third": "partial"}
"""Runs of the grid by the strategy that the adviser calls them."""
DRAWS = 10_000

Key = tuple[str, str, str]
Choice = Callable[["Cell"], str]
Regrets = dict[str, list[float]]


@dataclass(frozen=True)
class Cell:
    """A case of the grid, which it is, and what measuring and running it took."""

    pair: str
    per_class: int
    draw: int
    case: Case
    seconds: float
    rivals: float

    @property
    def gap(self) -> float:
        """Points by which the best trained strategy beat the best frozen one."""
        frozen = max(a for name, a in self.case.accuracy.items() if name in FROZEN)
        return 100 * (max(a for name, a in self.case.accuracy.items() if name not in FROZEN) - frozen)


def cells() -> list[Cell]:
    """Every cell whose strategies have all run."""
    runs: dict[Key, dict[str, dict[str, str]]] = defaultdict(dict)
    for row in _rows("grid.csv"):
        runs[_key(row)][row["strategy"]] = row
    similar = {_key(row): row for row in _rows("grid_similarity.csv")} if (HERE / "grid_similarity.csv").exists() else {}
    found = []
    for row in _rows("grid_measures.csv"):
        ran = runs[_key(row)]
        if set(ran) == set(STRATEGY_NAMES):
            source, _, target = row["pair"].partition(">")
            accuracy = {NAMES.get(name, name): float(ran[name]["accuracy"]) for name in STRATEGY_NAMES}
            looked = evidence({**row, **similar.get(_key(row), {})})
            case = Case(source, target, looked, accuracy, int(ran["probe"]["tested"]))
            spent = sum(float(one["seconds"]) for one in ran.values())
            found.append(Cell(row["pair"], int(row["per_class"]), int(row["draw"]), case, float(row["seconds"]), spent))
    return found


def evidence(row: Mapping[str, str]) -> Evidence:
    """A row of measures."""
    depths = [float(value) for value in row["depths"].split(";")]
    best = max(range(len(depths)), key=lambda i: (depths[i], i))
    given = {"images", "classes", "parameters", "pretrained", "peak", "typical"}
    return Evidence(
        images=int(row["images"]),
        classes=int(row["classes"]),
        typical=float(row["typical"]),
        parameters=int(row["parameters"]),
        peak=best / (len(depths) - 1),
        **{one.name: float(row[one.name]) for one in fields(Evidence) if one.name not in given and row.get(one.name)},
    )


def _key(row: Mapping[str, str]) -> Key:
    return row["pair"], row["per_class"], row["draw"]


def _rows(name: str) -> list[dict[str, str]]:
    with open(HERE / name, newline="") as handle:
        return list(csv.DictReader(handle))


def strategies(every: Sequence[Cell]) -> tuple[str, ...]:
    return tuple(every[0].case.accuracy)


def regrets(every: Sequence[Cell], choose: Choice) -> Regrets:
    """Points of regret by data set; cells without another draw are left out."""
    draws: dict[tuple[str, int], list[Cell]] = defaultdict(list)
    for cell in every:
        draws[cell.pair, cell.per_class].append(cell)
    found: Regrets = defaultdict(list)
    for cell in every:
        others = [c for c in draws[cell.pair, cell.per_class] if c.draw != cell.draw]
        if others:
            best = max(strategies(every), key=lambda name: float(np.mean([c.case.accuracy[name] for c in others])))
            found[cell.case.target].append(100 * (cell.case.accuracy[best] - cell.case.accuracy[choose(cell)]))
    return dict(found)


def over_data_sets(by_set: Mapping[str, Sequence[float]]) -> Interval:
    """Mean over cells, 95 % interval by drawing data sets anew."""
    sums = np.array([sum(values) for values in by_set.values()])
    counts = np.array([len(values) for values in by_set.values()])
    picked = generator(0, "data sets").integers(0, len(sums), (DRAWS, len(sums)))
    drawn = sums[picked].sum(1) / counts[picked].sum(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high), 0.95, "percentile")


def minus(a: Regrets, b: Regrets) -> Regrets:
    """Cell by cell."""
    return {name: [x - y for x, y in zip(a[name], b[name], strict=True)] for name in a}


def always(name: str) -> Choice:
    return lambda cell: name


def apart(every: Sequence[Cell], measures: Sequence[str]) -> dict[str, Forecaster]:
    """For each data set, a forecaster that has not seen it."""
    targets = {cell.case.target for cell in every}
    return {target: fit([cell.case for cell in every if cell.case.target != target], measures) for target in sorted(targets)}


def by_forecast(every: Sequence[Cell], measures: Sequence[str]) -> Choice:
    """The advice of forecasts that have not seen the cell's data set."""
    models = apart(every, measures)
    return lambda cell: models[cell.case.target].forecast(cell.case.evidence).strategies[0]


def there(every: Sequence[Cell], measures: Sequence[str]) -> bool:
    return all(MEASURES[name](cell.case.evidence) is not None for cell in every for name in measures)


@cache
def rivals() -> tuple[tuple[str, ...], ...]:
    """Sets of measures to learn from: each alone, each with the images per class, and pairs of these with it."""
    size = "images per class"
    others = [name for name in MEASURES if name != size]
    pairs = [(size, *two) for two in combinations([n for n in others if n not in ("images", "weights per image")], 2)]
    return ((size,), *((name,) for name in others), *((size, name) for name in others), *pairs)


def nested(every: Sequence[Cell], sets: Sequence[tuple[str, ...]]) -> tuple[Choice, dict[str, tuple[str, ...]]]:
    """The measures themselves chosen without the data set they are then judged on; for each the ones chosen."""
    chosen, models = {}, {}
    for target in sorted({cell.case.target for cell in every}):
        rest = [cell for cell in every if cell.case.target != target]
        chosen[target] = min(
            sets, key=lambda s: (round(over_data_sets(regrets(rest, by_forecast(rest, s))).mean, 2), len(s))
        )
        models[target] = fit([cell.case for cell in rest], chosen[target])
    return (lambda cell: models[cell.case.target].forecast(cell.case.evidence).strategies[0]), chosen


@dataclass(frozen=True)
class Misses:
    """How forecasts of data sets not seen did.

    covered   share of cells whose accuracy lies in the 80 % interval, by data set
    error     points between expected and reached accuracy, by data set
    sure      (said, true) probability that no other strategy was more than a point better, mean over cells
    """

    covered: Regrets
    error: Regrets
    sure: tuple[float, float]


def misses(every: Sequence[Cell], measures: Sequence[str], which: Choice) -> Misses:
    """Of the strategy that `which` picks in each cell."""
    models = apart(every, measures)
    covered: Regrets = defaultdict(list)
    error: Regrets = defaultdict(list)
    said, true = [], []
    for cell in every:
        forecast, name = models[cell.case.target].forecast(cell.case.evidence), which(cell)
        low, high = forecast.interval(name)
        reached = cell.case.accuracy[name]
        covered[cell.case.target].append(float(low <= reached <= high))
        error[cell.case.target].append(100 * abs(forecast.expected(name) - reached))
        said.append(forecast.sure(name))
        true.append(float(reached >= max(cell.case.accuracy.values()) - 0.01))
    return Misses(dict(covered), dict(error), (float(np.mean(said)), float(np.mean(true))))


def rank_correlation(every: Sequence[Cell], name: str) -> Interval:
    """Spearman's between a measure and the gap, 95 % interval by drawing data sets anew."""
    values = np.array([MEASURES[name](cell.case.evidence) for cell in every], np.float64)
    gaps = np.array([cell.gap for cell in every])
    sets = sorted({cell.case.target for cell in every})
    rows = [np.flatnonzero([cell.case.target == one for cell in every]) for one in sets]
    drawn = []
    for pick in generator(0, "rank correlation").integers(0, len(sets), (1000, len(sets))):
        some = np.concatenate([rows[i] for i in pick])
        if len(np.unique(values[some])) > 1:
            drawn.append(float(spearmanr(values[some], gaps[some]).statistic))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(spearmanr(values, gaps).statistic), float(low), float(high), 0.95, "percentile")


def main() -> int:
    """Print or write."""
    from benchmarks.advice_page import page

    parser = argparse.ArgumentParser(prog="python -m benchmarks.advice", description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="docs/advice.md and the experience")
    args = parser.parse_args()
    every = cells()
    text = page(every)
    if args.write:
        write_json(ASSET, to_json([cell.case for cell in every]))
        write_text(PAGE, text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
