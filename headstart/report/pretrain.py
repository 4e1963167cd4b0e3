"""The page of `headstart pretrain`: what was learned without labels, and whether it is worth anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from zipfile import BadZipFile

import numpy as np

from headstart.report import closing, words
from headstart.report.distill_tables import texts
from headstart.report.folder import RunFolder, number, rows_of, table_of
from headstart.report.pictures import picture
from headstart.report.pretrain_curves import curves
from headstart.report.pretrain_headline import headline
from headstart.report.pretrain_verdict import judgement
from headstart.report.tables import text_of
from headstart.report.verdict import Fact, Verdict

TEMPLATE = "pretrain.html"
STARTS = {"random": "all weights drawn at random", "trained": "from trained weights"}


@dataclass(frozen=True)
class Rendered:
    """Some of the images under one view: a picture whose first column are the images as they are."""

    name: str
    text: str
    picture: str


def context(run: RunFolder) -> dict[str, Any]:
    """Everything the template shows; a section the run has nothing for is None or empty."""
    summary = run.summary
    return {
        "title": _title(run),
        "subtitle": _subtitle(summary),
        "verdict": _verdict(run),
        "warnings": _warnings(run),
        "judged": judgement(summary),
        "why": words.sentence(str(table_of(summary.get("verdict")).get("why") or "")),
        "curves": curves(run),
        "rendered": _rendered(run),
        "method": _method(summary),
        "data": _data(summary),
        "sentences": [words.sentence(text) for text in texts(summary.get("sentences"))],
        "cost": closing.cost(run),
        "repeat": closing.repeat(run),
        "following": _following(summary),
        "limits": list(_limits(run)),
        "notes": _notes(run),
        "gaps": run.gaps,
    }


def _title(run: RunFolder) -> str:
    path = table_of(run.summary.get("data")).get("path") or run.config.get("data") or run.path.name
    return f"Pretraining on {PurePath(str(path)).name}"


def _subtitle(summary: Mapping[str, Any]) -> str:
    method, backbone = table_of(summary.get("method")), table_of(summary.get("backbone"))
    pool = number(table_of(table_of(summary.get("data")).get("parts")).get("pool"))
    weights = number(backbone.get("parameters"))
    parts = [
        str(method.get("name") or ""),
        f"{words.count(pool)} images" if pool is not None else "",
        f"{backbone['name']}{f', {words.compact(weights)} weights' if weights else ''}" if backbone.get("name") else "",
        STARTS.get(str(backbone.get("start")), ""),
    ]
    return " · ".join(filter(None, parts))


def _verdict(run: RunFolder) -> Verdict:
    """The first thing a reader sees. Undecided is said to be undecided, and what was not measured not to be known."""
    summary = run.summary
    if not run.finished:
        text = "This run ended before it had learned all it should."
        return Verdict("unfinished", "Not finished", text, ("The same command with --resume goes on from there.",), ())
    found, facts = table_of(summary.get("verdict")), _facts(summary)
    if found.get("why"):
        sentence = f"{words.sentence(str(found['why']))} What is known without one stands below."
        return Verdict("undecided", "Learned; what it is worth is not known", sentence, (), facts)
    after = tuple(words.sentence(text) for text in texts(summary.get("sentences")) if text.startswith("With "))[:4]
    tone, kicker, sentence = headline(found)
    return Verdict(tone, kicker, sentence, after, facts)


def _facts(summary: Mapping[str, Any]) -> tuple[Fact, ...]:
    end, start = table_of(summary.get("end")), table_of(summary.get("start"))
    found = []
    near, before = number(end.get("knn")), number(start.get("knn"))
    if near is not None:
        note = f"{words.percent(before)} before" if before is not None else ""
        found.append(Fact(words.percent(near), "nearest neighbours, held-out images", note))
    best = number(end.get("best_probe"))
    if best is not None:
        found.append(Fact(words.percent(best), "linear probe at best", f"block {end.get('best_block')}"))
    share = number(end.get("of_chance"))
    if share is not None:
        found.append(Fact(words.percent(share, 0), "of the loss of guessing"))
    rank = number(end.get("rank"))
    if rank is not None:
        found.append(Fact(words.figures(rank), "effective rank of the features"))
    seconds = number(summary.get("pretraining_seconds"))
    if seconds is not None:
        found.append(Fact(words.duration(seconds), "to learn"))
    return tuple(found)


def _warnings(run: RunFolder) -> list[str]:
    said = texts(run.summary.get("warnings")) or [str(line.get("text", "")) for line in run.events("warning")]
    known = run.inspection.get("warnings") or ()
    return [words.sentence(words.grouped(text)) for text in dict.fromkeys(said) if text not in known]


def _rendered(run: RunFolder) -> list[Rendered]:
    """Own images under the views; nothing where no picture was kept."""
    named = table_of(table_of(run.summary.get("method")).get("views"))
    path = Path(run.path) / "report_data" / "renderings.npz"
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, BadZipFile):
        return []
    kept = {name: one for name, one in arrays.items() if one.ndim == 3 and one.shape[2] == 3 and one.dtype == np.uint8}
    return [Rendered(name, str(named.get(name) or ""), picture(one)) for name, one in kept.items()]


def _method(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    method = table_of(summary.get("method"))
    if not method:
        return []
    shown, passes = number(method.get("renderings")), number(method.get("view_passes"))
    rows = [
        ("What it does", words.sentence(str(method.get("summary") or ""))),
        ("From", str(method.get("paper") or "")),
        ("Cannot", words.sentence(str(method.get("limits") or ""))),
        ("Labels", "it learned from labels" if method.get("labels") else "it saw no label"),
        ("Renderings shown", words.count(shown) if shown is not None else ""),
        ("View passes", f"{words.count(passes)}; patches and small views by their area" if passes is not None else ""),
        ("Settings", _settings(table_of(method.get("settings")))),
    ]
    return [(name, text) for name, text in rows if text]


def _settings(settings: Mapping[str, Any]) -> str:
    """Nested settings in one line."""
    parts = []
    for key, value in settings.items():
        if isinstance(value, dict):
            parts.append(_settings(value))
        elif value is not None and value != []:
            parts.append(f"{key} {text_of(key, value)}")
    return ", ".join(filter(None, parts))


def _data(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    data = table_of(summary.get("data"))
    parts = table_of(data.get("parts"))
    called = {"pool": "Learned from", "labelled": "of these with a label", "held": "Looked at meanwhile", "test": "Test"}
    rows = [(text, f"{words.count(count)} images") for name, text in called.items() if (count := number(parts.get(name)))]
    aside = rows_of(data.get("set_aside"))
    if aside:
        rows.append(("Set aside", f"{len(aside)}, the first: {aside[0].get('path')} {aside[0].get('reason')}"))
    return rows


def _following(summary: Mapping[str, Any]) -> Sequence[str]:
    saved = summary.get("saved")
    return ["headstart adapt", "LABELLED_IMAGES", f"--backbone {saved}"] if isinstance(saved, str) and saved else ()


def _notes(run: RunFolder) -> list[str]:
    """What else the run wrote down, progress aside."""
    progress = {str(line.get("text")) for line in run.events("note") if line.get("key") == "progress"}
    said = set(texts(run.summary.get("warnings")))
    return [one for one in run.remarks if one not in progress and one.removeprefix("Warning: ") not in said]


def _limits(run: RunFolder) -> Iterator[str]:
    found = table_of(run.summary.get("verdict"))
    yield "What was looked at while it learned chose nothing: the weights are those of the last epoch."
    if rows_of(found.get("cells")):
        yield (
            "One pretraining only: how much another seed would change is in no interval. Intervals are over test images, "
            "and over draws of the labels where there are several."
        )
        share = number(found.get("training_share"))
        if share is not None and share < 0.995:
            yield (
                f"To fit into the time, fine-tuning and training from scratch had {words.percent(share, 0)} of their usual "
                "length; training from scratch loses most by that. A longer --budget tells."
            )
    yield from closing.data_limits(run.inspection)
    if number(run.summary.get("seconds")) is not None:
        yield closing.MEASURED_ONCE
