"""Run benchmarks, each in a fresh process, and print one table.

    python -m benchmarks [NAME ...] [--quick] [--threads N]

Results go to benchmarks/results.json and from there into docs/benchmarks.md; benchmarks that were not run keep what they
found before. The exit code is 1 when a promise was missed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import time

from benchmarks import table

NAMES = (
    "frozen",
    "prefix_cache",
    "heads",
    "fine_tune",
    "help",
    "memory",
    "scores",
    "layers",
    "distill",
    "extend",
    "importance",
    "shared",
    "views",
    "simclr",
    "greedy",
)


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes and few pairs, to see that everything runs")
    parser.add_argument("--threads", type=int, default=_cores(), help="threads for PyTorch (default: one per core)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if args.here:
        _here(args.names[0], quick=args.quick, threads=args.threads)
        return 0
    return _all([name for name in NAMES if name in args.names or not args.names], quick=args.quick, threads=args.threads)


def _all(names: list[str], *, quick: bool, threads: int) -> int:
    """Every benchmark in a process of its own: what one imports, caches or holds must not meet the next."""
    failed = []
    for name in names:
        command = [sys.executable, "-m", "benchmarks", name, "--here", "--threads", str(threads), *["--quick"] * quick]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        if subprocess.run(command, cwd=table.FOLDER.parent, env=environment).returncode:
            failed.append(name)
    results = table.load()
    done = [name for name in names if name not in failed]
    print("\n" + table.rows_text(done, results), flush=True)
    table.write_page(NAMES)
    missed = [name for name in done if any(table.Row(**found).kept is False for found in results[name]["rows"])]
    for what, which in (("promise missed", missed), ("did not run", failed)):
        if which:
            print(f"{what}: {', '.join(which)}")
    return 1 if missed or failed else 0


def _here(name: str, *, quick: bool, threads: int) -> None:
    """One benchmark in this process. `help` must not import torch, not even here: its own children are what it times."""
    print(f"{name} ...", flush=True)
    module = importlib.import_module(f"benchmarks.{name}")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    began = time.perf_counter()
    rows = module.measure(quick=quick)
    table.keep(name, rows, quick=quick, threads=threads, took=time.perf_counter() - began)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(main())
