"""The first thing a reader sees: whether sharing pays, how sure that is, what it saves, and what was saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headstart.report import words
from headstart.report.folder import number, table_of
from headstart.report.multitask_forest import Forest, forests, signed
from headstart.report.multitask_read import Arm, Found, Gap
from headstart.report.multitask_tables import Pair, pair_of
from headstart.report.verdict import Fact, Verdict

LARGE = 0.9
"""Share of the weights of a network each above which one network saves none worth telling."""

NAMED = 5
"""Most tasks that a sentence names."""


def verdict(found: Found) -> Verdict:
    """Undecided is said to be undecided, and what was not measured is said not to be known."""
    arm = found.best
    if arm is None:
        text = "This run ended before anything was measured on test images."
        return Verdict("unfinished", "Not finished", text, ("The same command with --resume goes on from there.",), ())
    tone, kicker, sentence = _sharing(found, arm)
    after = [text for text in (_by_task(found, arm), _saves(found, arm), _plain(found, arm), _kept(found, arm)) if text]
    return Verdict(tone, kicker, sentence, tuple(after), tuple(_facts(found, arm)))


def _sharing(found: Found, arm: Arm) -> tuple[str, str, str]:
    """Tone, kicker and sentence."""
    questions = f"One network answers {words.plural(len(arm.tasks), 'question')}"
    one = arm.delta
    if one is None and not found.alone:
        text = f"{questions}. Whether sharing pays is not known: no network of its own was trained for any task."
        return "undecided", "Not compared", text
    if one is None or one.span is None:
        text = (
            f"{questions}. The mean change against a network each is not defined on these test images; see each task below."
        )
        return "undecided", "No mean over the tasks", text
    low, high = (f"{signed(end)}" for end in one.span)
    between = f"95{words.NARROW}% interval {low} to {high}{words.NARROW}%"
    size = f"{signed(abs(one.mean)).lstrip('+')}{words.NARROW}%"
    if one.decided:
        pays, how = ("Sharing pays", "better") if one.mean > 0 else ("Sharing costs", "worse")
        text = f"{questions}, on average {size} {how} than a network for each ({between})."
        return "decided", pays if one.mean > 0 else f"{pays} some of what networks of their own know", text
    text = f"{questions}; whether better or worse than a network for each is undecided: on average {signed(one.mean)}"
    text += f"{words.NARROW}% ({between})."
    return "undecided", "Whether sharing pays is undecided", text


def _by_task(found: Found, arm: Arm) -> str:
    """What is decided, task by task."""
    gaps = found.against(arm.name, plain=False)
    if not gaps:
        return ""
    rest = [gap.task for gap in gaps if not gap.decided]
    if len(rest) == len(gaps):
        return f"Task by task: undecided on {_all_of(rest, len(gaps))}."
    return f"Task by task: {_decided(gaps)}." + (f" Undecided: {_some(rest)}." if rest else "")


def _decided(gaps: Sequence[Gap]) -> str:
    """better on a (3.2 points better); worse on b (mean absolute error 0.135 larger)."""
    parts = []
    for said in ("better", "worse"):
        mine = [f"{gap.task} ({gap.measure.told(gap.mean)})" for gap in gaps if gap.said == said]
        parts += [f"{said} on {_some(mine)}"] if mine else []
    return "; ".join(parts)


def _all_of(names: Sequence[str], total: int) -> str:
    return "every one" if len(names) == total and total > 2 else _some(names)


def _some(names: Sequence[str]) -> str:
    return words.listed([*names[:NAMED], *([f"{len(names) - NAMED} more"] if len(names) > NAMED else [])])


def _saves(found: Found, arm: Arm) -> str:
    """What one network is against one for each."""
    apart, inference = table_of(found.summary.get("apart")), table_of(found.summary.get("inference"))
    networks = number(apart.get("networks"))
    if networks is None:
        return ""
    parts = []
    if (each := number(apart.get("parameters"))) and arm.parameters is not None:
        parts.append(f"{words.compact(arm.parameters)} weights instead of {words.compact(each)}")
    one, other = (number(table_of(inference.get(key)).get("flops")) for key in ("together", "apart"))
    if one is not None and other:
        parts.append(f"{words.flop(one)} instead of {words.flop(other)} for all answers about an image")
    one, other = (number(table_of(inference.get(key)).get("ms")) for key in ("together", "apart"))
    if one is not None and other:
        parts.append(f"{words.short(one / 1000)} instead of {words.short(other / 1000)}")
    if (each := number(apart.get("seconds"))) and arm.seconds is not None:
        parts.append(f"{words.duration(arm.seconds)} of training instead of {words.duration(each)}")
    if not parts:
        return ""
    each = number(apart.get("parameters"))
    if each and arm.parameters is not None and arm.parameters > LARGE * each:  # a tower per task
        return f"Its towers are about as large as {words.count(networks)} networks: {', '.join(parts)}."
    return f"One network instead of {words.count(networks)}: {', '.join(parts)}."


def _plain(found: Found, arm: Arm) -> str:
    """Whether the plain sum would have done."""
    others = [one for one in found.together if one.name not in (arm.name, found.baseline)]
    if arm.name == found.baseline:
        if not others:
            return "It was trained on the plain sum of the losses."
        ahead = [(one.name, found.against(one.name, plain=True)) for one in others]
        told = [f"{name} is {_decided(mine)}" for name, gaps in ahead if (mine := [g for g in gaps if g.said == "better"])]
        if told:
            return f"It was trained on the plain sum of the losses. Against that, {'; '.join(told)}."
        if not all(gaps for _, gaps in ahead):
            return f"It was trained on the plain sum of the losses, beside {_some([one.name for one in others])}."
        ways = f"{others[0].name} was" if len(others) == 1 else f"none of {_some([one.name for one in others])} was"
        nowhere = "nowhere decided better" if len(others) == 1 else "anywhere decided better"
        return f"It was trained on the plain sum of the losses; {ways} {nowhere}."
    gaps = found.against(arm.name, plain=True)
    if not gaps:
        return ""
    if not any(gap.decided for gap in gaps):
        return f"Against the plain sum, {arm.name} is undecided on every task: the plain sum would do."
    rest = [gap.task for gap in gaps if not gap.decided]
    text = f"Against the plain sum, {arm.name} is {_decided(gaps)}."
    return text + (f" Undecided: {_some(rest)}." if rest else "")


def _kept(found: Found, arm: Arm) -> str:
    """What lies in model/, and how it was chosen."""
    asked = [one.name for one in found.arms if one.role == "asked"]
    seed = f", trained with the first of {found.seeds} seeds" if found.seeds > 1 else ""
    if len(asked) < 2:
        return f"Saved in model/: {arm.name}{seed}."
    by = f"what it says about {found.main}" if found.main else "all tasks together"
    return (
        f"Saved in model/: {arm.name}{seed}, chosen among {_some(asked)} by {by} on validation images, not on test images."
    )


def _facts(found: Found, arm: Arm) -> Iterator[Fact]:
    if arm.delta:
        span = arm.delta.span
        note = f"{signed(span[0])} to {signed(span[1])}" if span else ""
        yield Fact(f"{signed(arm.delta.mean)}{words.NARROW}%", "against a network each", note)
    main = next((task for task in found.tasks if task.main), None)
    if main and (one := arm.on(main)):
        yield Fact(main.measure.value(one.mean), f"{main.name}, {main.measure.text}", main.measure.between(one.span))
    apart = table_of(found.summary.get("apart"))
    yield from _saved("weights", words.compact, arm.parameters, number(apart.get("parameters")))
    inference = table_of(found.summary.get("inference"))
    one_ms, other_ms = (number(table_of(inference.get(key)).get("ms")) for key in ("together", "apart"))
    if one_ms is not None:
        other = None if other_ms is None else other_ms / 1000
        yield from _saved("for all answers", words.short, one_ms / 1000, other)


def _saved(name: str, unit: object, one: float | None, other: float | None) -> Iterator[Fact]:
    if one is not None and callable(unit):
        yield Fact(unit(one), name, f"instead of {unit(other)}" if other is not None else "")


# --- which tasks help ------------------------------------------------------------------------------------------------------


class Helpers:
    """The section about main and auxiliary tasks."""

    def __init__(self, found: Found) -> None:
        gaps = found.helpers
        self.main = found.main
        self.lead = _helped(found)
        self.told = [_told(gap) for gap in gaps]
        self.forests: list[Forest] = forests(gaps, lambda gap: (gap.helper, f"for {gap.task}"))
        self.pairs: list[Pair] = [pair_of(gap) for gap in gaps]


def helpers(found: Found) -> Helpers | None:
    """None where nothing was left out."""
    return Helpers(found) if found.helpers else None


def _helped(found: Found) -> str:
    """What was compared, and how it came out."""
    first, total = found.helpers[0], len(found.helpers)
    alone = {arm.name for arm in found.alone.values()}
    if first.b in alone:
        whose = f"{first.task}'s own network" if total == 1 else "each task's own network"
        text = f"{first.a} against {whose}; right of nought, {first.helper if total == 1 else 'the other task'} helped."
    elif total == 1:
        text = f"{first.a} was trained again without {first.helper}; right of nought, having that task helped."
    else:
        who = f"the others beside {found.main}" if found.main else "the tasks"
        text = f"{first.a} was trained again without each of {who} in turn; right of nought, having that task helped."
    if total == 1:
        return text
    count = {said: sum(gap.said == said for gap in found.helpers) for said in ("better", "worse", "undecided")}
    parts = [("helped", count["better"]), ("harmed", count["worse"]), ("undecided", count["undecided"])]
    told = words.listed(f"{name} {words.count(n)}" for name, n in parts if n)
    text += f" Of {words.plural(total, 'such comparison')}: {told}."
    return (
        f"{text} The more of them, the more come out by chance: p is Holm's, adjusted for all; intervals are each one's own."
    )


def _open(gap: Gap) -> str:
    """+4.3 points (0.0 to 10.7); mean absolute error 0.016 smaller (smaller by -0.011 to 0.042)."""
    if gap.measure.share:
        return gap.measure.gap(gap.mean) + (f" ({gap.measure.gaps(gap.span)})" if gap.span else "")
    way = "larger" if gap.measure.higher else "smaller"
    return gap.measure.told(gap.mean) + (f" ({way} by {gap.measure.gaps(gap.span)})" if gap.span else "")


def _told(gap: Gap) -> str:
    least = words.points(gap.detectable) if gap.measure.share else words.figures(gap.detectable)
    told = gap.detectable is not None and not (gap.measure.share and gap.detectable > 1)
    missed = f"; a difference below {least} would probably have been missed" if told else ""
    if not gap.decided:
        return f"Whether {gap.helper} helps {gap.task} is undecided: {_open(gap)}{missed}."
    verb = "helped" if gap.mean > 0 else "harmed"
    return f"{gap.helper} {verb} {gap.task}: {_open(gap)}."
