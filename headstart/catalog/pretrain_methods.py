"""Every way to pretrain, by name; torch-free."""

from __future__ import annotations

from headstart.catalog.pretraining import PretrainMethod

PRETRAINING: dict[str, PretrainMethod] = {}
"""Name -> what is to be known; the names of `strategies/pretrain`."""
