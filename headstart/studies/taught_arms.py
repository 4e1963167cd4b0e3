"""Arms that learn from what a network answers: from a teacher, or from the generation before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headstart.catalog.strategies import BornAgainConfig, DistillConfig, Recipe
from headstart.studies.arms import FIXED_VIEWS
from headstart.studies.race import Arm
from headstart.terms.teacher import Live


def taught_arms(recipe: Recipe, *, seed: int, teachers: Sequence[tuple[str, Live]] = ()) -> list[Arm]:
    """Every way to learn from answers: `born_again` always, `distill` where there are teachers.

    teachers  what each is called, and itself, its classes in the order of the task's

    Images are seen in a few fixed renderings, so that a teacher answers each once.
    """
    seen = replace(recipe, views=FIXED_VIEWS, seed=seed)
    again = BornAgainConfig(seen, seed=seed)
    told = f"all weights trained, then {again.generations} times drawn anew and taught by the network before"
    arms = [Arm("born_again", "born_again", again, "Born again", told)]
    if teachers:
        names = " and ".join(name for name, _ in teachers)
        lives = tuple(live for _, live in teachers)
        how = f"every block at the full rate, taught by the labels and by {names}"
        arms.append(Arm("distill", "distill", DistillConfig(seen), "Distilled", how, teachers=lives))
    return arms
