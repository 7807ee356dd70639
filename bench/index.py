"""The index of a very large repository: how long it takes to open, how much memory, how many look-ups a second.

``python -m bench.index --entries 400e6 --dir /somewhere`` makes segments as ``vmkeep repo merge`` leaves them, of
random digests, and looks some up in the index that every command uses. 400 million entries are 100 TiB of 256 KiB
blocks and take 18.5 GB of the folder; it is removed again, also after an interruption, unless ``--keep`` is given.

Before the index is opened its files are put out of the page cache, and every row says how much of the filters and of
all else was in it afterwards. Rates are given of all look-ups, and of the fastest hundredth of them, which says what
they take while nothing else runs on the machine. A row takes at most ten seconds.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from vmkeep.blobs import LocalStore
from vmkeep.repository.frames import HEADER_SIZE, Cipher, Codec, FrameHeader, Framer, Kind
from vmkeep.repository.index import HEADER, Index
from vmkeep.repository.index.columns import Columns, encode_parts

PART = 4_000_000
"""Entries of a segment, as a merge makes them."""
FEWEST = 1_000_000
"""Entries of a segment that is large enough to be mapped. A smaller one is verified, and its digest is made up."""
PER_PACK = 256
"""Blocks of 256 KiB in a pack."""
SAMPLE = 400_000
"""Digests that are kept to be looked up."""
SAMPLED = "sample"
SECONDS = 10.0
"""After which a row is done, whatever was looked up."""
STEPS = 100
"""Parts of a row of which the fastest is told."""


def make_segments(folder: Path, entries: int) -> None:
    """Write segments with ranges of their own, one after the other, and beside them a sample of their digests."""
    chance = np.random.default_rng(1)
    parts = -(-entries // PART)
    count = entries // parts
    used, rows = np.unique(chance.integers(0, max(1, entries // PER_PACK), count, np.uint32), return_inverse=True)
    alike = Columns(  # segments may be alike but for where their range begins: that takes less time
        prefixes=np.sort(chance.integers(0, (1 << 64) // parts, count, np.uint64)),
        rests=chance.integers(0, 1 << 63, (count, 3), np.uint64).view(np.uint8),
        packs=rows.astype(np.uint32),
        offsets=chance.integers(32, 60 << 20, count, np.uint32),
        lengths=np.full(count, 1 << 17, np.uint32),
        pack_ids=chance.integers(0, 256, (len(used), 16), np.uint8),
        kinds=np.full(len(used), Kind.BLOCK, np.uint32),
    )
    rest = b"".join(islice(encode_parts([alike]), 3, None))
    folder.mkdir(parents=True)
    sample = np.zeros(count, np.bool_)
    sample[chance.integers(0, count, -(-SAMPLE // parts))] = True
    digests = []
    with ThreadPoolExecutor(1) as disk:
        for part in range(parts):
            columns = replace(alike, prefixes=alike.prefixes + np.uint64((part << 64) // parts))
            content = [*islice(encode_parts([columns]), 3), rest]
            length = sum(map(len, content))
            header = FrameHeader(
                kind=Kind.INDEX, codec=Codec.NONE, cipher=Cipher.NONE,
                raw_length=length, stored_length=length, digest=bytes(32),
            )  # fmt: skip
            path = folder / secrets.token_hex(16)
            with path.open("wb") as file:
                file.writelines([header.encode(), *content])
            disk.submit(put_out_of_cache, path)
            digests.append(columns.where(sample).digests())
            show_progress(f"segment {part + 1} of {parts}")
    sampled = np.concatenate(digests)
    (folder.parent / SAMPLED).write_bytes(chance.permutation(sampled).tobytes())


def put_out_of_cache(path: Path) -> None:
    """Write a file to the disk, and forget what is in memory of it as far as nobody uses it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached(folder: Path) -> tuple[int, int, int, int]:
    """Return how many pages of all segments' filters, and of all else, are in the page cache, and of how many."""
    mincore = ctypes.CDLL(None, use_errno=True).mincore
    mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    counts = np.zeros(4, np.int64)
    for path in folder.iterdir():
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping:
            _, _, words, _, _ = HEADER.unpack_from(mapping, HEADER_SIZE)
            end = (HEADER_SIZE + HEADER.size + 8 * words) // mmap.PAGESIZE + 1
            pages = np.zeros(-(-len(mapping) // mmap.PAGESIZE), np.uint8)
            view = np.frombuffer(mapping, np.uint8)
            if mincore(view.ctypes.data, len(mapping), pages.ctypes.data):
                raise OSError(ctypes.get_errno(), "mincore")
            del view
            there = (pages & 1).astype(np.int64)
            counts += (there[:end].sum(), there[end:].sum(), end, len(pages) - end)
    filters, rest, of_filters, of_rest = counts.tolist()
    return filters, rest, of_filters, of_rest


def sample_of(folder: Path) -> list[bytes]:
    """Return some of the digests that are in the index, in no order."""
    data = (folder.parent / SAMPLED).read_bytes()
    return [data[at : at + 32] for at in range(0, len(data), 32)]


def opened(folder: Path) -> Index:
    """Return the index in a folder."""
    index = Index(LocalStore(folder.parent), Framer(codec=Codec.ZSTD))
    index.refresh()
    return index


def measure(folder: Path, looks: int) -> Iterator[tuple[str, str]]:
    """Yield what was measured, row by row."""
    there = sample_of(folder)
    for path in folder.iterdir():
        put_out_of_cache(path)
    chance = random.Random(2)  # noqa: S311
    absent = [chance.randbytes(32) for _ in range(3 * looks)]
    mixed = there[:looks:5] + absent[: looks * 4 // 5]
    chance.shuffle(mixed)
    before = memory("VmRSS")
    start = time.perf_counter()
    index = opened(folder)
    yield "open", f"{time.perf_counter() - start:10.3f} s; {index.entries:,} entries, {len(index.segments)} segments"
    for name, look, digests in (
        ("known: new data, nothing cached", index.known, absent[:looks]),
        ("known: new data", index.known, absent[looks : 2 * looks]),
        ("find: new data", index.find, absent[2 * looks :]),
        ("known: a writer's mix, 20 % are", index.known, mixed),
        ("known: the same again", index.known, mixed),
        ("find: all are, first time", index.find, there[looks : looks + looks // 10]),
        ("find: the same again", index.find, there[looks : looks + looks // 10]),
    ):
        yield name, f"{rate(look, digests)}{state(folder)}"
    for batch in (1000, 20_000):
        some = there[: looks // 4]
        batches = [some[at : at + batch] for at in range(0, len(some), batch)]
        yield f"find_many: {batch:,} at a time", f"{rate_of_many(index, batches)}{state(folder)}"
    yield "memory: highest", f"{memory('VmHWM') >> 20:10,} MiB, of which {before >> 20} MiB before the index was opened"


def rate(look: Callable[[bytes], object], digests: Sequence[bytes]) -> str:
    """Return look-ups per second, of all and of the fastest hundredth, and what one takes of a CPU."""
    step = max(1, len(digests) // STEPS)
    fastest, start, cpu = float("inf"), time.perf_counter(), time.process_time()
    done = 0
    while done < len(digests) and time.perf_counter() - start < SECONDS:
        some = digests[done : done + step]
        begun = time.perf_counter()
        for digest in some:
            look(digest)
        fastest = min(fastest, (time.perf_counter() - begun) / len(some))
        done += len(some)
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    return f"{done / seconds:10,.0f} {1 / fastest:10,.0f} {used / done * 1e6:8.1f}"


def rate_of_many(index: Index, batches: Sequence[Sequence[bytes]]) -> str:
    """Return the same for look-ups by batches."""
    fastest, start, cpu = float("inf"), time.perf_counter(), time.process_time()
    done = 0
    for batch in batches:
        if time.perf_counter() - start > SECONDS:
            break
        begun = time.perf_counter()
        if None in index.find_many(batch):
            raise AssertionError("a digest that is in the index was not found")
        fastest = min(fastest, (time.perf_counter() - begun) / len(batch))
        done += len(batch)
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    return f"{done / seconds:10,.0f} {1 / fastest:10,.0f} {used / done * 1e6:8.1f}"


def state(folder: Path) -> str:
    """Return what is in the page cache, and this process's memory."""
    filters, rest, of_filters, of_rest = cached(folder)
    return f"{filters / of_filters:10.0%} {rest / of_rest:8.0%} {memory('VmRSS') >> 20:8,}"


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


def report(folder: Path, looks: int) -> None:
    """Print the table."""
    load, available = os.getloadavg()[0], os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{os.cpu_count()} CPUs, load {load:.1f}; index {size / 1e9:.1f} GB, memory free {available / 1e9:.1f} GB")
    print(f"{'':34}{'a second':>10} {'fastest':>10} {'CPU us':>8}{'filters':>10} {'the rest':>8} {'RSS MiB':>8}")
    for name, value in measure(folder, looks):
        print(f"{name:34}{value}", flush=True)


def main() -> None:
    """Make the segments, measure, and remove them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--entries",
        type=float,
        default=20e6,
        help="46 bytes each on the disk; 20e6 by default, which is 5 TiB of blocks",
    )
    parser.add_argument(
        "--dir", type=Path, default=Path(tempfile.gettempdir(), "vmkeep-index"),
        help="folder to be made, or kept from an earlier run (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--looks", type=int, default=200_000, help="look-ups of each row")
    parser.add_argument("--keep", action="store_true", help="leave the folder for the next run")
    given = parser.parse_args()
    if given.entries < FEWEST:
        parser.error(f"--entries: {FEWEST:,} at least, because smaller segments are verified when they are opened")
    folder = given.dir / "index"
    try:
        start = time.perf_counter()
        if not (given.dir / SAMPLED).is_file():
            making = get_context("spawn").Process(target=make_segments, args=(folder, int(given.entries)))
            making.start()  # elsewhere, for what it takes of memory is not the index's
            try:
                making.join()
            finally:
                making.terminate()
                making.join()
            if making.exitcode:
                sys.exit(f"{given.dir}: the segments could not be made")
            show_progress("\n")
            print(f"made in {time.perf_counter() - start:.0f} s")
        report(folder, min(given.looks, SAMPLE // 2))
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # what else is there is not ours
                (given.dir / SAMPLED).unlink(missing_ok=True)
                given.dir.rmdir()


if __name__ == "__main__":
    main()
