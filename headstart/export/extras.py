"""The packages that only exporting needs, imported when they are needed; without them everything else still works."""

from __future__ import annotations

import importlib
from typing import Any

from headstart.errors import ConfigError


def need(*names: str) -> list[Any]:
    """The modules called `names`. Raises ConfigError naming all that are missing, and how to install them."""
    found, missing = [], []
    for name in names:
        try:
            found.append(importlib.import_module(name))
        except ImportError as error:
            missing.append(f"{name.partition('.')[0]} ({error})")
    if missing:
        raise ConfigError(
            f"ONNX files need {' and '.join(missing)}, which cannot be imported; install what belongs to them:\n"
            "  pip install 'headstart[device]'\n"
            "--to torch-export needs nothing besides PyTorch"
        )
    return found
