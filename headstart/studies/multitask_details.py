"""What the saved network got right and wrong, task by task, and the images on which its answers do not go together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from headstart.data.labelled import LabelledSet
from headstart.data.mix import Mix
from headstart.data.task import UNKNOWN, Task
from headstart.errors import DataError
from headstart.files import write_atomic, write_json
from headstart.metrics import classification
from headstart.metrics.ranking import roc
from headstart.studies.multitask_judged import Judge, said
from headstart.studies.multitask_runs import Arm, Run
from headstart.studies.outcome import shrunk

_POINTS, _SHOWN, _MISTAKES = 400, 24, 8


def details(judge: Judge, arm: Arm) -> dict[str, Any]:
    """Per task, of the first seed's network: confusion, ROC or what was said against what is true."""
    return {name: _detail(judge, arm, name) for name in arm.tasks}


def _detail(judge: Judge, arm: Arm, name: str) -> dict[str, Any]:
    task = judge.task(name)
    outputs = np.asarray(judge.runs.seen(Run(arm, judge.seeds[0]))["outputs"][judge.part][name])[task.known]
    labels = judge.labels(name)
    if task.kind == "number":
        some = np.linspace(0, len(labels) - 1, min(len(labels), _POINTS)).astype(int)
        return {"images": len(labels), "true": labels[some].tolist(), "said": outputs[some].tolist()}
    if task.kind == "several":
        rows = [_question(title, labels[:, at], outputs[:, at]) for at, title in enumerate(task.classes)]
        return {"images": len(labels), "questions": rows}
    answers = said(task.kind, outputs, "accuracy")
    found = {
        "images": len(labels),
        "confusion": classification.confusion(labels, answers, task.num_classes).tolist(),
    }
    return {**found, **_question("", labels, said("yes_no", outputs, "auc"))} if task.kind == "yes_no" else found


def _question(title: str, labels: NDArray[Any], scores: NDArray[Any]) -> dict[str, Any]:
    """The ROC curve of one yes/no question; none where the known answers are all the same."""
    known = labels != UNKNOWN
    row: dict[str, Any] = {"question": title, "yes": int((labels == 1).sum()), "no": int((labels == 0).sum()), "roc": None}
    try:
        curve = roc(labels[known], scores[known])
    except DataError:
        return row
    return {**row, "roc": {"false_positive": curve.false_positive.tolist(), "true_positive": curve.true_positive.tolist()}}


def pictures(data: LabelledSet, judge: Judge, arm: Arm, mix: Mix, folder: Path) -> None:
    """Thumbnails for the report: test images whose answers occur together in no training image, and sure mistakes."""
    if not data.store.is_image:
        return
    answers = {name: _answered(judge, arm, name) for name in arm.tasks}
    apart = odd_ones(judge, answers, mix)
    rows: list[int] = []
    told: dict[str, list[dict[str, Any]]] = {"apart": [], "mistakes": []}
    for row, pair in apart[:_SHOWN]:
        told["apart"].append({**_told(judge, answers, row, data), "index": len(rows), "pair": list(pair)})
        rows.append(row)
    for name in arm.tasks:
        for row in _mistakes(judge, answers[name], name)[:_MISTAKES]:
            told["mistakes"].append({**_told(judge, answers, row, data), "index": len(rows), "task": name})
            rows.append(row)
    images = shrunk(np.asarray(data.store.array[np.array(rows, np.int64)]))
    folder.mkdir(parents=True, exist_ok=True)

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, images=images)

    write_atomic(folder / "thumbnails.npz", write)
    write_json(folder / "thumbnails.json", told)


class _Answers:
    """What was said about each of a task's samples (all of them, labelled or not), and how sure it was."""

    def __init__(self, task: Task, outputs: NDArray[Any]) -> None:
        self.task, self.places = task, {int(row): place for place, row in enumerate(task.rows)}
        self.numbers = outputs if task.kind == "number" else None
        if task.kind == "several":
            self.said, chances = (outputs > 0).astype(np.int64), expit(outputs)
            self.sure = np.maximum(chances, 1 - chances)
        elif task.kind != "number":
            chances = softmax(outputs, 1)
            self.said, self.sure = chances.argmax(1), chances.max(1)

    def words(self, place: int) -> str:
        """What was said, in words."""
        if self.numbers is not None:
            return f"{self.numbers[place]:.4g}"
        if self.task.kind == "several":
            return ", ".join(name for at, name in enumerate(self.task.classes) if self.said[place, at]) or "none"
        return self.task.classes[int(self.said[place])]

    def truth(self, place: int) -> str | None:
        """The label in words; None where it is not known."""
        if not self.task.known[place]:
            return None
        label = self.task.targets[place]
        if self.numbers is not None:
            return f"{label:.4g}"
        if self.task.kind == "several":
            told = ", ".join(name for at, name in enumerate(self.task.classes) if label[at] == 1) or "none"
            unknown = [name for at, name in enumerate(self.task.classes) if label[at] == UNKNOWN]
            return f"{told} (not known: {', '.join(unknown)})" if unknown else told
        return self.task.classes[int(label)]

    def right(self, place: int) -> bool | None:
        """Whether everything said is true, as far as that is known; None of numbers and where nothing is known."""
        if self.numbers is not None or not self.task.known[place]:
            return None
        label = self.task.targets[place]
        return bool(np.all((self.said[place] == label) | (label == UNKNOWN)))


def _answered(judge: Judge, arm: Arm, name: str) -> _Answers:
    outputs = np.asarray(judge.runs.seen(Run(arm, judge.seeds[0]))["outputs"][judge.part][name])
    return _Answers(judge.task(name), outputs)


def odd_ones(judge: Judge, answers: Mapping[str, _Answers], mix: Mix) -> list[tuple[int, tuple[str, str]]]:
    """Test samples with two answers that no training image has together, the surest first, with the two tasks.

    Of tasks about classes and yes/no, for pairs that are known together in at least 20 training images; a pair of answers
    that is seen there nowhere need not be wrong, but the two heads then contradict what was learned.
    """
    found: dict[int, tuple[float, tuple[str, str]]] = {}
    names = [name for name, one in answers.items() if one.task.kind in ("classes", "yes_no")]
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            together = _seen_together(mix, first, second)
            if together is None:
                continue
            a, b = answers[first], answers[second]
            for row, at in a.places.items():
                other = b.places.get(row)
                if other is None or together[a.said[at], b.said[other]]:
                    continue
                sure = float(a.sure[at] * b.sure[other])
                if sure > found.get(row, (0.0, ("", "")))[0]:
                    found[row] = (sure, (first, second))
    order = sorted(found, key=lambda row: -found[row][0])
    return [(row, found[row][1]) for row in order]


def _seen_together(mix: Mix, first: str, second: str) -> NDArray[np.bool_] | None:
    """Which answers occur together in the training images; None where too few are known together."""
    one, other = (mix.labels[name][mix.rows] for name in (first, second))
    both = (one != UNKNOWN) & (other != UNKNOWN)
    if both.sum() < 20:
        return None
    table = np.zeros((mix.tasks[first].num_classes, mix.tasks[second].num_classes), np.bool_)
    table[one[both], other[both]] = True
    return table


def _mistakes(judge: Judge, one: _Answers, name: str) -> list[int]:
    """Rows of the surest wrong answers; of a number the farthest off."""
    task = one.task
    known = np.flatnonzero(task.known)
    if one.numbers is not None:
        off = np.abs(one.numbers - task.targets)
        return [int(task.rows[at]) for at in known[np.argsort(-off[known], kind="stable")]]
    if task.kind == "several":
        wrong = (one.said != task.targets) & (task.targets != UNKNOWN)
        worst = np.where(wrong, one.sure, 0.0).max(1)
        places = known[worst[known] > 0]
        return [int(task.rows[at]) for at in places[np.argsort(-worst[places], kind="stable")]]
    places = known[one.said[known] != task.targets[known]]
    return [int(task.rows[at]) for at in places[np.argsort(-one.sure[places], kind="stable")]]


def _told(judge: Judge, answers: Mapping[str, _Answers], row: int, data: LabelledSet) -> dict[str, Any]:
    said = {}
    for name, one in answers.items():
        place = one.places.get(row)
        if place is not None:
            said[name] = {"said": one.words(place), "true": one.truth(place), "right": one.right(place)}
    return {"file": data.names[row], "answers": said}
