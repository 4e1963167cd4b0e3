"""Whatever a run measured, as pairs of a name and a text: for parts of a run whose fields a page does not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.report import words
from headstart.report.folder import interval, number

NAMES = {
    "knn": "nearest neighbours",
    "logme": "LogME",
    "hscore": "H-score",
    "images_per_class": "images in a typical class",
    "probe_last": "linear probe, last block",
    "probe_best": "linear probe, best block",
    "last_block": "last block",
    "peak_block": "best block",
    "peak_depth": "depth of the best block",
    "chance": "guessing",
    "pixel_baseline": "the same probe on raw pixels",
    "skill": "way from guessing to perfect",
    "gain_over_pixels": "errors on raw pixels removed",
    "drop_after_peak": "skill lost after the best block",
    "trained_parameters": "weights in the backbone",
    "num_images": "images",
    "num_classes": "classes",
    "p_value": "p",
    "probe": "linear probe",
    "python": "Python",
    "torch": "PyTorch",
    "numpy": "NumPy",
    "cpu": "processor",
    "k": "neighbours",
    "bytes_model": "saved model",
    "bytes_store": "decoded images on disk",
    "bytes_cache": "cached activations on disk",
}
"""Names that would read badly with underscores merely removed."""

PERCENT = {
    "knn",
    "probe_last",
    "probe_best",
    "chance",
    "pixel_baseline",
    "skill",
    "gain_over_pixels",
    "drop_after_peak",
    "peak_depth",
}
"""Fields that hold a share without saying so in their name."""

FRACTIONS = ("accuracy", "fraction", "share", "precision", "recall")
"""Words in a field's name that make its number a percentage."""


def name_of(key: str) -> str:
    """A field's name as a person reads it."""
    return NAMES.get(key, words.human(key))


def flatten(found: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Every leaf of nested objects as `(name, text)`; an accuracy and its interval become one text."""
    pairs: list[tuple[str, str]] = []
    for key, value in found.items():
        name = f"{prefix}{name_of(str(key))}"
        if isinstance(value, dict) and "accuracy" in value:
            pairs.append(
                (name, "; ".join(text if at == 0 else f"{what} {text}" for at, (what, text) in enumerate(_scored(value))))
            )
        elif isinstance(value, dict):
            pairs += flatten(value, f"{name}, ")
        elif key == "interval" and "accuracy" in found:
            continue
        else:
            pairs.append((name, text_of(str(key), value, interval(found.get("interval")))))
    return pairs


def _scored(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Leaves of an object that holds an accuracy, that one first."""
    return flatten({"accuracy": value["accuracy"], **value})


def text_of(key: str, value: Any, span: tuple[float, float] | None = None) -> str:
    """One value as text; `key` tells what it is measured in."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return words.UNKNOWN
    if isinstance(value, (list, tuple)):
        return ", ".join(text_of(key, one) for one in value) or "none"
    if isinstance(value, dict):
        return "; ".join(f"{name} {text}" for name, text in flatten(value)) or "none"
    plain = number(value)
    if plain is None:
        return str(value)
    if key in PERCENT or (any(word in key for word in FRACTIONS) and 0 <= plain <= 1):
        return words.percent(plain) + (f" ({words.percent_range(span)})" if span and key == "accuracy" else "")
    if key == "seconds" or key.endswith("_seconds"):
        return words.duration(plain)
    if key.startswith("bytes") or key.endswith("bytes"):
        return words.size(plain)
    return words.figures(plain)
