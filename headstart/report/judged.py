"""What the ways to adapt were judged on, and how each of them ended. Read by every section that compares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from headstart.report import words
from headstart.report.folder import RunFolder, number, rows_of, table_of

OUT_OF_TIME = ("no longer fitted", "had used half")
"""What reasons say of arms that the clock stopped, and not their rivals."""

ENDED = {
    "finished": "finished",
    "beaten": "stopped early",
    "late": "out of time",
    "diverged": "diverged",
    "skipped": "not tried",
}
"""How a way ended, in words."""


@dataclass(frozen=True)
class Judged:
    """What the ways were compared on.

    kind    `split`: a validation split that the data brought; `folds`; `part`: one held-out part, for all that is known
    folds   most folds that any way was tried on
    images  of the validation split, 0 when not known
    metric  `accuracy` or `balanced accuracy`
    """

    kind: Literal["split", "part", "folds"]
    folds: int
    images: int
    metric: str

    @property
    def where(self) -> str:
        """For the middle of a sentence: on ..."""
        return {
            "split": "the given validation split",
            "part": "the same held-out images",
            "folds": "shared folds of the training data",
        }[self.kind]

    @property
    def axis(self) -> str:
        """What an axis of accuracies shows."""
        place = {"split": "the given validation split", "part": "held-out images", "folds": "held-out folds"}[self.kind]
        return f"{self.metric} on {place}"


def judged_on(run: RunFolder) -> Judged:
    """What the ways of a run were compared on; a split is the user's own only where the inspection counted one."""
    images = sum(validation_counts(run.inspection).values())
    folds = int(max((number(arm.get("folds_run")) or 0 for arm in rows_of(run.summary.get("arms"))), default=0))
    kind: Literal["split", "part", "folds"] = "split" if images else "part" if folds == 1 else "folds"
    return Judged(kind, folds, images, str(run.summary.get("metric") or "accuracy"))


def validation_counts(inspection: Mapping[str, Any]) -> dict[str, int]:
    """Images per class of the validation split that the data brought; empty when they brought none."""
    found = table_of(table_of(inspection.get("counts")).get("val"))
    return {str(name): int(number(n) or 0) for name, n in found.items()}


def ending(arm: Mapping[str, Any]) -> str:
    """How a way ended: a key of `ENDED`, or the run's own word where it knows others."""
    status = str(arm.get("status") or "")
    if status != "eliminated":
        return status
    return "late" if any(sign in str(arm.get("reason")) for sign in OUT_OF_TIME) else "beaten"


def reason_of(arm: Mapping[str, Any], judged: Judged) -> str:
    """Why a way stopped; a given split is no fold."""
    reason = words.grouped(str(arm.get("reason") or ""))
    return reason.replace("fold 1 ", "it ", 1) if judged.kind == "split" else reason
