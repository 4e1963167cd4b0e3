"""Memory between steps: kept for the next one instead of given back to the system.

A step on a CPU allocates and frees the same large activations again and again. glibc gives such memory back when it is
freed, and every page is then asked for, and cleared, anew: 10 to 20 % of a training step's time (ResNet-18 at 224 px).
"""

from __future__ import annotations

import ctypes
import functools
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of mallopt's options, from malloc.h
_NEVER = (1 << 31) - 1
_LARGEST = (1 << 30, 1 << 25)
"""Freed blocks up to this size are kept, larger ones given back at once; older glibc allows 32 MB at most."""


@functools.cache
def keep_freed_memory() -> bool:
    """Ask the C library to keep what this process frees; whether it does. Only glibc is asked, and only once.

    The process then stays as large as it has once been, blocks above 1 GB apart. Whoever has set the allocator up by its
    own environment variables keeps that. No number that headstart computes depends on it.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - only glibc has it
        mallopt = library.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return any(mallopt(_MMAP_THRESHOLD, size) for size in _LARGEST) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))


def give_freed_memory_back() -> bool:
    """Give what is freed back to the system once; whether that could be done. The next step asks for it anew."""
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError, TypeError):
        return False
