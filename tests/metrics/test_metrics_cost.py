import math

import pytest

from headstart.metrics.cost import format_bytes, format_count, format_flops, format_seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1_530_000, "1.53 MB"),
        (999_950, "1 MB"),
        (2.5e12, "2.5 TB"),
        (-2e3, "-2 kB"),
    ],
)
def test_bytes(value, text):
    assert format_bytes(value) == text


def test_flops_and_counts():
    assert format_flops(1.8e9) == "1.8 GFLOP"
    assert format_count(272_474) == "272 k"
    assert format_count(math.inf) == "inf"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (3e-9, "3 ns"),
        (0.0042, "4.2 ms"),
        (0.9999, "1 s"),
        (59.94, "59.9 s"),
        (59.99, "1 min"),
        (75, "1 min 15 s"),
        (3599.7, "1 h"),
        (7300, "2 h 2 min"),
        (200_000, "2 d 8 h"),
        (-75, "-1 min 15 s"),
    ],
)
def test_seconds(value, text):
    assert format_seconds(value) == text
