"""Numbers as a person reads them."""

import math

import pytest

from headstart.report import words
from headstart.report.tables import flatten

S = words.NARROW


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (words.percent(0.94231), f"94.2{S}%"),
        (words.percent(None), "–"),
        (words.percent(-0.00001), f"0.0{S}%"),
        (words.percent_range((0.919, 0.96)), f"91.9–96.0{S}%"),
        (words.points(0.023, sign=True), "+2.3 points"),
        (words.points(0.01), "1.0 point"),
        (words.points(-0.012, sign=True), "−1.2 points"),
        (words.points(0.0001, sign=True), "0.0 points"),
        (words.points_range((-0.004, 0.018)), "−0.4 to 1.8"),
        (words.count(1234567), f"1{S}234{S}567"),
        (words.compact(272474), f"272{S}k"),
        (words.compact(999_999), f"1{S}M"),
        (words.compact(650), "650"),
        (words.compact(11_200_000), f"11.2{S}M"),
        (words.size(1_094_860), f"1.09{S}MB"),
        (words.size(12), f"12{S}B"),
        (words.figures(-0.2184), "−0.218"),
        (words.figures(1e-9), "1.00e−9"),
        (words.figures(0.0), "0"),
        (words.figures(math.nan), "–"),
        (words.duration(0), f"0.0{S}s"),
        (words.duration(0.004), f"0.004{S}s"),
        (words.duration(9.96), f"10{S}s"),
        (words.duration(59.7), f"1{S}min 00{S}s"),
        (words.duration(72), f"1{S}min 12{S}s"),
        (words.duration(3840), f"1{S}h 04{S}min"),
        (words.p_value(0.00001), "p < 0.001"),
        (words.p_value(0.0412), "p = 0.041"),
        (words.p_value(0.31), "p = 0.31"),
        (words.sure(0.9999), f"> 99.9{S}%"),
        (words.sure(1.0), f"100.0{S}%"),
        (words.plural(1, "class", "classes"), "1 class"),
        (words.plural(3, "class", "classes"), "3 classes"),
        (words.listed(["a", "b", "c"]), "a, b and c"),
        (words.listed([]), ""),
        (words.sentence("one thing"), "One thing."),
    ],
)
def test_reads_well(said: str, wanted: str) -> None:
    assert said == wanted


def test_flatten_joins_an_accuracy_with_its_interval_and_names_every_leaf() -> None:
    pairs = flatten({
        "knn": {"k": 5, "accuracy": 0.861, "interval": [0.84, 0.88]},
        "cost": {"seconds": 72, "bytes_model": 2000, "fine": True},
        "list": [1, 2.5],
        "nothing": None,
    })  # fmt: skip
    assert pairs == [
        ("nearest neighbours", f"86.1{S}% (84.0–88.0{S}%); neighbours 5"),
        ("cost, seconds", f"1{S}min 12{S}s"),
        ("cost, saved model", f"2{S}kB"),
        ("cost, fine", "yes"),
        ("list", "1, 2.5"),
        ("nothing", "–"),
    ]
