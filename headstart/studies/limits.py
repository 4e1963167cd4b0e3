"""Where each way to adapt reaches its limits on these data: sentences, each resting on numbers that were measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headstart.metrics.cost import format_bytes, format_count, format_seconds
from headstart.studies.compared import Comparison, Entry, Pairs, between

_FULL = 0.995
"""Training accuracy from which the images learned from count as fitted."""
_CLOSE = 0.005
"""Gaps that are called none."""
_BRIEF = 5.0
"""Seconds below which points a minute say nothing."""


def limits(c: Comparison, entry: Entry, pairs: Pairs) -> list[str]:
    """What holds this way back, as far as it was measured; empty for one that was not measured to the end."""
    return list(_limits(c, entry, pairs)) if entry.finished else []


def _limits(c: Comparison, e: Entry, pairs: Pairs) -> Iterator[str]:
    yield _fits(e)
    if c.plan is not None and not e.arm.frozen and c.plan.epochs < c.plan.usual:
        yield (
            f"It trained for {c.plan.epochs} epochs, as many as --budget {c.config.budget} reached for; for this many "
            f"images {c.plan.usual} are usual, so longer training may change its place."
        )
    spread = _spread(e)
    if spread:
        yield spread
    yield _gain(c, e, pairs)
    yield _kept(c, e)
    yield _needs(c, e)


def _fits(e: Entry) -> str:
    """Underfitting or overfitting, whichever is the larger loss."""
    training, held_out = e.looked("training"), e.mean
    gap, short = training - held_out, 1 - training
    seen = f"{100 * training:.1f} % right on the images it learned from, {100 * held_out:.1f} % on held-out ones"
    if training < _FULL and short > gap:
        why = (
            "the frozen features under a linear head do not separate the rest"
            if e.arm.frozen
            else "its training does not reach the rest"
        )
        return f"It underfits: {seen}; {why} ({100 * short:.1f} points), more than it loses on new images ({100 * gap:.1f})."
    if gap <= _CLOSE:
        return f"It neither under- nor overfits measurably: {seen}."
    also = f", besides {100 * short:.1f} points that it does not fit" if training < _FULL else ""
    return f"It overfits: {seen}, a gap of {100 * gap:.1f} points{also}; more, or more varied, images usually narrow it."


def _spread(e: Entry) -> str:
    scores = e.scores
    per_fold, per_seed = scores.mean(0), scores.mean(1)
    parts = []
    if len(per_fold) > 1:
        low, high = 100 * per_fold.min(), 100 * per_fold.max()
        deviation = 100 * per_fold.std(ddof=1)
        parts.append(
            f"over {len(per_fold)} folds from {low:.1f} to {high:.1f} % (standard deviation {deviation:.1f} points)"
        )
    if len(per_seed) > 1:
        deviation = 100 * float(np.mean(scores.std(axis=0, ddof=1)))
        parts.append(f"{deviation:.1f} points from seed to seed on the same fold")
    return f"It varies {' and '.join(parts)}." if parts else ""


def _gain(c: Comparison, e: Entry, pairs: Pairs) -> str:
    """Cost against gain, relative to the way that took the least time."""
    base = min(c.finished, key=lambda one: one.seconds)
    if e is base:
        return f"It is the quickest here: {format_seconds(e.seconds)} a fold."
    gain, decided, _ = between(pairs, e.arm.name, base.arm.name)
    more = e.seconds - base.seconds
    told = f"{100 * gain:+.1f} points against {base.arm.name}, the quickest, for {format_seconds(more)} more a fold"
    if not decided:
        return f"Cost against gain: {told}; the difference is not decided, so the time may buy nothing."
    if more < _BRIEF:
        return f"Cost against gain: {told}."
    return f"Cost against gain: {told}, which is {100 * gain / (more / 60):+.3g} points a minute."


def _kept(c: Comparison, e: Entry) -> str:
    unchanged = _unchanged(e)
    if c.origin is None:
        if unchanged:
            return "It forgets nothing of the source: the backbone is as it was."
        return "What it forgets of the source was not measured; the backbone is no longer as it was."
    before, after = c.origin.before, e.looked("source")
    if unchanged:
        return f"It forgets nothing of the source: the backbone is as it was, {100 * before:.1f} % there."
    lost = before - after
    verb = "forgets" if lost >= 0 else "even gains"
    return (
        f"On the source, under the head that belongs there, {100 * before:.1f} % became {100 * after:.1f} %: it {verb} "
        f"{abs(100 * lost):.1f} points."
    )


def _unchanged(e: Entry) -> bool:
    return all(look.unchanged for look in e.looks.values())


def _needs(c: Comparison, e: Entry) -> str:
    stored, size = e.looked("stored"), e.looked("bytes")
    of = f"{format_count(stored)} parameters, {format_bytes(size)}"
    old = e.course.old_images
    again = "no image of an older task" if not old else f"{old:,} images of older tasks"
    if _unchanged(e):
        return f"Each further task adds a head ({of}) to the shared backbone; learning needs {again}."
    return f"Each further task needs its own copy of what changed ({of}); learning needs {again}."
