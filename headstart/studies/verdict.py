"""Which arm won, by how much, and whether that can be said at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headstart.metrics.intervals import Interval, bootstrap_mean, corrected_error, over_folds, wilson
from headstart.metrics.paired import Difference, corrected_t, holm_differences, paired_bootstrap
from headstart.studies.race import Fold, Standing, weights_of


@dataclass(frozen=True)
class Verdict:
    """The outcome of a race.

    best         highest mean over the shared folds
    chosen       the cheapest arm that cannot be told from the best and is at most one standard error behind it
    decided      there were other arms that could have won, the best was told apart from every one of them on two folds or
                 more, and none that ran out of time was ahead on the folds it ran
    against      the arm that `comparison` (best minus it) is with: the chosen one; when that is the best, one that was ahead
                 when its time ran out, else the strongest it could not be told from; when decided, the strongest rival
    differences  best minus each arm, on the folds both ran; adjusted for the number of rivals (Holm)
    regret       best mean minus the advised arm's, at least 0; NaN when the advised arm or any rival of it did not run
    """

    best: str
    chosen: str
    decided: bool
    against: str | None
    comparison: Difference | None
    differences: Mapping[str, Difference]
    regret: float


def interval_of(standing: Standing, folds: Sequence[Fold]) -> Interval:
    """Interval of an arm's accuracy: over images; from three folds on that and the one over folds (corrected for their
    overlap) together, since a few folds can agree by chance far better than their images allow."""
    ran = sorted(standing.trials)
    images = _over_images(standing, ran)
    if len(ran) < 3:
        return images
    return spanning(over_folds(standing.scores(ran), *_sizes(folds, ran)), images)


def spanning(found: Interval, images: Interval) -> Interval:
    """An interval over folds of an accuracy, no narrower than the one over images and within 0 to 1."""
    return replace(found, low=max(min(found.low, images.low), 0.0), high=min(max(found.high, images.high), 1.0))


def _over_images(standing: Standing, ran: Sequence[int]) -> Interval:
    """Wilson's; where images count by the size of their class a bootstrap's, which needs some right and some wrong."""
    correct = np.concatenate([standing.trials[fold].correct for fold in ran])
    weighted = any(standing.trials[fold].weights is not None for fold in ran)
    if weighted and correct.any() and not correct.all():
        return bootstrap_mean(np.concatenate([standing.trials[fold].values for fold in ran]), 0)
    return wilson(int(correct.sum()), len(correct))


def _sizes(folds: Sequence[Fold], ran: Sequence[int]) -> tuple[float, float]:
    return float(np.mean([len(folds[f][0]) for f in ran])), float(np.mean([len(folds[f][1]) for f in ran]))


def difference(a: Standing, b: Standing, folds: Sequence[Fold], seed: int) -> Difference:
    """Arm a minus arm b on the folds both ran.

    From three folds on the corrected resampled t-test, and always a bootstrap over the shared images; the more cautious of
    the two counts. Few folds can agree by chance far better than their images allow, and images alone know nothing of how
    much training varies.
    """
    shared = sorted(set(a.trials) & set(b.trials))
    right = [np.concatenate([s.trials[fold].correct for fold in shared]) for s in (a, b)]
    weights = weights_of([a.trials[fold] for fold in shared])
    found = [paired_bootstrap(right[0], right[1], seed, weights=weights)]
    if len(shared) >= 3:
        found.append(corrected_t(a.scores(shared), b.scores(shared), *_sizes(folds, shared)))
    return max(found, key=lambda one: (one.p_value, one.high - one.low))


def judge(standings: Sequence[Standing], folds: Sequence[Fold], advised: str, seed: int) -> Verdict:
    """Compare all arms with the best and choose.

    Of arms that cannot be told apart the cheapest is taken that is within one standard error of the best (Breiman et al.
    1984): a few folds tell nothing apart, and an arm far behind on them is not likely to be as good. An arm that did not run
    as many folds as the finished ones wins only when its lead over the best of them has an interval without zero; on a
    single fold that decides nothing, and what is taken in its place must not have been near it by luck on a few folds (see
    `_holds`). Arms that diverged cannot win.
    """
    ran = [standing for standing in standings if standing.trials]
    eligible, best, base = _eligible(ran, folds, seed)
    differences = _differences(best, ran, folds, seed)
    equals = [s for s in eligible if s is best or not differences[s.arm.name].decided]
    near = [s for s in equals if s is best or (_is_near(best, s, folds) and (best is base or _holds(s, base, ran, folds)))]
    chosen = min(near, key=lambda standing: (standing.arm.cost, -standing.mean))
    ahead = [s for s in ran if s not in eligible and s.status != "diverged" and _gap(best, s) < 0]
    equal_rivals = [s for s in equals if s is not best]
    rivals = ahead or equal_rivals or [s for s in eligible if s is not best] or [s for s in ran if s.arm.name in differences]
    strongest = max(rivals, key=lambda standing: -_gap(best, standing)).arm.name if rivals else None
    against = strongest if chosen is best else chosen.arm.name
    advice = next((s for s in ran if s.arm.name == advised), None)
    regret = max(_gap(best, advice), 0.0) if advice is not None and len(ran) > 1 else float("nan")
    return Verdict(
        best.arm.name,
        chosen.arm.name,
        len(eligible) > len(equals) == 1 and not ahead and len(best.trials) >= min(2, len(folds)),
        against,
        differences.get(against) if against is not None else None,
        differences,
        regret,
    )


def _is_near(best: Standing, other: Standing, folds: Sequence[Fold]) -> bool:
    """Whether `other` is at most a standard error behind `best` on the folds both ran."""
    return other is best or _gap(best, other) <= _standard_error(best, other, folds)


def _holds(s: Standing, base: Standing, ran: Sequence[Standing], folds: Sequence[Fold]) -> bool:
    """Whether `s` stands up to those on the most folds, of which `base` is the best: near it, and behind none as cheap."""
    finished = [other for other in ran if len(other.trials) == len(base.trials) and other.status != "diverged"]
    return _is_near(base, s, folds) and not any(t.arm.cost <= s.arm.cost and _gap(t, s) > 0 for t in finished)


def _eligible(ran: Sequence[Standing], folds: Sequence[Fold], seed: int) -> tuple[list[Standing], Standing, Standing]:
    """The arms that may win, the best of them, and the best of those that ran the most folds."""
    steady = [standing for standing in ran if standing.status != "diverged"] or list(ran)
    most = max(len(standing.trials) for standing in steady)
    finished = [standing for standing in steady if len(standing.trials) == most]
    base = max(finished, key=lambda standing: (standing.mean, -standing.arm.cost))
    shared = [s for s in steady if s not in finished and set(s.trials) & set(base.trials)]
    ahead = [s for s in shared if difference(base, s, folds, seed).high < 0]
    eligible = [*finished, *ahead]
    return eligible, max(eligible, key=lambda s: (-_gap(base, s), -s.arm.cost)) if ahead else base, base


def _differences(best: Standing, others: Sequence[Standing], folds: Sequence[Fold], seed: int) -> dict[str, Difference]:
    """Best minus each of the others on the folds both ran, adjusted for their number."""
    raw = {
        s.arm.name: difference(best, s, folds, seed) for s in others if s is not best and set(s.trials) & set(best.trials)
    }
    return holm_differences(raw) if raw else {}


def _standard_error(a: Standing, b: Standing, folds: Sequence[Fold]) -> float:
    """Of the difference of two arms on the folds both ran: over images, or over folds where that is more."""
    shared = sorted(set(a.trials) & set(b.trials))
    gaps = np.concatenate([a.trials[fold].values - b.trials[fold].values for fold in shared])
    errors: list[float] = [float(gaps.std() / np.sqrt(len(gaps)))]
    if len(shared) >= 3:
        errors.append(corrected_error(a.scores(shared) - b.scores(shared), *_sizes(folds, shared)))
    return max(errors)


def _gap(best: Standing, other: Standing) -> float:
    shared = sorted(set(best.trials) & set(other.trials))
    return float(best.scores(shared).mean() - other.scores(shared).mean()) if shared else float("nan")
