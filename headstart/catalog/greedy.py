"""Settings of pretraining on labels, all at once or layer by layer; torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field

from headstart.catalog.pretraining import Schooling


@dataclass(frozen=True)
class SupervisedConfig:
    """Learn the classes, and keep what was learned on the way to them."""

    school: Schooling = field(default_factory=lambda: Schooling(epochs=30, batch_size=64, lr=0.1))
    """how it learns"""
    smoothing: float = 0.0
    """label smoothing"""
    mirror: bool = True
    """learn from mirrored images too; false where left and right matter"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        wrong = [] if 0 <= self.smoothing < 1 else [f"smoothing={self.smoothing}: 0 or more, below 1"]
        return [*self.school.faults(), *wrong]


@dataclass(frozen=True)
class GreedyConfig:
    """Learn one block after the other, each on what those below it, frozen, put out; then all together."""

    school: Schooling = field(default_factory=lambda: Schooling(epochs=10, batch_size=64, lr=0.1))
    """how each block learns; epochs are those of one block"""
    objective: str = "supervised"
    """what a block learns: supervised, or the name of another way to pretrain, with its own settings"""
    renderings: int = 4
    """so many renderings of every image and view, drawn once: each frozen block runs once over each; 0: plain images; -1:
    drawn anew in every epoch, for which the frozen blocks run at every step"""
    room: float = 8.0
    """gigabytes of disk that what frozen blocks put out may take; where it is more, fewer renderings are drawn"""
    together: int = 10
    """passes over the images in which all blocks learn together at the end; 0: none"""
    together_scale: float = 0.1
    """their learning rate, relative to the school's"""
    mirror: bool = True
    """learn from mirrored images too (objective supervised)"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        rules = [
            (self.objective != "greedy", "objective=greedy: greedy pretraining of greedy pretraining has no end"),
            (self.renderings >= -1, f"renderings={self.renderings}: 1 or more, 0 for plain images, -1 for ever new ones"),
            (self.room > 0, f"room={self.room}: gigabytes, above 0"),
            (self.together >= 0, f"together={self.together}: a number of epochs, 0 for none"),
            (0 < self.together_scale <= 10, f"together_scale={self.together_scale}: above 0, 10 at most"),
        ]
        return [*self.school.faults(), *(text for holds, text in rules if not holds)]
