"""A saved model: a net, what its answers are called, and where it came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.data.decode import UnreadableError, decode_file
from headstart.data.folder import find_images
from headstart.data.names import BadFile
from headstart.engine.answering import Answered, Answering
from headstart.engine.evaluate import looking
from headstart.engine.multi_answers import Question, answers_to, asked, questions_of, values_of
from headstart.engine.past import PAST, Past
from headstart.engine.predictions import Prediction, Predictions
from headstart.engine.source_statistics import STATISTICS, SourceStatistics
from headstart.engine.step import present
from headstart.errors import ConfigError, DataError, ModelFileError
from headstart.files import write_json, write_text
from headstart.nets.net import Net
from headstart.nets.saved import load_net, save_net


@dataclass(frozen=True)
class Ancestor:
    """One step in a model's history: which network, by which strategy, on which data, how well."""

    name: str
    strategy: str
    data: str
    fingerprint: str
    settings: dict[str, Any] = field(default_factory=dict)
    accuracy: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Card:
    """What belongs to a model besides its weights.

    head       the head that answers; `classes` are its answers in order; "": it is a backbone that answers nothing yet
    fit        how images are brought to the input's square
    ancestors  oldest first; the last one made this model
    statistics what is known of its features on the images it learned from: file, number of images, block; None: nothing
    scenario   how several tasks belong together (`catalog/continual.py`; `multitask`: questions about the same image), and
               `tasks` their names, heads, classes and kinds in the order learned; empty for a model of one task
    """

    head: str
    classes: tuple[str, ...]
    fit: str
    ancestors: tuple[Ancestor, ...]
    version: str
    statistics: dict[str, Any] | None = None
    scenario: str | None = None
    tasks: tuple[dict[str, Any], ...] = ()

    @property
    def questions(self) -> tuple[Question, ...]:
        """What a model trained for several questions at once answers about an image; none of any other model."""
        return questions_of(self.scenario, self.tasks)

    @staticmethod
    def from_json(kept: dict[str, Any]) -> Card:
        """The card that `asdict` made."""
        ancestors = tuple(
            Ancestor(**{**one, "interval": tuple(one["interval"]) if one.get("interval") else None})
            for one in kept["ancestors"]
        )
        noted = kept.get("statistics")
        return Card(
            kept["head"],
            tuple(kept["classes"]),
            kept["fit"],
            ancestors,
            kept["version"],
            noted and dict(noted),
            kept.get("scenario"),
            tuple(kept.get("tasks", ())),
        )


def model_folder(folder: str | Path) -> Path | None:
    """The folder with the model: `folder` itself, or `model/` in the run folder; None when there is none."""
    places = (Path(folder), Path(folder) / "model")
    return next((place for place in places if (place / "card.json").is_file()), None)


def read_card(place: Path) -> Card:
    """The card in a model's folder. Raises ModelFileError when it is damaged."""
    try:
        return Card.from_json(json.loads((place / "card.json").read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(
            f"{place / 'card.json'} is damaged ({error}); use the run's folder as it was written"
        ) from error


def _check_classes(place: Path, net: Net, card: Card) -> None:
    """Raise ModelFileError where the card and the network do not speak of the same classes."""
    if card.head not in net.heads or card.tasks:
        return
    answers = net.head(card.head).num_classes
    if answers != len(card.classes):
        raise ModelFileError(
            f"{place / 'card.json'} names {len(card.classes)} classes, the network answers {answers}; one of them was "
            "changed: use the model's folder as it was written"
        )


def _statistics(place: Path, net: Net, card: Card) -> SourceStatistics | None:
    """The statistics that the card tells of. Raises ModelFileError when they are damaged or of other weights."""
    if card.statistics is None:
        return None
    path = place / STATISTICS
    if not path.exists():  # the network works without them, and damage is answered by taking them away
        return None
    found = SourceStatistics.load(path)
    found.check(net, path)
    return found


def saved_card(name: str | None) -> Card | None:
    """The card of a saved model used as a backbone; None when `name` names something else."""
    place = model_folder(name) if name else None
    return read_card(place) if place is not None else None


class Model:
    """A network that answers one question about images.

    statistics  of its features on the images it learned from; None where they were not computed
    past        what it brings from several tasks; None for a model of one

    >>> model = Model.load("runs/demo/model")  # doctest: +SKIP
    >>> print(model.predict(["photo.jpg"]))  # doctest: +SKIP
    """

    def __init__(self, net: Net, card: Card, statistics: SourceStatistics | None = None, past: Past | None = None) -> None:
        self.net = net.eval()
        self.statistics, self.past = statistics, past
        self.card = replace(card, statistics=None if statistics is None else statistics.note())

    @property
    def classes(self) -> tuple[str, ...]:
        return self.card.classes

    @staticmethod
    def load(folder: str | Path, *, builder: Any = None, device: str = "cpu") -> Model:
        """Read a model's folder, or the run folder that holds one.

        builder  makes the backbone's module again, for networks that were given as an nn.Module; see `load_net`

        Raises ModelFileError when it is damaged or not a model.
        """
        place = model_folder(folder)
        if place is None:
            raise ModelFileError(
                f"{folder} is not a saved model: it has no card.json. Give the model/ folder of a finished run"
            )
        card = read_card(place)
        net = load_net(place, builder=builder) if builder is not None else load_net(place)
        _check_classes(place, net, card)
        return Model(net.to(device), card, _statistics(place, net, card), Past.load(place))

    def save(self, folder: str | Path) -> Path:
        """Write weights, structure, statistics, card.json and a readable MODEL_CARD.md; returns the folder."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        save_net(self.net, place, extra={"head": self.card.head})
        if self.statistics is None:
            (place / STATISTICS).unlink(missing_ok=True)  # of a model that was here before
        else:
            self.statistics.save(place / STATISTICS)
        if self.past is None:
            (place / PAST).unlink(missing_ok=True)
        else:
            self.past.save(place)
        write_json(place / "card.json", asdict(self.card))
        write_text(place / "MODEL_CARD.md", self.describe())
        return place

    def describe(self) -> str:
        """The model card as Markdown."""
        lines = ["# Model card", "", *self._answers_about(), ""]
        lines += [
            f"Input: {self.net.input.size} px, mean {self.net.input.mean}, std {self.net.input.std}, {self.card.fit}.",
            "",
        ]
        if self.statistics is not None:
            s = self.statistics
            said = f"mean, covariance, class means of {len(s.mean)} features of block `{s.block}` on {s.images} images"
            lines += [f"`{STATISTICS}`: {said} it learned from; no image is kept.", ""]
        lines += ["## Where it came from", ""]
        for number, one in enumerate(self.card.ancestors, 1):
            result = "" if one.accuracy is None else f"; accuracy {one.accuracy:.4f}"
            spread = "" if one.interval is None else f" ({one.interval[0]:.4f} to {one.interval[1]:.4f})"
            lines.append(f"{number}. **{one.name}** by *{one.strategy}* on {one.data} (`{one.fingerprint}`){result}{spread}")
        return "\n".join([*lines, "", f"Made by headstart {self.card.version}.", ""])

    def check_answers(self) -> None:
        """Raise ModelFileError for a backbone that was pretrained and has no head yet, so that it answers nothing."""
        if not self.card.head:
            name = self.card.ancestors[-1].name if self.card.ancestors else "RUN"
            raise ModelFileError(
                f"this model ({name}) is a pretrained backbone without a head: it has not learned to answer anything yet. "
                "Give it one: headstart adapt LABELLED_IMAGES --backbone RUN, and use the model that comes out"
            )

    def _answers_about(self) -> list[str]:
        if not self.card.head:
            return ["A pretrained backbone without a head, which answers nothing yet; `headstart adapt` gives it one."]
        if len(self.card.tasks) < 2:
            return [f"Answers `{self.card.head}` with {len(self.classes)} classes: {', '.join(self.classes)}."]
        if questions := self.card.questions:
            said = [f"- `{one.name}` ({one.kind.replace('_', '/')}): {one}" for one in questions]
            return [f"Answers {len(said)} questions about an image in one pass:", "", *said]
        told = [f"- `{one['name']}`: {', '.join(one['classes'])}" for one in self.card.tasks]
        return [f"Has learned {len(told)} tasks one after the other ({self.card.scenario}-incremental):", "", *told]

    def answered(self, samples: NDArray[Any], task: str | None = None, *, batch_size: int = 128) -> Answered:
        """Probabilities with their classes and tasks; see `probabilities`.

        task  the samples are known to belong to; None: unknown, see `Answering.unknown`. Raises ConfigError for no such
              task. Of a model for several questions at once the question, one whose answers are classes
        """
        self.check_answers()
        if self.card.questions:
            return self._answered_one(samples, task, batch_size)
        if self.past is not None and len(self.past.tasks) > 1:
            how = Answering(self.net, self.past)
            if task is None:
                return how.unknown(samples, batch_size=batch_size)
            return how.known(samples, task, batch_size=batch_size)
        names = {self.card.head, *(one["name"] for one in self.card.tasks)}
        if task is not None and task not in names:
            raise ConfigError(f"this model has learned one task, {self.card.head!r}, and none called {task!r}")
        return Answered(
            self.probabilities(samples, batch_size=batch_size), self.classes, (self.card.head,) * len(self.classes)
        )

    def _answered_one(self, samples: NDArray[Any], task: str | None, batch_size: int) -> Answered:
        questions = self.card.questions
        fitting = [one.name for one in questions if one.kind in ("classes", "yes_no")]
        if task is None:
            raise ConfigError(f"this model answers several questions; say which (task=): {', '.join(fitting)}")
        (one,) = asked(questions, [task])
        if one.name not in fitting:
            raise ConfigError(f"task {task!r} is answered with {one}, not with one class; ask `predict`")
        values = values_of(self.net, [one], samples, batch_size=batch_size)[one.name]
        return Answered(values, one.classes, (one.name,) * len(one.classes))

    def probabilities(self, samples: NDArray[Any], *, batch_size: int = 128) -> NDArray[np.float32]:
        """`[N, C]` for samples at the network's size: uint8 `[N, S, S, 3]`, or float vectors `[N, D]`."""
        self.check_answers()
        head = self.net.head(self.card.head)
        parts = []
        with looking(self.net):
            for start in range(0, len(samples), batch_size):
                batch = torch.from_numpy(np.ascontiguousarray(samples[start : start + batch_size])).to(self.net.device)
                logits = self.net(present(batch, self.net.input), self.card.head)
                parts.append(head.probabilities(logits).cpu().numpy())
        return np.concatenate(parts) if parts else np.empty((0, len(self.classes)), np.float32)

    def predict(
        self, images: Any, *, top_k: int = 3, task: str | Sequence[str] | None = None, batch_size: int = 128
    ) -> Predictions:
        """Answers for images: a file, a folder, a list of these, or an array `[N, H, W, 3]` uint8, of one image `[H, W, 3]`.

        task  that the images are known to belong to, where a model has learned several; None: it is inferred. Of a model for
              several questions at once those to answer, one or more; None: all of them

        Files that cannot be read are listed in the result; raises DataError when nothing was given to look at.
        """
        names = () if task is None else (task,) if isinstance(task, str) else tuple(task)
        ask = self._ask(names, top_k)
        questions = asked(self.card.questions, names) if self.card.questions else ()
        if isinstance(images, np.ndarray):
            rendered = self._rendered(images)
            return Predictions(ask([str(n) for n in range(len(rendered))], rendered), [], questions)
        given = [images] if isinstance(images, (str, Path)) or not isinstance(images, Iterable) else list(images)
        others = [type(one).__name__ for one in given if not isinstance(one, (str, Path))]
        if others:
            raise DataError(
                f"images are given as {others[0]}; give files, folders or a NumPy array [N, H, W, 3] uint8: "
                "np.stack([np.asarray(one) for one in images]) makes one of pictures of one size"
            )
        found = find_images(given)
        unreadable = list(found.bad)
        if not found.files and not unreadable:
            raise DataError(f"no images in {', '.join(str(path) for path in given) or 'an empty list'}")
        rows: list[Prediction] = []
        for start in range(0, len(found.files), batch_size):
            paths, pixels = [], []
            for file in found.files[start : start + batch_size]:
                try:
                    pixels.append(decode_file(file.path, self.net.input.size, self.card.fit).pixels)
                    paths.append(file.name)
                except UnreadableError as error:
                    unreadable.append(BadFile(file.name, str(error)))
            if pixels:
                rows += ask(paths, np.stack(pixels))
        return Predictions(rows, unreadable, questions)

    def _ask(self, tasks: Sequence[str], top_k: int) -> Callable[[Sequence[str], NDArray[Any]], list[Prediction]]:
        """What answers about samples with their names. Raises ConfigError for tasks that cannot be asked for."""
        self.check_answers()
        questions = self.card.questions
        if questions:
            some = asked(questions, tasks)

            def every(names: Sequence[str], samples: NDArray[Any]) -> list[Prediction]:
                answers = answers_to(some, values_of(self.net, some, samples), top_k)
                return [Prediction(name, [], [], answers=one) for name, one in zip(names, answers, strict=True)]

            return every
        if len(tasks) > 1:
            raise ConfigError(
                f"tasks {', '.join(tasks)}: an image belongs to one of this model's tasks; name one, or none to infer it"
            )
        task = tasks[0] if tasks else None
        return lambda names, samples: self._rows(names, self.answered(samples, task), top_k)

    def _rendered(self, images: NDArray[Any]) -> NDArray[Any]:
        """An array of images as the network takes them; vectors as they are. Raises DataError for what is no image."""
        from headstart.data.decode import render
        from headstart.data.samples import image_of, several

        if not images.size:
            raise DataError(f"no images in an array of shape {images.shape}; give at least one")
        if self.net.input.kind != "image":
            return images
        size, fit = self.net.input.size, self.card.fit
        try:
            return np.stack([render(image_of(image), size, fit).pixels for image in several(images)])
        except UnreadableError as error:
            raise DataError(f"the array has an image that cannot be used: it {error}") from error

    def _rows(self, names: Sequence[str], found: Answered, top_k: int) -> list[Prediction]:
        count = min(max(top_k, 1), len(found.classes))
        several = len(set(found.tasks)) > 1
        rows = []
        for name, probabilities in zip(names, found.probabilities, strict=True):
            order = [int(place) for place in np.argsort(-probabilities, kind="stable")[:count]]
            if several:  # classes of tasks that the image is not taken to belong to say nothing
                order = [place for place in order if probabilities[place] > 0] or order[:1]
            tasks = [found.tasks[place] for place in order] if several else None
            labels, values = [found.classes[p] for p in order], [float(probabilities[p]) for p in order]
            rows.append(Prediction(name, labels, values, tasks))
        return rows
