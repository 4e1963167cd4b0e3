"""From a finished adaptation to its records: summary, pictures for the report, and the model with its ancestors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import headstart
from headstart.catalog.adapt import AdaptConfig, BackboneConfig
from headstart.data.prepare import DataSet
from headstart.data.task import Task
from headstart.engine.model import Ancestor, Card, Model, saved_card
from headstart.engine.source_statistics import statistics_from_task
from headstart.files import write_atomic, write_json
from headstart.metrics import classification
from headstart.metrics.intervals import wilson
from headstart.metrics.paired import Difference
from headstart.nets.net import Net, count_parameters
from headstart.studies.advised import records
from headstart.studies.arms import all_arms, base_recipe
from headstart.studies.backbone import untrained
from headstart.studies.measure import Measures
from headstart.studies.race import Race, Standing
from headstart.studies.records import again, data_record, name_of, plain
from headstart.studies.verdict import Verdict, interval_of

_PER_CLASS, _MISTAKES, _THUMB = 6, 24, 96


class Origin(Protocol):
    """What tells where a run's network came from."""

    @property
    def source(self) -> Net: ...

    @property
    def given(self) -> tuple[str, ...]: ...

    @property
    def network(self) -> BackboneConfig: ...


@dataclass(frozen=True)
class Outcome:
    """Everything the records are made of.

    probabilities  `[N, C]`, the final model's on the test images
    given          what came from Python as an object instead of by name: `data`, `backbone`
    """

    config: AdaptConfig
    source: Net
    final: Net
    data: DataSet
    train: Task
    test: Task
    measures: Measures
    race: Race
    standings: Sequence[Standing]
    verdict: Verdict
    probabilities: NDArray[np.float32]
    given: tuple[str, ...] = ()

    @property
    def network(self) -> BackboneConfig:
        return self.config.network


def summarise(o: Outcome, seconds: Mapping[str, float]) -> dict[str, Any]:
    """The content of summary.json."""
    verdict = o.verdict
    advised = next(arm for arm in o.race.arms if arm.name == o.race.advised)
    every = all_arms(o.source, base_recipe(o.source, len(o.train), mirror=True, class_weights=False), seed=0)
    summary: dict[str, Any] = plain(
        {
            "command": "adapt",
            "data": data_record(o.data, o.train, o.test),
            "backbone": {
                "name": name_of(o.config.network, o.source),
                "parameters": count_parameters(o.source.blocks),
                "input_size": o.source.input.size,
                "blocks": o.source.block_names,
            },
            **records(o.measures, o.source, every, advised, len(o.train)),
            "arms": [_arm(o, standing) for standing in o.standings],
            "left_out": list(o.race.left_out),
            "metric": "balanced accuracy" if o.race.balanced else "accuracy",
            "chosen": verdict.chosen,
            "best": verdict.best,
            "decided": verdict.decided,
            "comparison": None
            if verdict.comparison is None
            else {"best": verdict.best, "against": verdict.against, **_difference(verdict.comparison)},
            "regret": verdict.regret,
            "test": _test(o),
            "classes": list(o.data.classes),
            "cost": {
                "seconds_by_phase": {k: round(v, 2) for k, v in seconds.items() if k != "all"},
                "bytes_model": _bytes(o.final),
            },
            "seconds": round(seconds["all"], 2),
            "reproduce": again("adapt", o.config, o.given),
            "version": headstart.__version__,
        }
    )
    return summary


def _difference(d: Difference) -> dict[str, Any]:
    return {
        "difference": d.mean,
        "interval": [d.low, d.high],
        "p_value": d.p_value,
        "detectable": d.detectable,
        "decided": d.decided,
        "method": d.method,
    }


def _arm(o: Outcome, standing: Standing) -> dict[str, Any]:
    arm = standing.arm
    row: dict[str, Any] = {
        "name": arm.name,
        "strategy": arm.strategy,
        "label": arm.label,
        "description": arm.description,
        "accuracy_mean": None,
        "accuracy_interval": None,
        "seconds": round(standing.seconds, 3),
        "cost": arm.cost,
        "trained_parameters": max((trial.trained for trial in standing.trials.values()), default=None),
        "folds_run": len(standing.trials),
        "status": standing.status,
        "reason": standing.reason,
        "round": standing.round,
        "difference_to_best": None,
    }
    if standing.trials:
        interval = interval_of(standing, o.race.folds)
        row |= {"accuracy_mean": standing.mean, "accuracy_interval": [max(interval.low, 0.0), min(interval.high, 1.0)]}
    found = o.verdict.differences.get(arm.name)
    if found is not None:
        row["difference_to_best"] = {"mean": found.mean, "low": found.low, "high": found.high, "p_value": found.p_value}
    return row


def _test(o: Outcome) -> dict[str, Any]:
    truth, guess = o.test.targets, o.probabilities.argmax(1)
    count = len(o.data.classes)
    right = int((truth == guess).sum())
    interval = wilson(right, len(truth))
    confusion = classification.confusion(truth, guess, count)
    table = classification.per_class(truth, guess, count, o.data.classes)
    return {
        "accuracy": right / max(len(truth), 1),
        "interval": [interval.low, interval.high],
        "balanced_accuracy": classification.balanced_accuracy(truth, guess, count),
        "calibration_error": classification.calibration_error(truth, o.probabilities),
        "num_images": len(truth),
        "per_class": [
            {"class": row.name, "precision": row.precision, "recall": row.recall, "f1": row.f1, "support": row.support}
            for row in table.rows
        ],
        "confusion": confusion,
    }


def _bytes(net: Net) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in net.state_dict().values())


def write_pictures(o: Outcome, folder: Path) -> None:
    """Thumbnails for the report: a few training images per class, and the most confident mistakes on the test images."""
    if not o.data.store.is_image:
        return
    rows: list[int] = []
    classes: dict[str, list[int]] = {}
    for place, name in enumerate(o.data.classes):
        some = o.train.rows[o.train.targets == place][:_PER_CLASS]
        classes[name] = list(range(len(rows), len(rows) + len(some)))
        rows += some.tolist()
    truth, guess = o.test.targets, o.probabilities.argmax(1)
    confidence = o.probabilities.max(1)
    wrong = np.flatnonzero(truth != guess)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]
    mistakes = []
    for at in wrong:
        row = int(o.test.rows[at])
        mistakes.append(
            {
                "index": len(rows),
                "file": o.data.names[row],
                "true": o.data.classes[truth[at]],
                "predicted": o.data.classes[guess[at]],
                "confidence": float(confidence[at]),
            }
        )
        rows.append(row)
    images = shrunk(np.asarray(o.data.store.array[np.array(rows, np.int64)]))
    folder.mkdir(parents=True, exist_ok=True)

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, images=images)

    write_atomic(folder / "thumbnails.npz", write)
    write_json(folder / "thumbnails.json", {"classes": classes, "mistakes": mistakes})


def shrunk(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At most `_THUMB` pixels a side."""
    side = images.shape[1]
    if side <= _THUMB:
        return images
    from PIL import Image

    small = [np.asarray(Image.fromarray(one).resize((_THUMB, _THUMB), Image.Resampling.LANCZOS)) for one in images]
    return np.stack(small)


def model_of(o: Outcome, summary: Mapping[str, Any]) -> Model:
    """The final net with its card and the statistics of its features; its ancestors are those of the network it started
    from, and this run."""
    saved = saved_card(o.config.network.backbone)
    origin = saved.ancestors if saved is not None else (origin_of(o),)
    arm = next(standing.arm for standing in o.standings if standing.arm.name == o.verdict.chosen)
    test = summary["test"]
    this = Ancestor(
        Path(o.config.out).name,
        arm.name,
        str(summary["data"]["path"]),
        o.data.fingerprint,
        {"description": arm.description, "command": summary["reproduce"]},
        test["accuracy"],
        tuple(test["interval"]),
    )
    card = Card(o.train.name, o.data.classes, o.config.images.fit, (*origin, this), headstart.__version__)
    # A frozen backbone's features are in the bank; of a trained one this is the first pass.
    statistics = statistics_from_task(o.final, o.train, bank=o.race.bank if arm.frozen else None)
    return Model(o.final.cpu(), card, statistics)


def origin_of(o: Origin) -> Ancestor:
    """The network the run started from, when it is not a saved model: as much as is known about it."""
    name, source = name_of(o.network, o.source), o.source.source or {}
    if "backbone" in o.given:
        return Ancestor(name, "given from Python", "unknown data", "")
    if untrained(o.network):
        return Ancestor(name, "weights drawn at random", "no data", "")
    weights, card = source.get("weights") or {}, source.get("card")
    if weights.get("file"):
        return Ancestor(name, "pretrained", f"the source of {weights['file']}", str(weights["sha256"]))
    if not card:
        return Ancestor(name, "pretrained", "its source data", "")
    interval = tuple(card["test_interval"])
    return Ancestor(name, "supervised", card["trained_on"], card["fingerprint"], {}, card["test_accuracy"], interval)


def as_text(summary: Mapping[str, Any]) -> str:
    """The verdict as a plain table."""
    quadrant, test = summary["quadrant"], summary["test"]
    balanced = summary.get("metric") == "balanced accuracy"
    lines = [
        f"{summary['data']['num_images']} images, {summary['data']['num_classes']} classes; "
        f"quadrant {quadrant['number']}: {quadrant['size']} data, {quadrant['similarity']} similarity; "
        f"advice: {summary['advice']['arm']}",
        "",
        f"{'arm':<20} {'balanced' if balanced else 'accuracy'}  {'interval':<17} {'folds':>5} {'s/fold':>7} {'weights':>9}",
    ]
    order = sorted(summary["arms"], key=lambda arm: (-arm["folds_run"], -(arm["accuracy_mean"] or 0)))
    for arm in order:
        mark = " *" if arm["name"] == summary["chosen"] else " +" if arm["name"] == summary["advice"]["arm"] else ""
        if arm["accuracy_mean"] is None:
            lines.append(f"{arm['name'] + mark:<20} {'-':>8}  {arm['reason']}")
            continue
        low, high = arm["accuracy_interval"]
        lines.append(
            f"{arm['name'] + mark:<20} {arm['accuracy_mean']:>8.3f}  {low:.3f} to {high:.3f}    "
            f"{arm['folds_run']:>5} {arm['seconds']:>7.2f} {arm['trained_parameters']:>9}"
        )
    marks = "* chosen, + advised" + ("; balanced accuracy, in which every class counts the same" if balanced else "")
    lines += [f"({marks})", "", sentence(summary), ""]
    low, high = test["interval"]
    lines.append(
        f"test, read once: accuracy {test['accuracy']:.3f} ({low:.3f} to {high:.3f}) on {test['num_images']} images, "
        f"balanced {test['balanced_accuracy']:.3f}; {summary['seconds']:.0f} s in all"
    )
    return "\n".join(lines)


def sentence(summary: Mapping[str, Any]) -> str:
    """Which arm won and by how much, or that it cannot be said."""
    comparison = summary["comparison"]
    if comparison is None:
        return _uncompared(summary)
    low, high = comparison["interval"]
    gap = f"{100 * comparison['difference']:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
    regret = summary["regret"]
    tail = "" if regret is None else f" Regret of the advice: {100 * regret:.1f} points."
    if summary["decided"]:
        return f"{summary['best']} won: {gap} against {comparison['against']}.{tail}"
    limit = f"this design can detect {100 * comparison['detectable']:.1f} points"
    return (_short_of_time(summary, gap) or _undecided(summary, f"{gap}; {limit}")) + tail


def _uncompared(summary: Mapping[str, Any]) -> str:
    chosen, left_out = summary["chosen"], summary.get("left_out") or []
    if len(summary["arms"]) > 1:
        return f"{chosen} was taken: no rival ran on the same folds within the time, so nothing is compared."
    if not left_out:
        return f"{chosen} was the only arm asked for, so nothing is compared."
    missed = ", ".join(left_out)
    return f"{chosen} alone was tried, so nothing is compared: the time would not do for {missed}. A longer --budget would."


def _short_of_time(summary: Mapping[str, Any], gap: str) -> str | None:
    """What is said where one of the two compared did not run every fold that the other did."""
    best, chosen, against = summary["best"], summary["chosen"], summary["comparison"]["against"]
    folds = {arm["name"]: arm["folds_run"] for arm in summary["arms"]}
    if folds[against] < folds[best]:
        return (
            f"{best} was taken, the best that had time for every fold: {gap} against {against} on the folds both ran. "
            "A longer --budget lets it finish."
        )
    if folds[best] == folds[against]:
        return None
    if chosen != best:
        return (
            f"Undecided between {best}, for every fold of which time did not reach, and {chosen}: {gap} on the folds both "
            f"ran. {chosen}, cheaper to train, was taken. A longer --budget would tell."
        )
    return (
        f"{best} was taken for its lead, though time did not reach for every fold: {gap} against {against} on the folds "
        "both ran. A longer --budget would tell."
    )


def _undecided(summary: Mapping[str, Any], gap: str) -> str:
    best, chosen, against = summary["best"], summary["chosen"], summary["comparison"]["against"]
    cost = {arm["name"]: arm.get("cost", 0) for arm in summary["arms"]}
    if chosen != best:
        return f"Undecided between {best} and {chosen}: {gap}. The one cheaper to train, {chosen}, was taken."
    if cost[best] > cost[against]:
        return (
            f"{best} was taken: that it is better than {against} is not decided, but its lead is more than a standard "
            f"error: {gap}."
        )
    return f"{best} was best and no dearer to train than {against}, from which it could not be told: {gap}."
