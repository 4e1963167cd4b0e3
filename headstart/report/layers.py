"""The page of `headstart study layers`: how transferable each layer is, beside what the paper found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.report import closing, found, words
from headstart.report.adapt import subtitle, title
from headstart.report.filters import filters
from headstart.report.folder import RunFolder, interval, number, rows_of
from headstart.report.layer_answers import answers, claims, verdict
from headstart.report.layer_figures import KINDS, accuracies, at, changes, cut_names, cut_of, drops
from headstart.report.overtaking import overtaking, scratch
from headstart.report.pictures import read_pictures
from headstart.transferability import yosinski2014

TEMPLATE = "layers.html"


@dataclass(frozen=True)
class Table:
    """Heads and rows of text; the first `names` columns are text, the others numbers."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int


def context(run: RunFolder) -> dict[str, Any]:
    """Everything the template shows; a section the run has nothing for is None."""
    promised = run.summary.get("filters")
    seen = filters(run.path, promised) if isinstance(promised, str) and promised else filters(run.path)
    return {
        "title": title(run),
        "subtitle": subtitle(run),
        "verdict": verdict(run.summary),
        "answers": answers(run.summary),
        "claims": claims(run.summary),
        "accuracies": accuracies(run.summary),
        "changes": changes(run.summary),
        "drops": drops(run.summary),
        "overtaking": overtaking(run.summary),
        "scratch": scratch(),
        "filters": seen if seen.pictures else None,
        "by_cut": by_cut(run.summary),
        "runs": runs(run.summary),
        "failed": failed(run.summary),
        "splits": splits(run.summary),
        "found": found.found(run, read_pictures(run.path / "report_data")),  # the page goes without where there are none
        "cost": closing.cost(run),
        "repeat": closing.repeat(run),
        "limits": list(_limits(run)),
        "source": yosinski2014.citation(),
        "notes": run.remarks,
        "gaps": [*run.gaps, *([seen.gap] if seen.gap and promised else [])],
    }


def by_cut(summary: Mapping[str, Any]) -> Table | None:
    """Every mean with its interval: the numbers behind the figures."""
    names, rows = cut_names(summary), []
    for row in rows_of(summary.get("curves")):
        n, accuracy = cut_of(row.get("n")), number(row.get("accuracy"))
        if n is None:
            continue
        kind = KINDS.get(str(row.get("kind")))
        what = kind.name if kind else str(row.get("kind") or "")
        where = f"{n}{f' {names[n]}' if names.get(n) else ''}" if n else "base"
        change = words.points(number(row.get("relative")), sign=True)
        rows.append([what, str(row.get("halves") or ""), where, _with(words.percent(accuracy), row, "interval"),
                     _with(change, row, "relative_interval"), words.count(number(row.get("runs")))])  # fmt: skip
    return Table(("Kind", "Halves", "Cut", "Accuracy", "Against base", "Runs"), rows, 3) if rows else None


def _with(text: str, row: Mapping[str, Any], key: str) -> str:
    span = interval(row.get(key))
    if span is None or text == words.UNKNOWN:
        return text
    return f"{text} ({words.percent_range(span) if key == 'interval' else words.points_range(span)})"


def runs(summary: Mapping[str, Any]) -> Table | None:
    """Every single run."""
    rows = []
    for row in rows_of(summary.get("runs")):
        kind, n = KINDS.get(str(row.get("kind"))), cut_of(row.get("n"))
        what = kind.name if kind else str(row.get("kind") or "")
        way = " > ".join(str(row[key]) for key in ("source", "target") if row.get(key))
        texts = [f"{what}{f', {at(n)}' if n else ''}", way, str(row.get("halves") or "")]
        texts += [words.figures(number(row.get(key))) for key in ("split", "seed", "images", "epochs")]
        rows.append([*texts, words.percent(number(row.get("accuracy"))), words.duration(number(row.get("seconds")))])
    heads = ("Run", "From > to", "Halves", "Split", "Seed", "Images", "Epochs", "Accuracy", "Time")
    return Table(heads, rows, 3) if rows else None


def failed(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Runs that could not be finished, and why."""
    return [
        (str(row.get("run") or "a run"), words.sentence(str(row.get("reason") or "no reason was written")))
        for row in rows_of(summary.get("failed"))
    ]


def splits(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """A name for each split, with the classes of its halves."""
    found = []
    for row in rows_of(summary.get("splits")):
        halves = [", ".join(str(name) for name in row[key]) if isinstance(row.get(key), list) else "" for key in "AB"]
        parts = [f"Split {words.figures(one)}" if (one := number(row.get("split"))) is not None else "A split"]
        parts += [str(row["halves"])] if row.get("halves") else []
        parts += [f"seed {words.figures(seed)}"] if (seed := number(row.get("seed"))) is not None else []
        found.append((", ".join(parts), *halves))
    return [(name, a, b) for name, a, b in found if a or b]


def _limits(run: RunFolder) -> Iterator[str]:
    rows = rows_of(run.summary.get("runs"))
    dealt, seeds = ({str(row.get(key)) for row in rows if row.get(key) is not None} for key in ("split", "seed"))
    if rows:
        yield (
            f"The intervals rest on {words.plural(len(dealt), 'split')} of the classes and "
            f"{words.plural(len(seeds), 'seed')}; other classes can move the curves by more."
        )
    yield (
        "The paper learned AlexNet on ImageNet, half a thousand classes and 600 thousand images a half. Compare the shapes "
        "of its curves with these, not their heights."
    )
    yield (
        "In the published logs every AnB+ run has target B and every BnB+ run target A, the harder half: the distance of "
        "these two in the paper's figure is no effect of the transfer. Here all differences are paired by target and seed."
    )
    if any(row.get("kind") == "random" for row in rows):
        yield "Random weights depend on how they are drawn; other ways to draw them do better or worse."
    yield from closing.data_limits(run.inspection)
    if number(run.summary.get("seconds")) is not None:
        yield closing.MEASURED_ONCE
