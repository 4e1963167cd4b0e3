"""`headstart adapt` in a process of its own, for tests that stop it by signals."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from headstart import api  # noqa: F401 - loaded here, so that a process started from this one has it
from headstart.cli.main import main
from headstart.studies import adapt, arms
from headstart.studies.verdict import Verdict, judge


def trained_arm(*given: Any) -> Verdict:
    """The verdict, but for a winner that is learned by gradient steps, whatever it is."""
    return replace(judge(*given), chosen="full")


def fewer(*_: object) -> int:
    """Epochs of what trains: enough to be stopped in their middle."""
    return 30


def run(words: list[str], said: Path) -> None:
    """Carry out one command line; what it says goes to the file `said`."""
    torch.set_num_threads(1)
    adapt.judge = trained_arm  # type: ignore[attr-defined]
    arms._enough_epochs = fewer
    with said.open("a", encoding="utf-8") as file:
        sys.stderr = sys.stdout = file
        code = main(words)
        file.flush()
    os._exit(code)
