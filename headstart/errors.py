"""Every error headstart raises on purpose. Each speaks to the person who typed the command.

    HeadstartError
    |-- InputError             something given is wrong: it names the argument or file, its value and the remedy
    |   |-- DataError          images, labels, splits
    |   |-- BackboneError      a network that is unknown, cannot be loaded, or does not fit its weights
    |   |-- ModelFileError     a weight file or saved model that is damaged, unsafe or of another kind
    |   `-- ConfigError        settings that contradict each other or cannot be met
    |-- RunError               the run folder
    |   |-- RunFolderInUse     another process is writing there
    |   |-- RunFolderMismatch  it was made by other settings, data or code
    |   |-- CheckpointError    no readable checkpoint is left
    |   `-- DiskFull           a file could not be written; what was there before is intact
    |-- TrainingError          training cannot go on
    |   |-- NonFiniteLoss      a loss became NaN or infinite (names stage, step and term)
    |   `-- FrozenChanged      a weight that should have been frozen moved (a defect of headstart)
    `-- Interrupted            stopped by the user; everything needed to resume is saved

`exit_code` is what the command line returns for each.
"""

from __future__ import annotations

from collections.abc import Iterable


class HeadstartError(Exception):
    """Base of all errors raised on purpose. `str(error)` is meant to be shown to a person as it is."""

    exit_code: int = 1
    told: bool = False
    """Whether another process of the same run tells the user (torchrun), so that this one need not."""


class InputError(HeadstartError):
    """Something the user gave is wrong."""

    exit_code = 2


class DataError(InputError):
    """Images, labels or splits cannot be used as they are."""


class BackboneError(InputError):
    """A network is unknown, cannot be loaded, or does not fit its weights."""


class ModelFileError(InputError):
    """A weight file or saved model is damaged, unsafe or of another kind."""


class ConfigError(InputError):
    """Settings contradict each other or cannot be met."""


class RunError(HeadstartError):
    """The run folder cannot be used or written."""

    exit_code = 3


class RunFolderInUse(RunError):
    """Another process is writing to the run folder."""


class RunFolderMismatch(RunError):
    """The run folder was made by other settings, other data or another version."""


class CheckpointError(RunError):
    """No readable checkpoint is left."""


class DiskFull(RunError):
    """A file could not be written; what was there before is intact."""


class TrainingError(HeadstartError):
    """Training cannot go on."""

    exit_code = 4


class NonFiniteLoss(TrainingError):
    """A loss became NaN or infinite. The last good checkpoint is kept."""


class FrozenChanged(TrainingError):
    """A weight that was declared frozen moved. This is a defect of headstart, please report it."""


class Interrupted(HeadstartError):
    """Stopped by the user (Ctrl-C or SIGTERM); everything needed to resume is saved."""

    exit_code = 130


def problems(kind: type[InputError], headline: str, found: Iterable[str]) -> None:
    """Raise `kind` listing all `found` problems of one input together; do nothing when there are none."""
    lines = list(found)
    if lines:
        raise kind("\n".join([headline, *(f"  - {line}" for line in lines)]))
