"""What is looked at before a model learns more: where things lie, and data that are probably not meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headstart.catalog.extend import ExtendConfig
from headstart.data.names import some
from headstart.data.samples import FileSamples
from headstart.data.sources import Source
from headstart.engine.model import model_folder
from headstart.engine.past import Past
from headstart.errors import ConfigError, DataError
from headstart.studies.extend_tasks import Judged


def check_out(config: ExtendConfig) -> None:
    """Raise ConfigError for a model among the data, and when the run would write among images, or over its model."""
    out = config.out.resolve()
    said = [
        f"{place} is a saved model, and stands where data should: `headstart extend MODEL DATA`, the model first"
        for place in (*config.data, *config.old)
        if model_folder(place) is not None
    ]
    said += [
        f"--out {config.out} lies in the folder of the images {place}; choose a folder outside of it"
        for place in (*config.data, *config.old)
        if Path(place).is_dir() and out.is_relative_to(Path(place).resolve())
    ]
    model = Path(config.model)
    if config.model and model.exists() and (model.resolve().is_relative_to(out) or out.is_relative_to(model.resolve())):
        said.append(
            f"--out {config.out} is where the model lies that is extended, {model}; it stays as it is, choose another"
        )
    if said:
        raise ConfigError("; ".join(said))


def check_out_of_images(config: ExtendConfig, sources: Sequence[Source]) -> None:
    """The same for images in other folders than the data's own, as a CSV file names them."""
    out = config.out.resolve()
    for source in sources:
        files = source.samples.files if isinstance(source.samples, FileSamples) else ()
        for folder in sorted({Path(file.path).resolve().parent for file in files}):
            if out.is_relative_to(folder):
                raise ConfigError(
                    f"--out {config.out} lies in {folder}, a folder with images of {source.where}; choose a folder outside "
                    "of it"
                )


def doubtful(past: Past, new: Sequence[Judged]) -> list[str]:
    """What can be done with the new data and is probably not meant, in words."""
    said = []
    learned = {one.fingerprint: one.name for one in past.tasks if one.fingerprint}
    for one in new:
        if one.data.fingerprint in learned:
            told = f"task {learned[one.data.fingerprint]!r} was learned from already"
            said.append(f"{one.data.inspection.where} holds the very images that {told}: nothing new is in them")
    before = {name.casefold(): name for task in past.tasks for name in task.classes}
    for one in new:
        alike = [f"{name!r} and {before[name.casefold()]!r}" for name in one.train.classes if name.casefold() in before]
        alike = [text for text in alike if len(set(text.split(" and "))) > 1]
        if alike:
            said.append(f"classes that differ in capital letters alone are learned as different ones: {some(alike)}")
    return said


def check_apart(new: Sequence[Judged], old: Sequence[Judged | None]) -> None:
    """Raise DataError when one data set is given for two tasks; increments are parts of one and share it."""
    seen: dict[str, str] = {}
    sources = {id(one.data): one for one in (*(one for one in old if one is not None), *new)}
    for one in sources.values():
        if one.data.fingerprint in seen:
            raise DataError(
                f"{one.data.inspection.where} is given for two tasks, {seen[one.data.fingerprint]!r} and {one.name!r}: what "
                "is kept of one could not be told from what is learned of the other; leave one out"
            )
        seen[one.data.fingerprint] = one.name
