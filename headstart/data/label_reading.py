"""A table of labels while it is read: its cells by column, and what is wrong with it so far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from headstart.data.label_columns import Column
from headstart.data.names import some

LISTED = 5
"""Lines that a problem names before it counts the rest."""


@dataclass
class Reading:
    """A table while it is read.

    lines  line numbers and cells of its rows
    roles  `path`, `group` and `split` -> the column that plays this role
    wrong  what is wrong with it so far, a sentence each
    """

    path: Path
    header: list[str]
    lines: list[tuple[int, list[str]]]
    roles: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @cached_property
    def numbers(self) -> list[int]:
        """The line of each row."""
        return [number for number, _ in self.lines]

    def column(self, name: str) -> Column:
        """Its cells, empty where a row ends before."""
        at = self.header.index(name)
        return Column(name, [line[at].strip() if at < len(line) else "" for _, line in self.lines], self.numbers)

    def role(self, role: str) -> list[str] | None:
        """The cells of the column that plays this role; None where none does."""
        return list(self.column(self.roles[role]).texts) if role in self.roles else None

    def tell(self, what: str, found: Iterable[str], remedy: str = "") -> None:
        """Add a problem that several lines have."""
        told = some(found, LISTED)
        if told:
            self.wrong.append(f"{what}: {told}{remedy}")
