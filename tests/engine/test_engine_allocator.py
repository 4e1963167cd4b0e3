"""Memory that is freed and asked for again is not fetched from the system again."""

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import resource, torch
from headstart.engine.allocator import keep_freed_memory
kept = keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(10_000_000)  # 40 MB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(int(kept), faults())
"""


def kept_and_faults(**environment: str) -> tuple[bool, int]:
    done = subprocess.run(
        [sys.executable, "-c", CODE], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    kept, faults = done.stdout.split()
    return bool(int(kept)), int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked")
def test_freed_memory_is_used_again() -> None:
    kept, faults = kept_and_faults()
    assert kept
    assert faults < 1000


def test_an_allocator_set_up_by_the_user_is_left_alone() -> None:
    assert not kept_and_faults(MALLOC_TOP_PAD_="0")[0]
