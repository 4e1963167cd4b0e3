"""Settings of ways to pretrain by a made-up question about one image; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headstart.catalog.pipelines import view_faults
from headstart.catalog.pretraining import Schooling

Colour = Literal["drop", "project", "grey", "keep"]
"""What hides the lens's colour errors, by which a network could tell places: one channel of three, chosen per patch, the
others being faint noise; colours without the share between green and magenta, along which lenses err; grey; nothing, which
invites that shortcut."""
COLOURS: tuple[Colour, ...] = ("drop", "project", "grey", "keep")
SMALLEST_PATCH = 4
"""Side in pixels below which a patch shows nothing."""


@dataclass(frozen=True)
class RotationConfig:
    """Settings of `rotation`."""

    school: Schooling = Schooling()
    pipeline: str = "weak"
    """what is done to an image before it is turned: a named pipeline, or steps"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        return [*self.school.faults(), *_pipeline_faults(self.pipeline)]


@dataclass(frozen=True)
class RelativePositionConfig:
    """Settings of `relative_position`; lengths are shares of the image's shorter side."""

    school: Schooling = Schooling()
    pipeline: str = "flip(0.5)"
    """what is done to an image before patches are cut: a named pipeline, or steps"""
    across: Literal[2, 3] = 2
    """patches along each side of the square they lie in. 2: each of four is asked for from each other; 3: eight are from the
    middle one, and must be smaller"""
    patch: float = 0.40625
    """side of a patch"""
    gap: float = 0.09375
    """between patches, so that no edge runs from one into the next"""
    jitter: float = 0.03125
    """by how much each patch is moved at most, in both directions; at least one pixel unless 0"""
    colour: Colour = "project"
    """what keeps colours from telling the place: one channel (drop), no green against magenta (project), grey, or nothing"""
    hidden: int = 128
    """units between the two patches' features and the answer"""

    @property
    def passes(self) -> float:
        """View passes per image: its patches, counted by their area."""
        return self.across**2 * self.patch**2

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        count = min(max(self.across, 2), 3)
        rules = [
            (self.across in (2, 3), f"across={self.across}: 2 or 3"),
            (0 < self.patch <= 1 / count, f"patch={self.patch}: above 0, at most one part in {count} of the side"),
            (self.gap >= 0, f"gap={self.gap}: 0 or more"),
            (self.jitter >= 0, f"jitter={self.jitter}: 0 or more"),
            (
                count * self.patch + (count - 1) * self.gap + 2 * self.jitter <= 1 + 1e-9,
                f"patch={self.patch}, gap={self.gap}, jitter={self.jitter}: {count} patches, the gaps between and a move to "
                "both sides are more than the image; make them smaller",
            ),
            *_common_rules(self.colour, self.hidden),
        ]
        return [*self.school.faults(), *_pipeline_faults(self.pipeline), *[text for holds, text in rules if not holds]]


@dataclass(frozen=True)
class JigsawConfig:
    """Settings of `jigsaw`."""

    school: Schooling = Schooling()
    pipeline: str = "flip(0.5)"
    """what is done to an image before it is cut: a named pipeline, or steps"""
    tile: float = 0.25
    """side of a tile, as a share of the image's; it lies anywhere in its cell, a third of the side"""
    permutations: int = 64
    """orders to tell apart, as unlike each other as can be"""
    colour: Colour = "grey"
    """what keeps colours from telling the place: one channel (drop), no green against magenta (project), grey, or nothing"""
    hidden: int = 256
    """units between the nine tiles' features and the answer"""

    @property
    def passes(self) -> float:
        """View passes per image: nine tiles, counted by their area."""
        return 9 * self.tile**2

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        rules = [
            (0 < self.tile <= 1 / 3, f"tile={self.tile}: above 0, at most a third of the side"),
            (2 <= self.permutations <= 1000, f"permutations={self.permutations}: 2 to 1000"),
            *_common_rules(self.colour, self.hidden),
        ]
        return [*self.school.faults(), *_pipeline_faults(self.pipeline), *[text for holds, text in rules if not holds]]


def _common_rules(colour: str, hidden: int) -> list[tuple[bool, str]]:
    return [
        (colour in COLOURS, f"colour={colour!r}: {', '.join(COLOURS)}"),
        (hidden >= 1, f"hidden={hidden}: one at least"),
    ]


def _pipeline_faults(text: str) -> list[str]:
    return [f"pipeline: {fault}" for fault in view_faults(text)]
