"""The outcome of a choice: who is chosen, what every measure said, where they disagree; as records and as text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from headstart.metrics.cost import format_bytes, format_seconds
from headstart.metrics.paired import Difference, holm_differences
from headstart.studies.race import Arm, Fold, Standing, Trial
from headstart.studies.scored import Scored
from headstart.studies.verdict import difference, interval_of
from headstart.transferability.scores import SCORES

MEASURES = {name: (about.label, about.unit) for name, about in SCORES.items()}
"""Measure -> what people call it, and its unit. More is better in all."""


_LEVEL = 0.0005
"""Differences that would be printed as 0.0 points."""


@dataclass(frozen=True)
class Choice:
    """Who is chosen, and how sure that is.

    order        all candidates, best first
    by           `race` or `probe`: which of the two the chosen one is best by
    differences  the chosen one minus each other, each at its best, on the folds both ran; adjusted for their number
    against      the one hardest to tell from the chosen one; None when there is no other
    """

    order: list[str]
    by: str
    differences: dict[str, Difference]
    against: str | None

    @property
    def chosen(self) -> str:
        """The best."""
        return self.order[0]

    @property
    def decided(self) -> bool:
        """The chosen one was told apart from every other, and there were others."""
        return bool(self.differences) and all(one.decided and one.mean > 0 for one in self.differences.values())


def choose(scored: Sequence[Scored], standings: Sequence[Standing], folds: Sequence[Fold], seed: int) -> Choice:
    """The network that does best in the better of two ways: frozen under a linear head, or fine-tuned in the race.

    Where fine-tuning has too few images to pay, a race alone would reward whoever suffers least from it. Networks leave the
    race on different folds, harder and easier ones: each fold counts relative to what the probes of all reach on it. To be
    chosen for its race a network needs two folds, of one alone only the rank is made.
    """
    probes = {one.name: probe_standing(one, folds) for one in scored}
    raced = {one.arm.name: one for one in standings if one.trials and one.status != "diverged"}
    flops = {one.name: one.flops for one in scored}
    usual = [float(np.mean([probe.trials[k].accuracy for probe in probes.values()])) for k in range(len(folds))]

    def worth(one: Standing) -> float:
        return float(np.mean(usual) + np.mean([trial.accuracy - usual[k] for k, trial in one.trials.items()]))

    def ways(name: str, least: int) -> list[Standing]:
        fine = raced.get(name)
        return [probes[name], *([fine] if fine is not None and len(fine.trials) >= least else [])]

    tried = {name: max(ways(name, min(2, len(folds))), key=worth) for name in probes}
    best = max(probes, key=lambda name: (worth(tried[name]), -flops[name]))
    ahead = tried[best]
    raw, value = {}, {best: math.inf}
    for name in probes:
        if name != best:
            found = [difference(ahead, one, folds, seed) for one in ways(name, 1) if set(one.trials) & set(ahead.trials)]
            raw[name] = min(found, key=lambda one: one.mean)
            value[name] = max(worth(one) for one in ways(name, 1))
    adjusted = holm_differences(raw) if raw else {}
    order = sorted(probes, key=lambda name: (-value[name], flops[name]))
    close = min(adjusted, key=lambda name: (adjusted[name].decided, adjusted[name].mean), default=None)
    return Choice(order, "race" if ahead is raced.get(best) else "probe", adjusted, close)


def probe_standing(one: Scored, folds: Sequence[Fold]) -> Standing:
    """The cross-validated probe as trials, fold by fold, so that it can be compared with what was fine-tuned."""
    held = np.sort(np.concatenate([valid for _, valid in folds]))
    right = np.asarray(one.correct, bool)
    arm = Arm(one.name, "probe", None, one.name, "frozen backbone, linear head at the best depth", True)
    trials = {k: Trial(one.name, k, right[np.searchsorted(held, valid)], 0.0, 0) for k, (_, valid) in enumerate(folds)}
    return Standing(arm, trials, "finished")


def sentence_of(choice: Choice, scored: Mapping[str, Scored]) -> str:
    """Which one, and why; or that it is not decided."""
    name = choice.chosen
    if choice.against is None:
        return f"{name} is the only candidate that could be loaded, so there was nothing to compare it with."
    gap, other = choice.differences[choice.against], choice.against
    how = "after fine-tuning" if choice.by == "race" else "frozen, by a linear probe"
    if choice.decided:
        return (
            f"{name} is best {how}, decided against each of {len(choice.differences)}: {_points(gap.mean)} better than "
            f"{other} ({100 * gap.level:g} %: {100 * gap.low:+.1f} to {100 * gap.high:+.1f})."
        )
    text = f"{name} is ahead {how}, but it is not decided: {other} "
    if abs(gap.mean) < _LEVEL:
        text += "is level with it"
    else:
        text += f"is {_points(gap.mean)} behind" if gap.mean > 0 else f"is {_points(-gap.mean)} ahead on the folds it ran"
    text += f", and the smallest difference these images can show is {_points(gap.detectable)}."
    ratio = scored[name].flops / max(scored[other].flops, 1)
    return text + (f" {other} needs {1 / ratio:.1g} of the work per image." if ratio >= 1.5 and gap.mean > -_LEVEL else "")


def _points(share: float) -> str:
    points = 100 * share
    return f"{points:.1f} point" + ("" if f"{points:.1f}" == "1.0" else "s")


def candidate_records(
    choice: Choice,
    scored: Mapping[str, Scored],
    standings: Mapping[str, Standing],
    folds: Sequence[Fold],
    epochs: int,
    absent: Mapping[str, str],
) -> list[dict[str, Any]]:
    """A record per candidate, best first."""
    ranks = {measure: _ranks(measure, scored) for measure in MEASURES}
    records = []
    for rank, name in enumerate(choice.order, 1):
        one = scored[name]
        race = race_record(standings.get(name), folds, epochs, absent.get(name, ""))
        seconds = {**one.seconds, "race": race.pop("seconds")}
        found = {
            measure: {**one.scores[measure], "rank": ranks[measure][name]} if measure in one.scores else None
            for measure in MEASURES
        }
        records.append(
            {
                "name": name,
                "rank": rank,
                "parameters": one.parameters,
                "bytes": one.bytes,
                "flops": one.flops,
                "input_size": one.input_size,
                "feature_width": one.feature_width,
                "seconds": {**seconds, "all": sum(seconds.values())},
                "feature_bytes": one.feature_bytes,
                "scores": found,
                "why_missing": one.why_missing,
                "depth": one.depth,
                "peak": one.peak,
                "race": race,
            }
        )
    return records


def race_record(standing: Standing | None, folds: Sequence[Fold], epochs: int, absent: str) -> dict[str, Any]:
    """Round by round how a network fared: accuracy over the folds so far, and the images it learned from in each."""
    if standing is None:
        return {"rounds": [], "status": "not raced", "reason": absent or None, "seconds": 0.0}
    rounds = []
    for fold in sorted(standing.trials):
        upto = Standing(standing.arm, {k: trial for k, trial in standing.trials.items() if k <= fold})
        interval = interval_of(upto, folds)
        rounds.append(
            {
                "images": len(folds[fold][0]),
                "epochs": epochs,
                "accuracy": upto.mean,
                "interval": [interval.low, interval.high],
            }
        )
    status = "not raced" if standing.status == "skipped" else standing.status
    seconds = sum(trial.seconds for trial in standing.trials.values())
    return {"rounds": rounds, "status": status, "reason": standing.reason or None, "seconds": seconds}


def _ranks(measure: str, scored: Mapping[str, Scored]) -> dict[str, int]:
    """1 is best; equals share a rank. Of those that have the measure."""
    values = {name: one.scores[measure]["value"] for name, one in scored.items() if measure in one.scores}
    return {name: 1 + sum(other > value for other in values.values()) for name, value in values.items()}


def agreement_records(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Kendall's tau-b between every two measures, and the race, over the candidates that have both (two at least).

    Left out where one of the two tells no candidates apart.
    """
    columns = {measure: [_value(record, measure) for record in records] for measure in MEASURES}
    columns["race"] = [record["race"]["rounds"][-1]["accuracy"] if record["race"]["rounds"] else None for record in records]
    found = []
    for a, b in itertools.combinations(columns, 2):
        pairs = [(x, y) for x, y in zip(columns[a], columns[b], strict=True) if x is not None and y is not None]
        tau = kendalltau(*zip(*pairs, strict=True)).statistic if len(pairs) > 1 else math.nan
        if math.isfinite(tau):
            found.append({"a": a, "b": b, "tau": float(tau)})
    return found


def disagreements(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for every measure whose favourite is not the probe's, and for the race."""
    said = []
    probe = _favourite(records, "probe")
    by_name = {record["name"]: record for record in records}
    for measure, (label, _) in MEASURES.items():
        favourite = _favourite(records, measure)
        if probe is None or favourite is None or measure == "probe" or favourite == probe:
            continue
        gap = by_name[probe]["scores"]["probe"]["value"] - by_name[favourite]["scores"]["probe"]["value"]
        better = f"by the probe {_points(gap)} better" if gap >= _LEVEL else "by the probe they are level"
        said.append(f"{label} prefers {favourite}, the probe {probe}: {better}.")
    raced = [record for record in records if len(record["race"]["rounds"]) > 1]
    if len(raced) > 1 and probe is not None:
        first = max(raced, key=lambda record: (len(record["race"]["rounds"]), record["race"]["rounds"][-1]["accuracy"]))[
            "name"
        ]
        if first != probe:
            gap = by_name[probe]["scores"]["probe"]["value"] - by_name[first]["scores"]["probe"]["value"]
            said.append(f"The race prefers {first}, the probe {probe}: frozen, {probe} is {_points(gap)} better.")
    return said


def _value(record: Mapping[str, Any], measure: str) -> float | None:
    found = record["scores"][measure]
    return None if found is None else found["value"]


def _favourite(records: Sequence[Mapping[str, Any]], measure: str) -> str | None:
    """Who ranks first; of equals the one that came out better."""
    there = [record for record in records if record["scores"][measure] is not None]
    return min(there, key=lambda record: record["scores"][measure]["rank"])["name"] if len(there) > 1 else None


def summarise(
    choice: Choice,
    scored: Sequence[Scored],
    standings: Sequence[Standing],
    folds: Sequence[Fold],
    *,
    epochs: int,
    unavailable: Sequence[Mapping[str, str]],
    absent: Mapping[str, str],
) -> dict[str, Any]:
    """The part of summary.json that the choice is. `absent`: why those that did not race did not."""
    by_name = {one.name: one for one in scored}
    records = candidate_records(choice, by_name, {s.arm.name: s for s in standings}, folds, epochs, absent)
    gap = choice.differences.get(choice.against) if choice.against is not None else None
    there = {measure for measure in MEASURES if any(record["scores"][measure] is not None for record in records)}
    return {
        "chosen": choice.chosen,
        "sentence": sentence_of(choice, by_name),
        "decided": choice.decided,
        "by": choice.by,
        "measures": [
            {"name": name, "label": label, "higher_is_better": True, "unit": unit}
            for name, (label, unit) in MEASURES.items()
            if name in there
        ],
        "candidates": records,
        "unavailable": list(unavailable),
        "agreement": agreement_records(records),
        "disagreements": disagreements(records),
        "baselines": {
            "bigger_is_better": _favourite(records, "size") or choice.chosen,
            "logme": _favourite(records, "logme") or choice.chosen,
            "probe": _favourite(records, "probe") or choice.chosen,
        },
        "comparison": None
        if gap is None
        else {
            "against": choice.against,
            "difference": gap.mean,
            "interval": [gap.low, gap.high],
            "detectable": gap.detectable,
        },
    }


def as_text(summary: Mapping[str, Any]) -> str:
    """The ranking for a terminal."""
    data, candidates = summary["data"], summary["candidates"]
    width = max(9, *(len(one["name"]) for one in candidates))
    lines = [
        f"{data['num_images']:,} images, {data['num_classes']} classes; "
        f"{len(candidates)} network{'s' if len(candidates) > 1 else ''}, looked at on the same "
        f"{data['splits']['train']:,} training images",
        "",
        f"{'rank':>4}  {'candidate':<{width}}  {'probe':>5} {'95 % interval':<15} {'k-NN':>5} {'LogME':>6}  {'race':>5}"
        f"  {'took':>8}  {'weights':>8}  {'features':>8}",
        *(_line(one, width) for one in candidates),
        "(k-NN and LogME: the rank they give; race: accuracy after short fine-tuning)",
    ]
    if summary["unavailable"]:
        lines += ["", "could not be used:", *(f"  {one['name']}: {one['reason']}" for one in summary["unavailable"])]
    if summary["disagreements"]:
        lines += ["", "where the measures disagree:", *(f"  {sentence}" for sentence in summary["disagreements"])]
    lines += ["", summary["sentence"], "", "To adapt it:", f"  {summary['next']}"]
    return "\n".join(lines)


def _line(one: Mapping[str, Any], width: int) -> str:
    probe, race = one["scores"]["probe"], one["race"]
    low, high = probe["interval"]
    ranks = [one["scores"][name]["rank"] if one["scores"][name] else "-" for name in ("knn", "logme")]
    raced = f"{race['rounds'][-1]['accuracy']:.3f}" if race["rounds"] else "-"
    return (
        f"{one['rank']:>4}  {one['name']:<{width}}  {probe['value']:.3f} {f'{low:.3f} to {high:.3f}':<15} {ranks[0]:>5} "
        f"{ranks[1]:>6}  {raced:>5}  {format_seconds(one['seconds']['all']):>8}  {format_bytes(one['bytes']):>8}  "
        f"{format_bytes(one['feature_bytes']):>8}"
    )
