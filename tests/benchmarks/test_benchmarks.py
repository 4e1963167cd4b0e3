"""How benchmarks judge what they measured."""

import math
from itertools import pairwise

import pytest

from benchmarks import table, timing
from benchmarks.__main__ import NAMES
from benchmarks.table import Row, row
from benchmarks.timing import in_turn, median_of, ratio


def coverage(count: int, rank: int) -> float:
    """Probability that the interval from the `rank`-th smallest to the `rank`-th largest of `count` holds the median."""
    return 1 - 2 * sum(math.comb(count, k) for k in range(rank)) / 2**count


@pytest.mark.parametrize("count", [6, 7, 15, 21, 40])
def test_the_interval_of_a_median_is_the_narrowest_with_95_percent(count: int) -> None:
    found = median_of([float(value) for value in range(1, count + 1)])
    rank = int(found.low)
    assert found.high == count + 1 - rank
    assert coverage(count, rank) >= 0.95 > coverage(count, rank + 1)
    assert found.value == (count + 1) / 2


def test_few_values_give_their_whole_range() -> None:
    assert median_of([3.0, 1.0, 2.0]) == timing.Median(2.0, 1.0, 3.0, 3)


def test_ratios_are_taken_pair_by_pair() -> None:
    assert ratio([2, 20, 200], [1, 10, 100]).value == 2.0


def test_parts_run_in_turn_and_each_begins_equally_often() -> None:
    calls: list[str] = []
    parts = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    taken = in_turn(parts, 6, warm_up=1)
    assert {name: len(values) for name, values in taken.items()} == {"a": 6, "b": 6, "c": 6}
    rounds = ["".join(calls[i : i + 3]) for i in range(3, len(calls), 3)]
    assert sorted(order[0] for order in rounds) == list("aabbcc")
    assert all(one != other for one, other in pairwise(rounds))


def test_preparing_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def pass_time(seconds: float) -> None:
        now[0] += seconds

    taken = in_turn({"a": lambda: pass_time(1)}, 2, ready=lambda name: pass_time(100))
    assert taken == {"a": [1.0, 1.0]}


def test_a_promise_is_kept_up_to_its_limit_and_in_its_direction() -> None:
    assert Row("x", 1.25, limit=1.25).kept
    assert Row("x", 1.26, limit=1.25).kept is False
    assert Row("x", 19.0, limit=20, at_least=True).kept is False
    assert Row("x", 7.0).kept is None
    assert "missed" in row("x", median_of([2.0]), limit=1).cells()[-1]


def test_results_keep_what_was_not_run_again_and_the_page_its_words(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    monkeypatch.setattr(table, "RESULTS", folder / "results.json")
    monkeypatch.setattr(table, "PAGE", folder / "page.md")
    table.PAGE.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    table.keep("heads", [Row("first", 1.0, limit=2.0)], quick=False, threads=2, took=1.0)
    table.keep("help", [Row("second", 0.1234, "s", 0.1, 0.2, 9)], quick=True, threads=2, took=1.0)
    table.write_page(NAMES)
    page = table.PAGE.read_text()
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "old" not in page
    assert "| heads | first | 1 x |" in page
    assert "| help (quick) | second | 0.123 s | 0.1 to 0.2 | 9 |" in page
    table.write_page(NAMES)
    assert table.PAGE.read_text() == page
