"""The decode-once file: every picture at the working size in one memory-mapped array, with what was seen on the way.

Four files share a stem: `STEM.json` (written last: without it nothing counts), `STEM-KEY.npy` (pixels) and `STEM-KEY.npz`
(facts per picture). Pixels are appended in order and never mapped while they are written, so that a full disk is an error
and not a killed process.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import PIL
from numpy.lib import format as npy
from numpy.typing import NDArray

from headstart.data.decode import DECODER_VERSION, Picture, UnreadableError, quiet_pillow
from headstart.data.duplicates import VERSION, Rows, coarse, exact_clusters, near_clusters, perceptual_hashes
from headstart.data.names import shown
from headstart.data.samples import Samples
from headstart.data.store import in_use, mapped
from headstart.errors import DiskFull, RunError

_CHUNK_BYTES = 8 << 20
_CHECKED_BYTES = 1 << 30  # stored pixels compared with their checksums when a file is reused
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, eq=False)
class Facts:
    """What was seen of each of the M stored pictures; all arrays have M rows.

    places   int64, position in the source
    sizes    int32 `[M, 2]`, width and height of the original
    modes    pixel format of the original, as fixed-width text
    digests  uint8 `[M, 16]`, see `Picture.digest`
    hashes   uint64, perceptual hash, 0 where there is none
    glance   uint8 `[M, 64]`, the picture in 8 x 8 grey pixels
    crcs     uint32, checksum of the stored pixels
    """

    places: NDArray[np.int64]
    sizes: NDArray[np.int32]
    modes: NDArray[np.str_]
    digests: NDArray[np.uint8]
    hashes: NDArray[np.uint64]
    glance: NDArray[np.uint8]
    crcs: NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some consecutive pictures, decoded: `facts` and pixels `[M, S, S, 3]` of the good ones, the others by place."""

    done: int
    pixels: NDArray[np.uint8]
    facts: Facts
    labels: list[Any]
    bad: list[tuple[int, str]]

    def where(self, keep: list[bool], reason: str) -> Chunk:
        """This chunk without the rows not to `keep`, which are set aside for `reason`."""
        if all(keep):
            return self
        facts = Facts(**{f.name: getattr(self.facts, f.name)[keep] for f in fields(Facts)})
        lost = [(int(p), reason) for p, kept in zip(self.facts.places, keep, strict=True) if not kept]
        labels = [label for label, kept in zip(self.labels, keep, strict=True) if kept]
        return Chunk(self.done, self.pixels[keep], facts, labels, self.bad + lost)


@dataclass(frozen=True, eq=False)
class Decoded:
    """All pictures of a source: pixels `[M, S, S, 3]`, read-only and memory-mapped.

    labels  those that came with the pictures, by row; empty when the source knows them
    bad     (place, reason) of what could not be decoded
    exact   rows that hold identical pictures; `near`: nearly identical ones
    file    where the pixels are
    """

    pixels: NDArray[np.uint8]
    facts: Facts
    labels: list[Any]
    bad: list[tuple[int, str]]
    exact: list[Rows]
    near: list[Rows]
    fingerprint: str
    file: Path


def decode_all(
    samples: Samples, places: NDArray[np.int64], size: int, fit: str, workers: int | None = None
) -> Generator[Chunk]:
    """Decode the pictures at `places` in order, a chunk at a time, in threads where the samples allow it.

    Memory is bounded by the chunks in flight (8 MB of pixels each, two more than there are workers).
    """
    number = max(1, min(1024, _CHUNK_BYTES // (size * size * 3), -(-len(places) // 8)))
    parts = [places[i : i + number] for i in range(0, len(places), number)]
    threads = 1 if not samples.parallel else workers or min(16, _cores())
    with quiet_pillow(), ThreadPoolExecutor(threads, "decode") as pool:
        pending: list[Future[Chunk]] = []
        try:
            for part in parts:
                pending.append(pool.submit(_decode_chunk, samples, part, size, fit))
                if len(pending) > threads + 1:
                    yield pending.pop(0).result()
            while pending:
                yield pending.pop(0).result()
        finally:
            for future in pending:
                future.cancel()


def _decode_chunk(samples: Samples, places: NDArray[np.int64], size: int, fit: str) -> Chunk:
    pixels = np.empty((len(places), size, size, 3), np.uint8)
    good: list[tuple[int, Picture]] = []
    labels, bad = [], []
    for place in places.tolist():
        try:
            picture, label = samples.read(place, size, fit)
        except UnreadableError as problem:
            bad.append((place, str(problem)))
            continue
        pixels[len(good)] = picture.pixels
        good.append((place, picture))
        labels.append(label)
    pixels = pixels[: len(good)]
    return Chunk(len(places), pixels, _facts(good, pixels), labels, bad)


def _facts(good: list[tuple[int, Picture]], pixels: NDArray[np.uint8]) -> Facts:
    thumbs = np.array([p.thumb for _, p in good], np.uint8).reshape(-1, 32, 32)
    return Facts(
        np.array([place for place, _ in good], np.int64),
        np.array([(p.width, p.height) for _, p in good], np.int32).reshape(-1, 2),
        np.array([p.mode for _, p in good], "U8"),
        np.frombuffer(b"".join(p.digest for _, p in good), np.uint8).reshape(-1, 16),
        perceptual_hashes(thumbs),
        coarse(thumbs),
        np.array([zlib.crc32(row.data) for row in pixels], np.uint32),
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class DecodedFile:
    """The files in `cache` for one source at one size and fit: reused if whole and of the same pictures, else made anew."""

    def __init__(self, cache: Path, where: str, key: str | None, size: int, fit: str):
        """`where` tells sources apart: a file made for the same source before is replaced when its `key` has changed."""
        self.cache, self.size = cache, size
        slug = re.sub(r"[^\w.-]+", "_", Path(where).name)[:40] or "data"
        self.stem = f"{slug}-{size}-{fit}-{hashlib.blake2b(where.encode(), digest_size=4).hexdigest()}"
        made_by = (key, size, fit, DECODER_VERSION, VERSION, PIL.__version__)
        self.key = key and hashlib.blake2b(repr(made_by).encode(), digest_size=16).hexdigest()

    def load(self) -> Decoded | None:
        """What is stored, or None when it is absent, of other pictures, or damaged."""
        if self.key is None:
            return None
        try:
            about = json.loads((self.cache / f"{self.stem}.json").read_text())
            return self._whole(about) if about["key"] == self.key else None
        except (OSError, ValueError, KeyError, TypeError, EOFError, zlib.error):
            return None

    def _whole(self, about: dict[str, Any]) -> Decoded:
        """Raise `ValueError` (or what reading raises) unless sizes and checksums say that nothing is missing or changed."""
        pixel_file, fact_file = (self.cache / about[name]["name"] for name in ("pixels", "facts"))
        if pixel_file.stat().st_size != about["pixels"]["bytes"]:
            raise ValueError("length of the pixel file")
        if hashlib.sha256(fact_file.read_bytes()).hexdigest() != about["facts"]["sha256"]:
            raise ValueError("content of the fact file")
        with np.load(fact_file, allow_pickle=False) as stored:
            facts = Facts(**{f.name: stored[f.name] for f in fields(Facts)})
        pixels = _mapped(pixel_file, (len(facts.places), self.size, self.size, 3))
        _check_pixels(pixels, facts.crcs)
        bad = [(int(p), str(r)) for p, r in about["bad"]]
        near = [tuple(int(r) for r in rows) for rows in about["near"]]
        return Decoded(pixels, facts, [], bad, exact_clusters(facts.digests), near, about["fingerprint"], pixel_file)

    def make(self, number: int, chunks: Generator[Chunk]) -> Decoded:
        """Write and commit `chunks` of at most `number` pictures. On any error nothing half-written remains; `DiskFull`."""
        token = self.key[:12] if self.key else secrets.token_hex(6)
        need = number * self.size * self.size * 3
        mark = f".{os.getpid()}-{secrets.token_hex(4)}.tmp"
        pixel_file = self.cache / f"{self.stem}-{token}.npy"
        temporary = pixel_file.with_name(pixel_file.name + mark)
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            self._check_space(need)
            with closing(chunks), open(temporary, "wb") as handle:
                collected = self._append(handle, number, chunks)
                _sync(handle)
            done = self._look(temporary, collected)
            self._commit(temporary, pixel_file, done, mark)
            return replace(done, file=pixel_file)
        except OSError as problem:
            raise self._explain(problem, need) from problem
        finally:
            for left in self.cache.glob(f"*{mark}"):
                left.unlink(missing_ok=True)

    def _look(self, temporary: Path, collected: list[Chunk]) -> Decoded:
        """Map what was written and search it for copies."""
        facts = _joined([c.facts for c in collected])
        pixels = _mapped(temporary, (len(facts.places), self.size, self.size, 3))
        exact = exact_clusters(facts.digests)
        return Decoded(
            pixels,
            facts,
            [label for c in collected for label in c.labels],
            [b for c in collected for b in c.bad],
            exact,
            near_clusters(facts.hashes, facts.glance, exact, lambda rows: pixels[rows]),
            _fingerprint(facts, self.size),
            temporary,
        )

    def _append(self, handle: IO[bytes], number: int, chunks: Iterator[Chunk]) -> list[Chunk]:
        """Append pixels, then write the header again with the final number; returns the chunks without their pixels."""
        _header(handle, number, self.size)
        start, kept = handle.tell(), []
        for chunk in chunks:
            handle.write(chunk.pixels.data)
            kept.append(Chunk(chunk.done, chunk.pixels[:0].copy(), chunk.facts, chunk.labels, chunk.bad))
        handle.seek(0)
        _header(handle, sum(len(c.facts.places) for c in kept), self.size)
        if handle.tell() != start:
            raise AssertionError("an .npy header leaves room for any number of rows")
        return kept

    def _commit(self, temporary: Path, pixel_file: Path, done: Decoded, mark: str) -> None:
        """Rename pixels and facts into place, then the JSON that names them, then remove what an older JSON named."""
        fact_file = pixel_file.with_suffix(".npz")
        with open(fact_file.with_name(fact_file.name + mark), "wb") as handle:
            np.savez(handle, **{f.name: getattr(done.facts, f.name) for f in fields(Facts)})
            _sync(handle)
        about = {
            "key": self.key,
            "fingerprint": done.fingerprint,
            "pixels": {"name": pixel_file.name, "bytes": temporary.stat().st_size},
            "facts": {"name": fact_file.name, "sha256": hashlib.sha256(Path(handle.name).read_bytes()).hexdigest()},
            "bad": done.bad,
            "near": done.near,
        }
        index = self.cache / f"{self.stem}.json{mark}"
        with open(index, "w") as text:
            json.dump(about, text, indent=1)
            _sync(text)
        os.replace(temporary, pixel_file)
        os.replace(handle.name, fact_file)
        os.replace(index, self.cache / f"{self.stem}.json")
        self._sweep(pixel_file)

    def _sweep(self, kept: Path) -> None:
        """Remove what an older JSON named. Without a key nothing tells that two reads are of the same source, and what
        another one still has in use stays until a later sweep."""
        for old in self.cache.glob(f"{self.stem}-*.np[yz]"):
            pixels = old.with_suffix(".npy")
            if pixels != kept and (self.key is not None or not in_use(pixels)):
                old.unlink(missing_ok=True)

    def _check_space(self, need: int) -> None:
        free = shutil.disk_usage(self.cache).free
        if free < need:
            raise OSError(errno.ENOSPC, f"only {free:,} bytes are free")

    def _explain(self, problem: OSError, need: int) -> Exception:
        if problem.errno in _NO_SPACE:
            return DiskFull(
                f"the decoded images need {need:,} bytes in {shown(self.cache)}: {problem.strerror}; "
                "free some space, choose another cache folder, or a smaller size. Nothing half-written was left"
            )
        return RunError(f"the cache folder {shown(self.cache)} cannot be written: {problem.strerror}; choose another one")


def _header(handle: IO[bytes], number: int, size: int) -> None:
    npy.write_array_header_1_0(handle, {"descr": "|u1", "fortran_order": False, "shape": (number, size, size, 3)})


def _mapped(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The pixel file, read-only; one without rows cannot be mapped and is an ordinary empty array."""
    if not shape[0]:
        return np.empty(shape, np.uint8)
    array = mapped(path)
    if array.shape != shape or array.dtype != np.uint8:
        raise ValueError("shape of the pixel file")
    return np.asarray(array) if not isinstance(array, np.memmap) else array


def _check_pixels(pixels: NDArray[np.uint8], crcs: NDArray[np.uint32]) -> None:
    """Compare stored pixels with their checksums: all of them up to 1 GB, evenly spread ones beyond."""
    step = max(1, -(-pixels.nbytes // _CHECKED_BYTES))
    for row in range(0, len(pixels), step):
        if zlib.crc32(pixels[row].data) != crcs[row]:
            raise ValueError("content of the pixel file")


def _fingerprint(facts: Facts, size: int) -> str:
    """Hash of the content: what was decoded and what is stored, in order."""
    digest = hashlib.blake2b(repr((size, len(facts.places))).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(facts.digests).data)
    digest.update(np.ascontiguousarray(facts.crcs).data)
    return digest.hexdigest()


def _joined(parts: list[Facts]) -> Facts:
    parts = parts or [_facts([], np.empty((0, 1, 1, 3), np.uint8))]
    return Facts(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Facts)})


def _sync(handle: IO[Any]) -> None:
    handle.flush()
    os.fsync(handle.fileno())
