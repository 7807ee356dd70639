"""The CPU seconds of a full backup and of a restore, primitive by primitive, and the rest.

Each primitive is called by as many threads as there are cores, on real blocks of the disk, with the calls that the
engine makes, and the CPU seconds of these threads are counted: a core's two halves share its units, so one thread by
itself would look cheaper than it is. What is left of the whole process after start-up and primitives is Python itself,
locks, queues, and memory touched for the first time.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import lz4.block
import xxhash
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.contestant import BLOCK, remove
from bench.disk import BenchDisk
from bench.measure import GIB, MIB, Command, Figure, Stopwatch, say, touch_memory
from bench.programs import VMKEEP
from bench.report import Row

_SAMPLE = 256 * MIB
_TRIES = 3
_ZEROES = bytes(BLOCK)
_PACK = 64 * MIB

Work = Callable[[Sequence[memoryview], int], None]
"""Takes blocks, and the number of the thread that works on them."""


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """A full backup and a restore, taken apart."""

    stopwatch: Stopwatch
    disk: BenchDisk
    folder: Path

    def run(self, rounds: int) -> list[Row]:
        """Return the row ``profile``."""
        say("profile …")
        blocks = _sample(self.disk.image)
        packed = _compressed(blocks)
        data = _data_bytes(self.disk.image) / GIB
        row = Row(name="profile", title="Where the CPU seconds go", size=self.disk.allocated, of="allocated data")
        full, restore, start = zip(*(tuple(self._round()) for _ in range(rounds)), strict=True)
        costs = dict(_costs(blocks, packed, self.folder))
        idle = min(figure.cpu for figure in start)
        for title, figures, names in (("Full backup", full, _FULL), ("Restore", restore, _RESTORE)):
            cpu = min(figure.cpu for figure in figures)
            wall = min(figure.wall for figure in figures)
            row.lines += _share(title, data, cpu, wall, idle, {name: costs[name] for name in names})
        others = ", ".join(f"{name} {costs[name]:.2f}" for name in costs if name not in {*_FULL, *_RESTORE})
        row.notes.append(f"in CPU s/GiB, for comparison: {others}")
        return [row]

    def _round(self) -> Iterator[Figure]:
        repository, out = self.folder / "profile", self.folder / "profile.raw"
        where = ["--repository", str(repository), "--json"]
        subprocess.run([VMKEEP, "repo", "init", *where], check=True, capture_output=True)
        touch_memory(self.disk.allocated)
        take = ["image", "import", *where, str(self.disk.image), "--name", "disk"]
        yield self.stopwatch.run(Command(argv=[VMKEEP, *take]))
        touch_memory(self.disk.allocated)
        yield self.stopwatch.run(Command(argv=[VMKEEP, "image", "export", *where, "latest:disk", str(out)]))
        yield self.stopwatch.run(Command(argv=[VMKEEP, "repo", "stats", *where]))
        remove(repository, out)


_FULL = ("read", "zero test", "BLAKE3", "zstd 1", "copy into a pack", "XXH3 of the pack", "write packs")
_RESTORE = ("read packs", "zstd decompress", "BLAKE3", "write the disk")


def _share(
    title: str, data: float, cpu: float, wall: float, idle: float, costs: dict[str, float]
) -> Iterator[str]:  # fmt: skip
    yield f"| {title}: {data:.2f} GiB of data, {wall:.2f} s, {cpu:.2f} CPU s | s/GiB | CPU s | of all |"
    yield "|---|---:|---:|---:|"
    yield f"| start-up (`repo stats`) | | {idle:.2f} | {idle / cpu:.0%} |"
    for name, cost in costs.items():
        yield f"| {name} | {cost:.3f} | {cost * data:.2f} | {cost * data / cpu:.0%} |"
    rest = cpu - idle - sum(costs.values()) * data
    yield f"| the rest: Python, locks, first touches | {rest / data:.3f} | {rest:.2f} | {rest / cpu:.0%} |"
    yield ""


def _data_bytes(image: Path) -> int:
    return sum(len(block) for block in _blocks(image))


def _blocks(image: Path) -> Iterator[memoryview]:
    """Yield the blocks of an image that are not zeros."""
    with image.open("rb") as file:
        at, size = 0, image.stat().st_size
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA) // BLOCK * BLOCK
            except OSError:
                return
            raw = os.pread(file.fileno(), BLOCK, at)
            at += BLOCK
            if not _ZEROES.startswith(raw):
                yield memoryview(raw)


def _sample(image: Path) -> list[memoryview]:
    """Return blocks from all over the image."""
    found = list(_blocks(image))
    return found[:: max(1, len(found) * BLOCK // _SAMPLE)]


def _compressed(blocks: list[memoryview]) -> list[memoryview]:
    compressor = zstandard.ZstdCompressor(level=1)
    return [memoryview(compressor.compress(block)) for block in blocks]


def _costs(blocks: list[memoryview], packed: list[memoryview], folder: Path) -> Iterator[tuple[str, float]]:
    """Yield what each primitive takes, in CPU seconds per GiB of the disk's data."""
    data = sum(map(len, blocks))
    plain, small = folder / "plain", folder / "packed"
    plain.write_bytes(b"".join(blocks))
    small.write_bytes(b"".join(packed))
    todo: dict[str, tuple[Sequence[memoryview], Work]] = {
        "read": (blocks, _reading(plain, MIB)),
        "zero test": (blocks, lambda part, _: _each(part, _ZEROES.startswith)),
        "BLAKE3": (blocks, lambda part, _: _each(part, lambda block: blake3(block).digest())),
        "zstd 1": (blocks, lambda part, _: _each(part, zstandard.ZstdCompressor(level=1).compress)),
        "copy into a pack": (packed, _copying()),
        "XXH3 of the pack": (packed, lambda part, _: _each(part, lambda block: xxhash.xxh3_64(block).digest())),
        "write packs": (packed, _writing(folder, _PACK)),
        "read packs": (packed, _reading(small, 4 * MIB)),
        "zstd decompress": (packed, _decompressing),
        "write the disk": (blocks, _writing(folder, BLOCK)),
        "lz4": (blocks, lambda part, _: _each(part, lambda block: lz4.block.compress(block, store_size=False))),
        "AES-256-GCM": (packed, _encrypting),
    }
    for name, (parts, work) in todo.items():
        yield name, min(_cpu_seconds(parts, work) for _ in range(_TRIES)) / (data / GIB)
    remove(plain, small)


def _each(part: Sequence[memoryview], function: Callable[[memoryview], object]) -> None:
    for block in part:
        function(block)


def _cpu_seconds(parts: Sequence[memoryview], work: Work) -> float:
    """Share the blocks between as many threads as there are cores; return the CPU seconds that these took."""
    cores = os.cpu_count() or 1
    seconds = [0.0] * cores
    ready = threading.Barrier(cores)

    def run(number: int) -> None:
        mine = parts[number::cores]
        ready.wait()
        started = time.thread_time()
        work(mine, number)
        seconds[number] = time.thread_time() - started

    threads = [threading.Thread(target=run, args=(number,)) for number in range(cores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(seconds)


def _reading(path: Path, piece: int) -> Work:
    def work(part: Sequence[memoryview], number: int) -> None:
        total = sum(map(len, part))
        buffer = memoryview(mmap.mmap(-1, piece))
        with path.open("rb") as file:
            for at in range(number * total, (number + 1) * total, piece):
                os.preadv(file.fileno(), [buffer[: (number + 1) * total - at]], at)

    return work


def _writing(folder: Path, piece: int) -> Work:
    def work(part: Sequence[memoryview], number: int) -> None:
        total = sum(map(len, part))
        content = memoryview(bytes(part[0]).ljust(piece, b"x"))
        path = folder / f"written-{number}"
        with path.open("wb") as file:
            for at in range(0, total, piece):
                os.pwrite(file.fileno(), content[: total - at], at)
        path.unlink()

    return work


def _copying() -> Work:
    """Copy into buffers that were used before, as all but the first packs of a copy are."""
    buffers = [memoryview(bytearray(b"x") * _PACK) for _ in range(os.cpu_count() or 1)]

    def work(part: Sequence[memoryview], number: int) -> None:
        buffer, at = buffers[number], 0
        for block in part:
            if at + len(block) > len(buffer):
                at = 0
            buffer[at : at + len(block)] = block
            at += len(block)

    return work


def _decompressing(part: Sequence[memoryview], _number: int) -> None:
    decompressor, out = zstandard.ZstdDecompressor(), memoryview(bytearray(BLOCK))
    for block in part:
        with decompressor.stream_reader(block) as reader:
            reader.readinto(out)


def _encrypting(part: Sequence[memoryview], _number: int) -> None:
    cipher, out = AESGCM(bytes(32)), memoryview(bytearray(2 * BLOCK))
    for block in part:
        cipher.encrypt_into(os.urandom(12), block, b"header", out[: len(block) + 16])
