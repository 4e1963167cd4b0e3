"""Kinds of questions that a task can ask of an image."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["classes", "yes_no", "several", "number"]
"""One class of several; yes or no; several yes/no questions at once; a number."""
KINDS: tuple[Kind, ...] = get_args(Kind)
