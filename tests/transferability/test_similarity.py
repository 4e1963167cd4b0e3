"""Three distances together: small for the source itself, growing with a shift, said in words and JSON; no torch needed."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np

from headstart.engine.source_statistics import SourceStatistics, statistics_of
from headstart.transferability.similarity import similarity

MEANS = np.random.default_rng(0).normal(0, 2, (5, 8))


def sample(each: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(5), each)
    return MEANS[labels] + np.random.default_rng(seed).normal(size=(len(labels), 8)) + shift, labels


def source(named: bool = True) -> SourceStatistics:
    f, labels = sample(200, 1)
    return statistics_of(f, labels if named else np.full(len(f), -1), tuple("abcde") if named else (), "top")


def test_the_source_itself_is_no_different_and_says_so() -> None:
    found = similarity(*sample(40, 2), 5, source(), seed=0)
    assert found.transport is not None
    assert found.frechet.value <= found.frechet.highest
    assert found.domain.value > 0.4
    for name in ("frechet", "domain"):
        assert "no difference can be seen" in found.meanings()[name]


def test_the_further_the_less_alike() -> None:
    by_shift = [similarity(*sample(40, 2, shift), 5, source(), seed=0) for shift in (0, 0.5, 1.0, 6.0)]
    for name in ("frechet", "transport"):
        values = [getattr(one, name).value for one in by_shift]
        assert values == sorted(values)
    errors = [one.domain.value for one in by_shift]
    assert errors == sorted(errors, reverse=True)
    for said in by_shift[-1].meanings().values():
        assert said.endswith("very different from what it learned from")


def test_real_source_images_are_used_where_they_are() -> None:
    found = similarity(*sample(40, 2), 5, source(), seed=0, source_features=sample(40, 3)[0])
    assert not found.domain.drawn
    assert "images of the source" in found.meanings()["domain"]
    assert found.domain.value > 0.35


def test_json_holds_value_null_and_meaning() -> None:
    kept = json.loads(json.dumps(similarity(*sample(10, 2), 5, source(), seed=0).to_json()))
    assert list(kept) == ["frechet", "transport", "domain"]
    for one in kept.values():
        assert set(one) == {"value", "null", "meaning"}
        assert one["meaning"]
    assert kept["domain"]["null"] == 0.5


def test_without_classes_of_the_source_there_is_no_transport() -> None:
    found = similarity(*sample(10, 2), 5, source(named=False), seed=0)
    assert found.transport is None
    assert found.to_json()["transport"] is None
    assert found.to_json()["frechet"]["value"] == similarity(*sample(10, 2), 5, source(), seed=0).frechet.value


def test_single_images_of_source_classes_give_a_distance_without_a_null() -> None:
    f, _ = sample(6, 3)
    singles = statistics_of(f, np.arange(30), tuple(str(n) for n in range(30)), "top")
    found = similarity(*sample(10, 2), 5, singles, seed=0)
    assert found.transport is not None
    assert found.transport.null is None
    assert "not known" in found.meanings()["transport"]


def test_it_needs_no_torch() -> None:
    code = "import sys, headstart.transferability.similarity; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
