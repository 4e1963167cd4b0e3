"""A CSV manifest of some training images of each class, and of all test images: a smaller data set without copying one.

python examples/subset.py cifar10 cifar10-10k.csv --per-class 1000
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path

from headstart.data.decode import SUFFIXES
from headstart.seeding import permutation


def rows(folder: Path, per_class: int, seed: int) -> list[tuple[Path, str, str]]:
    """(file, class, split) of the chosen training images and of every test image."""
    found = []
    for split in ("train", "test"):
        for place in sorted(path for path in (folder / split).iterdir() if path.is_dir()):
            files = sorted(path for path in place.iterdir() if path.suffix.lower() in SUFFIXES)
            if split == "train":
                files = [files[n] for n in sorted(permutation(len(files), seed, "subset", place.name)[:per_class])]
            found += [(path, place.name, split) for path in files]
    return found


def main() -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="image folder with train/ and test/")
    parser.add_argument("out", type=Path, help="CSV file to write; paths in it are relative to it")
    parser.add_argument("--per-class", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with args.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for path, label, split in rows(args.folder, args.per_class, args.seed):
            writer.writerow([os.path.relpath(path, args.out.parent), label, split])


if __name__ == "__main__":
    main()
