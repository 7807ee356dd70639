"""The index of a very large repository: how long it takes to open, how much memory, how many look-ups a second.

``python -m bench.index --entries 400e6 --dir /somewhere`` makes segments as ``vmkeep repo merge`` leaves them, of
random digests, and looks some up in the index that every command uses. 400 million entries are 100 TiB of 256 KiB
blocks and take 20 GB of the folder; they are removed again unless ``--keep`` is given.

Rates are given twice: of all look-ups, and of the fastest hundredth of them, which says what they take while nothing
else runs on the machine.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vmkeep.blobs.local import LocalStore
from vmkeep.repository.codecs import Codec
from vmkeep.repository.columns import Columns, encode_parts
from vmkeep.repository.digests import Kind
from vmkeep.repository.frames import HEADER_SIZE, Cipher, FrameHeader, Framer
from vmkeep.repository.index import Index

PART = 4_000_000
"""Entries of a segment, as a merge makes them."""
PER_PACK = 256
"""Blocks of 256 KiB in a pack."""


def make_segments(folder: Path, entries: int) -> None:
    """Write segments with ranges of their own; one is in memory at a time."""
    chance = np.random.default_rng(1)
    parts = -(-entries // PART)
    count = entries // parts
    all_packs = max(1, entries // PER_PACK)
    used, rows = np.unique(chance.integers(0, all_packs, count, np.uint32), return_inverse=True)
    alike = Columns(  # but for their prefixes all segments may be alike: that takes less time
        prefixes=np.zeros(count, np.uint64),
        rests=chance.integers(0, 1 << 63, (count, 3), np.uint64).view(np.uint8),
        packs=rows.astype(np.uint32),
        offsets=chance.integers(32, 60 << 20, count, np.uint32),
        lengths=np.full(count, 1 << 17, np.uint32),
        pack_ids=chance.integers(0, 256, (len(used), 16), np.uint8),
        kinds=np.full(len(used), Kind.BLOCK, np.uint32),
    )
    folder.mkdir(parents=True)
    for part in range(parts):
        low, high = (part << 64) // parts, ((part + 1) << 64) // parts - 1
        columns = replace(alike, prefixes=np.sort(chance.integers(low, high, count, np.uint64, endpoint=True)))
        with (folder / secrets.token_hex(16)).open("wb") as file:
            file.seek(HEADER_SIZE)
            length = sum(file.write(column) for column in encode_parts([columns]))
            header = FrameHeader(
                kind=Kind.INDEX, codec=Codec.NONE, cipher=Cipher.NONE,
                raw_length=length, stored_length=length, digest=bytes(32),
            )  # fmt: skip
            file.seek(0)
            file.write(header.encode())
        show_progress(f"segment {part + 1} of {parts}")


def measure(folder: Path, looks: int) -> Iterator[tuple[str, str]]:
    """Yield what was measured."""
    start = time.perf_counter()
    index = Index(LocalStore(folder), Framer(codec=Codec.ZSTD))
    index.refresh()
    yield "open", f"{time.perf_counter() - start:.3f} s"
    yield "entries, segments", f"{index.entries:,}, {len(index.segments):,}"
    chance = random.Random(2)  # noqa: S311
    there = sample(index, 2 * looks)
    absent = [chance.randbytes(32) for _ in range(looks)]
    mixed = there[::10] + absent[: looks * 8 // 10]
    chance.shuffle(mixed)
    for segment in index.segments:
        segment.release()
    yield "look-ups, new data (miss)", rate(index.find, absent)
    yield "look-ups, 20 % known", rate(index.find, mixed)
    yield "look-ups, known (hit), first time", rate(index.find, there[:looks])
    yield "look-ups, known (hit), again", rate(index.find, there[:looks])
    yield "is it known: 50 % are", rate(index.known, there[: looks // 2] + absent[: looks // 2])
    for batch in (1000, 20_000, 100_000):
        batches = [there[at : at + batch] for at in range(0, looks, batch)]
        start = time.perf_counter()
        found = sum(location is not None for some in batches for location in index.find_many(some))
        yield f"find_many, {batch:,} at a time, known", f"{found / (time.perf_counter() - start):,.0f}/s"
    for name in ("VmHWM", "VmRSS", "RssAnon", "RssFile"):
        yield f"memory: {name}", f"{memory(name) >> 20} MiB"


def sample(index: Index, count: int) -> list[bytes]:
    """Return some of the digests that are in the index, in no order."""
    chance = np.random.default_rng(3)
    digests: list[bytes] = []
    for segment in index.segments:
        columns = segment.columns()
        rows = np.sort(chance.integers(0, segment.entries, -(-count // len(index.segments))))
        digests += [columns.digest(row) for row in rows.tolist()]
        segment.release()
    random.Random(4).shuffle(digests)  # noqa: S311
    return digests[:count]


def rate(look: Callable[[bytes], object], digests: Sequence[bytes]) -> str:
    """Return look-ups per second, of all and of the fastest hundredth."""
    step = max(1, len(digests) // 100)
    fastest, start = float("inf"), time.perf_counter()
    cpu = time.process_time()
    for at in range(0, len(digests), step):
        begun = time.perf_counter()
        some = digests[at : at + step]
        for digest in some:
            look(digest)
        fastest = min(fastest, (time.perf_counter() - begun) / len(some))
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    return (
        f"{len(digests) / seconds:,.0f}/s; fastest {1 / fastest:,.0f}/s; {used / len(digests) * 1e6:.1f} us of CPU each"
    )


def memory(name: str) -> int:
    """Return one number of this process's status, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    return 0


def show_progress(text: str) -> None:
    """Tell a person who waits."""
    if sys.stderr.isatty():
        print(f"\r{text}", end="", file=sys.stderr, flush=True)


def main() -> None:
    """Make the segments, measure, and remove them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=float, default=20e6)
    parser.add_argument("--dir", type=Path, required=True, help="folder to be made, or kept from an earlier run")
    parser.add_argument("--looks", type=int, default=200_000)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    if not (given.dir / "index").is_dir():
        make_segments(given.dir / "index", int(given.entries))
    for name, value in measure(given.dir, given.looks):
        print(f"{name:36} {value}", flush=True)
    if not given.keep:
        shutil.rmtree(given.dir)


if __name__ == "__main__":
    main()
