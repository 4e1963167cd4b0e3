"""Curves, answers and claims from made-up runs whose truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from headstart.studies.layers_answers import Table, answers, claims, curves, overtaking, separated
from headstart.studies.layers_plan import Cut, Run
from tests.studies.layers_toys import run

IMAGES = 400
NS = range(1, 8)
CUTS = [Cut(n, (f"b{n}",), n) for n in NS]
LABELS = {n: f"b{n}" for n in NS}
KINDS = ("selffer", "transfer", "selffer+", "transfer+", "random")


def table(
    truth: Callable[[str, int], float], *, seeds: int = 3, halves: tuple[str, ...] = ("like",), sizes: tuple[int, ...] = ()
) -> Table:
    """Runs that are right with probability `truth(kind, n)`; harder images are harder for all, target A is easier."""
    draw, right = np.random.default_rng(0), {}
    for each in halves:
        for target in "AB":
            hardness = draw.random(IMAGES)
            for seed in range(seeds):
                runs = [run("base", 0, target, seed=seed, halves=each)]
                runs += [run(kind, n, target, seed=seed, halves=each) for kind in KINDS for n in NS]  # type: ignore[arg-type]
                runs += [
                    run(kind, n, target, seed=seed, images=size, halves=each)  # type: ignore[arg-type]
                    for kind in ("transfer", "transfer+")
                    for n in NS
                    for size in sizes
                ]
                for one in runs:
                    share = truth(one.kind if each == "like" else f"unlike {one.kind}", one.n) + (target == "A") * 0.05
                    right[one] = (hardness + 0.05 * draw.normal(size=IMAGES) < share).astype(np.float64)
    return Table(right, CUTS)


def as_in_the_paper(kind: str, n: int) -> float:
    """Co-adaptation in the middle, specificity at the top, a boost where all is fine-tuned, random worst."""
    dip = {3: 0.03, 4: 0.06, 5: 0.06}.get(n, 0.0)
    specific = {5: 0.02, 6: 0.05, 7: 0.15}.get(n, 0.0)
    kind, unlike = kind.removeprefix("unlike "), kind.startswith("unlike")
    change = {"base": 0.0, "selffer": -dip, "transfer": -dip - specific * (2 if unlike else 1), "transfer+": 0.05}
    return 0.7 + change.get(kind, -0.1 * n if kind == "random" else 0.0)


def flat(kind: str, n: int) -> float:
    return 0.7


def judged(found: Table) -> list[bool | None]:
    return [one["holds"] for one in claims(found)]


def test_the_papers_own_picture_is_recognised() -> None:
    found = table(as_in_the_paper, halves=("like", "unlike"))
    assert judged(found) == [True] * 6
    how, sudden, where, *others = answers(found, LABELS)
    assert [row["halves"] for row in (how, sudden, where, *others)] == ["like"] * 3 + ["unlike"] * 3
    assert how["question"] == "How general or specific is each layer, with like halves?"
    assert others[1]["numbers"]["total"] > 1.5 * sudden["numbers"]["total"]
    assert set(how["numbers"]["specific"]) >= {6, 7}
    assert set(how["numbers"]["general"]) <= {1, 2, 3, 4}
    assert sudden["numbers"]["at"] == 7
    low, high = sudden["numbers"]["step_interval"]
    assert low < sudden["numbers"]["largest_step"] < high
    assert f"({100 * low:.1f} to {100 * high:.1f})" in sudden["sentence"]
    assert "with the layers up to b7 transferred" in sudden["sentence"]
    assert sudden["sentence"].startswith("It comes suddenly")
    assert where["numbers"]["largest_step_at"] == 7
    assert where["numbers"]["first_specific"] in (5, 6)
    assert "b7" in how["sentence"]


def test_a_flat_picture_is_not_taken_for_it() -> None:
    found = table(flat)
    assert True not in judged(found)[:5]
    how, sudden, where = answers(found, LABELS)
    assert how["numbers"]["specific"] == []
    assert sudden["sentence"].startswith("Undecided: with the layers up to b7 transferred")
    assert where["numbers"]["first_specific"] is None


def test_the_opposite_is_denied() -> None:
    def opposite(kind: str, n: int) -> float:
        return 1.4 - as_in_the_paper(kind, n)

    assert judged(table(opposite)) == [False] * 5


def test_what_is_separated_is_paired_by_target_and_seed() -> None:
    found = table(as_in_the_paper)
    parts = separated(found)
    mean = {
        one: float(np.mean([values.mean() for r, values in found.right.items() if r.kind == one and r.n in (0, 7)]))
        for one in ("base", "selffer", "transfer", "transfer+")
    }
    at = {name: rows[-1] for name, rows in parts.items()}
    assert at["coadaptation"]["drop"] == pytest.approx(mean["base"] - mean["selffer"])
    assert at["specificity"]["drop"] == pytest.approx(mean["selffer"] - mean["transfer"])
    assert at["generality_boost"]["gain"] == pytest.approx(mean["transfer+"] - mean["base"])
    assert all(low <= row.get("drop", row.get("gain")) <= high for row in at.values() for low, high in [row["interval"]])
    # the targets differ by five points, which pairing takes out
    width = at["specificity"]["interval"][1] - at["specificity"]["interval"][0]
    assert width < 0.06


def test_pairs_without_a_partner_are_left_out() -> None:
    found = table(flat)
    lost = run("base", 0, "A", seed=1)
    rest = Table({one: values for one, values in found.right.items() if one != lost}, CUTS)
    assert len(rest.units("like", ("selffer", "base"), 2)) == 5
    assert len(rest.units("like", ("selffer", ""), 2)) == 6
    assert [row["runs"] for row in curves(rest) if row["kind"] == "base"] == [5]
    assert len(separated(rest)["coadaptation"]) == 7


def test_curves() -> None:
    rows = curves(table(as_in_the_paper, halves=("like", "unlike")))
    assert [row["kind"] for row in rows[:2]] == ["base", "selffer"]
    assert len(rows) == 2 * (1 + 5 * 7)
    for row in rows:
        assert 0 <= row["interval"][0] <= row["accuracy"] <= row["interval"][1] <= 1
        if row["kind"] != "base":
            assert row["relative_interval"][0] <= row["relative"] <= row["relative_interval"][1]
    like, unlike = (
        [r["relative"] for r in rows if r["kind"] == "transfer" and r["halves"] == h] for h in ("like", "unlike")
    )
    assert unlike[-1] < like[-1]


def test_unlike_halves_are_compared_with_the_p_value_of_the_difference() -> None:
    """Both fall surely, and as far: the p-values of the two falls say nothing of their difference."""

    def same(kind: str, n: int) -> float:
        return 0.7 - 0.05 * n * kind.endswith("transfer")

    last = claims(table(same, halves=("like", "unlike")))[-1]
    assert last["claim"] == "AnB falls further where the halves are unlike"
    low, high = last["numbers"]["interval"]
    assert last["holds"] is None
    assert low < 0 < high
    assert last["numbers"]["p_value"] > 0.05


def test_what_is_separated_is_separated_for_all_halves() -> None:
    found = table(as_in_the_paper, halves=("like", "unlike"), sizes=(20,))
    rows = [*separated(found)["specificity"], *overtaking(found, (20,), {"like": 100, "unlike": 90})]
    assert [row["halves"] for row in rows] == ["like"] * 7 + ["unlike"] * 7 + ["like"] * 14 + ["unlike"] * 14
    assert rows[-1]["target_images"] == 90


def test_overtaking() -> None:
    def truth(kind: str, n: int) -> float:
        return 0.6 if kind == "transfer" else 0.7

    rows = overtaking(table(truth, sizes=(20, 50)), (20, 50), {"like": 100})
    assert [(row["n"], row["target_images"]) for row in rows[:4]] == [(1, 20), (1, 50), (1, 100), (2, 20)]
    assert all(row["difference"] == pytest.approx(row["fine_tuned"] - row["frozen"]) for row in rows)
    assert all(row["interval"][0] > 0 for row in rows)


def test_one_cut_and_no_base_are_enough() -> None:
    only: dict[Run, np.ndarray[tuple[int], np.dtype[np.float64]]] = {
        one: values for one, values in table(as_in_the_paper, seeds=1).right.items() if one.n == 7
    }
    small = Table(only, CUTS[-1:])
    assert len(answers(small, LABELS)) == 3
    assert {one["claim"].split(" ")[0]: one["holds"] for one in claims(small)}["BnB"] is None
    assert separated(small)["coadaptation"] == []
