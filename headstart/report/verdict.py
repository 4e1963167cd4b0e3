"""The first thing a reader sees: one sentence that says what was found, how sure that is, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.forecast import advised_of
from headstart.report.judged import ending, judged_on


@dataclass(frozen=True)
class Fact:
    """One large figure under the verdict."""

    value: str
    name: str
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """`tone` is `decided`, `undecided` or `unfinished`; it is said in `kicker` too, never by colour alone."""

    tone: str
    kicker: str
    sentence: str
    after: tuple[str, ...]
    facts: tuple[Fact, ...]


def labels_of(summary: Mapping[str, Any]) -> dict[str, str]:
    """What a person calls each arm, by its name."""
    return {str(arm.get("name")): str(arm.get("label") or arm.get("name")) for arm in rows_of(summary.get("arms"))}


def verdict(run: RunFolder) -> Verdict:
    """The verdict of an adaptation run, also of one that was stopped."""
    if not run.finished or not run.summary.get("chosen"):
        return _unfinished(run)
    labels = labels_of(run.summary)
    chosen = _quoted(run.summary["chosen"], labels)
    comparison = comparison_of(run.summary)
    rival = _quoted(comparison["against"], labels) if comparison.get("against") else None
    decided = bool(run.summary.get("decided"))
    tests = _test_words(table_of(run.summary.get("test")))
    if rival is None and _tried(run.summary) > 1:
        kicker, sentence = "Not compared", f"{chosen} was taken: {tests}. No other way was judged on the same images."
    elif rival is None:
        kicker, sentence = "Only one way tried", f"{chosen} was the only way tried: {tests}."
    elif decided:
        kicker, sentence = "Decided", f"{chosen} is the best of the {words.count(_tried(run.summary))} ways tried: {tests}."
    else:
        better = "is truly better than" if (number(comparison.get("difference")) or 0) >= 0 else "is truly worse than"
        kicker, sentence = "Not decided", f"{chosen} was taken: {tests}. Whether it {better} {rival} is undecided."
    margin = _margin(run.summary, chosen, rival, decided, judged_on(run).where)
    after = tuple(filter(None, [margin, _advice(run.summary, labels)]))
    sure = decided or (rival is None and _tried(run.summary) == 1)
    return Verdict("decided" if sure else "undecided", kicker, sentence, after, _facts(run.summary))


def comparison_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison that matters, always as the chosen arm minus its rival.

    A run that took the cheaper of two compares the best mean *with the chosen one*; that is turned round here.
    """
    found = dict(table_of(summary.get("comparison")))
    if not found.get("against") or found["against"] != summary.get("chosen"):
        return found
    others = [a for a in rows_of(summary.get("arms")) if a.get("status") == "finished" and a.get("name") != found["against"]]
    best = max(others, key=lambda arm: number(arm.get("accuracy_mean")) or 0.0, default=None)
    difference, span = number(found.get("difference")), interval(found.get("interval"))
    found["against"] = found.get("best") or (best.get("name") if best else None)
    found["difference"] = None if difference is None else -difference
    found["interval"] = None if span is None else [-span[1], -span[0]]
    return found


def _quoted(name: Any, labels: Mapping[str, str]) -> str:
    return f"“{labels.get(str(name), str(name))}”"


def _tried(summary: Mapping[str, Any]) -> int:
    return sum(number(arm.get("accuracy_mean")) is not None for arm in rows_of(summary.get("arms")))


def _test_words(test: Mapping[str, Any]) -> str:
    accuracy, images = number(test.get("accuracy")), number(test.get("num_images"))
    if accuracy is None:
        return "the test images have not been looked at"
    of = f"the {words.count(images)} test images" if images is not None else "the test images"
    span = interval(test.get("interval"))
    sure = f" (95{words.NARROW}% interval {words.percent_range(span)})" if span else ""
    return f"it gets {words.percent(accuracy)} of {of} right{sure}"


def _margin(summary: Mapping[str, Any], chosen: str, rival: str | None, decided: bool, where: str) -> str:
    comparison = comparison_of(summary)
    difference, span = number(comparison.get("difference")), interval(comparison.get("interval"))
    if rival is None or difference is None:
        return ""
    side = "ahead of" if difference >= 0 else "behind"
    sure = [*([f"95{words.NARROW}% interval {_sides(span)}"] if span else []), *_p_value(summary, comparison)]
    text = f"On {where} {chosen} is {words.points(abs(difference))} {side} {rival}"
    text += f" ({', '.join(sure)})" if sure else ""
    least = number(comparison.get("detectable"))
    if decided:
        return text + "."
    taken = _why_taken(summary, comparison, difference)
    if least is None:
        return f"{text}. {taken}"
    seen = (
        f"With this number of images only a difference of about {words.points(least)} or more would reliably have been seen"
    )
    return f"{text}. {seen}. {taken}"


def _sides(span: tuple[float, float]) -> str:
    """(-0.226, 0.065) -> from 22.6 behind to 6.5 ahead."""
    ends = [words.points(abs(end)).partition(" ")[0] for end in span]
    if span[0] < 0 < span[1]:
        return f"from {ends[0]} behind to {ends[1]} ahead"
    return f"from {ends[0]} to {ends[1]} ahead" if span[1] > 0 else f"from {ends[0]} to {ends[1]} behind"


def _p_value(summary: Mapping[str, Any], comparison: Mapping[str, Any]) -> list[str]:
    p = number(comparison.get("p_value"))
    if p is None:
        return []
    rivals = sum(bool(table_of(arm.get("difference_to_best"))) for arm in rows_of(summary.get("arms")))
    return [words.p_value(p) + (f" after correction for {words.count(rivals)} comparisons" if rivals > 1 else "")]


def _why_taken(summary: Mapping[str, Any], comparison: Mapping[str, Any], difference: float) -> str:
    arms = {str(arm.get("name")): arm for arm in rows_of(summary.get("arms"))}
    chosen, rival = (arms.get(str(name), {}) for name in (summary.get("chosen"), comparison.get("against")))
    if (number(rival.get("folds_run")) or 0) < (number(chosen.get("folds_run")) or 0):
        more = "; a longer --budget lets the other finish" if ending(rival) == "late" else ""
        return f"It was taken as the one that was tried on every fold{more}."
    if difference >= 0 and (number(chosen.get("folds_run")) or 0) < (number(rival.get("folds_run")) or 0):
        return "It was taken for its lead, though time did not reach for every fold; a longer --budget would tell."
    if difference >= 0 and (number(chosen.get("cost")) or 0) > (number(rival.get("cost")) or 0):
        return "It was taken although dearer to train, its lead being more than a standard error."
    if difference >= 0:
        return "It was taken, being ahead and no dearer to train."
    return "The one cheaper to train was taken."


def _advice(summary: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    advised = advised_of(summary)
    if not advised:
        return ""
    name, regret = _quoted(advised, labels), number(summary.get("regret"))
    if advised == summary.get("chosen"):
        if _tried(summary) == 1:
            return "It is what was advised; no other way was tried to verify that."
        return "That is also what was advised before anything was tried."
    if regret is None:
        return f"Advised before anything was tried: {name}."
    if round(1000 * regret) == 0:
        return f"Advised before anything was tried was {name}; following it blindly would have cost nothing measurable."
    cost = f"following it blindly would have cost {words.points(regret)} in the comparison"
    return f"Advised before anything was tried was {name}; {cost}."


def _facts(summary: Mapping[str, Any]) -> tuple[Fact, ...]:
    test, comparison = table_of(summary.get("test")), comparison_of(summary)
    arm = next((a for a in rows_of(summary.get("arms")) if a.get("name") == summary.get("chosen")), {})
    total = number(table_of(summary.get("backbone")).get("parameters"))
    trained = number(arm.get("trained_parameters"))
    share = f"the backbone has {words.compact(total)}" if total else ""
    behind = (number(comparison.get("difference")) or 0.0) < 0
    facts = [
        ("test accuracy", words.percent(number(test.get("accuracy"))), words.percent_range(interval(test.get("interval")))),
        (
            "against the highest mean" if behind else "against the runner-up",
            words.points(number(comparison.get("difference")), sign=True),
            words.points_range(interval(comparison.get("interval"))),
        ),
        ("weights trained", words.compact(trained), share),
        ("the whole job", words.duration(number(summary.get("seconds"))), ""),
    ]
    return tuple(
        Fact(value, name, "" if note == words.UNKNOWN else note) for name, value, note in facts if value != words.UNKNOWN
    )


def _unfinished(run: RunFolder) -> Verdict:
    epochs = run.events("epoch")
    arms = sorted({str(record.get("arm")) for record in epochs if record.get("arm")})
    seen = f"Its log holds {words.plural(len(epochs), 'epoch')} of {words.listed(arms)}." if epochs else ""
    said = "This run has not finished, so there is no verdict yet."
    if run.finished:
        said = "This run ended without choosing a way to adapt the network, so there is no verdict."
    more = Markup(
        "What it had written by then is shown below; the same command with <code>--resume</code> goes on from there."
    )
    return Verdict("unfinished", "Not finished", said, tuple(filter(None, (seen, more))), ())
