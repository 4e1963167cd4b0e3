"""The page of `headstart advise`: what to do with the data, what to expect of it, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.report import closing, found, words
from headstart.report.adapt import subtitle, title
from headstart.report.advice import advice, likely, strategy_labels
from headstart.report.depths import depth
from headstart.report.folder import RunFolder, interval, number, table_of
from headstart.report.forecast import advised_of, forecast, level_of
from headstart.report.growth import growth
from headstart.report.pictures import read_pictures
from headstart.report.tables import text_of
from headstart.report.verdict import Fact, Verdict

TEMPLATE = "advise.html"

SURE = 0.8
"""Probability that nothing else is more than a point better, from which the advice is called sure."""

SETTINGS = {
    "frozen": "Left frozen",
    "fine_tuned": "Fine-tuned",
    "re_trained": "Drawn anew and trained",
    "head": "Head",
    "head_reads": "The head reads",
    "penalties": "Penalties tried for the head",
    "optimizer": "Optimiser",
    "lr_head": "Learning rate of the head",
    "lr_fine_tuned": "Learning rate of fine-tuned blocks",
    "epochs": "Epochs",
    "steps": "Steps",
    "batch_size": "Images in a batch",
    "weight_decay": "Weight decay",
    "mirror": "Also on mirrored images",
}
"""Settings of a strategy by what a person calls them."""

BLOCKS = ("frozen", "fine_tuned", "re_trained")
"""Settings that list the blocks of the network, each block in one of them."""

LISTED = 6
"""Entries of a list shown one by one; of longer ones the first, second and last."""


@dataclass(frozen=True)
class Doing:
    """How to follow the advice: the command in pieces, and every setting."""

    lead: str
    command: Sequence[str]
    settings: Sequence[tuple[str, str]]


def context(run: RunFolder) -> dict[str, Any]:
    """Everything the template shows; a section the run has nothing for is None."""
    pictures = read_pictures(run.path / "report_data")  # where there are none the page goes without: none are promised
    return {
        "title": title(run),
        "subtitle": subtitle(run),
        "verdict": verdict(run.summary),
        "advice": advice(run),
        "doing": doing(run.summary),
        "forecast": forecast(run),
        "growth": growth(run),
        "depth": depth(run),
        "found": found.found(run, pictures),
        "cost": closing.cost(run),
        "repeat": closing.repeat(run),
        "limits": list(_limits(run)),
        "notes": run.remarks,
        "gaps": run.gaps,
    }


def verdict(summary: Mapping[str, Any]) -> Verdict:
    """What to do and what to expect of it; said to be unsure where it is."""
    name, said = advised_of(summary), table_of(summary.get("advice"))
    if not name:
        text = "This run ended before there was any advice."
        return Verdict("unfinished", "Not finished", text, ("The same command gives it another try.",), ())
    way = f"“{strategy_labels(summary).get(name, name)}”"
    expected, sure = table_of(said.get("expected")), number(said.get("sure"))
    mean, span = number(expected.get("accuracy")), interval(expected.get("interval"))
    after = [words.sentence(str(said.get("description") or ""))]
    if mean is None:
        sentence = f"Try {way}."
        after.append("Past experiments do not reach data like these: the classic table decides, without a forecast.")
    else:
        within = f" ({level_of(summary)} interval {words.percent_range(span)})" if span else ""
        sentence = f"Use {way}: it should get {words.percent(mean)} of new images right{within}."
        after.append(_sureness(sure))
    sound = mean is not None and sure is not None and sure >= SURE
    kicker = "Advice" if sound else "Advice, but not a sure one" if mean is not None else "Advice without a forecast"
    after.append("Nothing was trained for this but linear heads; how it really turns out only training it tells.")
    return Verdict("decided" if sound else "undecided", kicker, sentence, tuple(filter(None, after)), _facts(summary))


def _sureness(sure: float | None) -> str:
    if sure is None:
        return ""
    text = f"With {likely(sure)} probability no other way would be more than a point better."
    return text if sure >= SURE else f"{text} Whether it is the best is open: let headstart adapt compare the likely ones."


def _facts(summary: Mapping[str, Any]) -> tuple[Fact, ...]:
    said = table_of(summary.get("advice"))
    expected, sure = table_of(said.get("expected")), number(said.get("sure"))
    span = interval(expected.get("interval"))
    facts = [
        ("expected accuracy", words.percent(number(expected.get("accuracy"))), words.percent_range(span) if span else ""),
        ("nothing else a point better", likely(sure) if sure is not None else words.UNKNOWN, "probability"),
        ("following it takes", _roughly(number(said.get("seconds"))), "with verification on every fold"),
        ("this advice took", words.duration(number(summary.get("seconds"))), ""),
    ]
    return tuple(Fact(value, name, note) for name, value, note in facts if value != words.UNKNOWN)


def _roughly(seconds: float | None) -> str:
    """An estimate, without the digits that it cannot know."""
    if seconds is None:
        return words.UNKNOWN
    if seconds < 90:
        return f"about {max(1, round(seconds))}{words.NARROW}s"
    if seconds >= 5400:
        return f"about {round(seconds / 3600)}{words.NARROW}h"
    return (
        f"about {round(seconds / 60)}{words.NARROW}min"
        if seconds < 5400
        else f"about {round(seconds / 3600)}{words.NARROW}h"
    )


def doing(summary: Mapping[str, Any]) -> Doing | None:
    """How to follow the advice, or None for a run without any."""
    said, command = table_of(summary.get("advice")), str(summary.get("next") or "")
    settings = table_of(said.get("settings"))
    every = sum(len(settings[key]) for key in BLOCKS if isinstance(settings.get(key), list))
    rows = [
        (SETTINGS.get(key) or words.human(key).capitalize(), _setting(key, value, every))
        for key, value in settings.items()
        if value not in (None, [])
    ]
    if not rows and not command:
        return None
    lead = "This trains the network as advised, verifies it on every fold and then tests it once."
    if command:
        lead += " Without --trust it compares the advised way with its likely rivals first."
    return Doing(lead if command else "What the advised way would do, setting by setting.", closing.pieces(command), rows)


def _setting(key: str, value: Any, every: int) -> str:
    if not isinstance(value, list):
        return text_of(key, value)
    shown = [text_of(key, one) for one in value]
    text = ", ".join(shown if len(shown) <= LISTED else [*shown[:2], "…", shown[-1]])
    if key in BLOCKS and len(value) > 1:
        return f"all {every} blocks: {text}" if len(value) == every else f"{len(value)} of {every} blocks: {text}"
    return text


def _limits(run: RunFolder) -> Iterator[str]:
    summary = run.summary
    if summary.get("forecast"):
        drawn = words.grouped(str(summary.get("experience") or "past experiments"))
        yield (
            f"The forecast was learned from {drawn}. It is as good as those resemble your data and network, and about "
            "one in five truths lies outside its intervals."
        )
        yield "The accuracies expected of several ways err together: their order is surer than their height."
    if summary.get("learning_curve"):
        yield "Where more labels would lead is an extrapolation of the measured curve, of a linear head and of no other way."
    yield closing.GATHERED
    yield from closing.data_limits(run.inspection)
    if number(summary.get("seconds")) is not None:
        yield closing.MEASURED_ONCE
