"""Runs a command as a whole process and takes its figures; knows no contestant and no row."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

MIB = 1 << 20
GIB = 1 << 30
_LEFT_FREE = 2 * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A process, timed from its start to its exit."""

    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    output: Path | None = None
    """The disk image that it restores, for those that do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A command, measured once. CPU seconds are those of all its processes."""

    wall: float
    user: float
    system: float
    memory: int
    """Bytes: the largest resident set of any of its processes."""
    stored: int = 0
    """Bytes that the step added to what the contestant keeps."""

    @property
    def cpu(self) -> float:
        """User and system seconds."""
        return self.user + self.system

    def holding(self, stored: int) -> Figure:
        """Return this figure with the bytes that the step has added."""
        return replace(self, stored=max(stored, 0))


class Stopwatch:
    """Runs commands one after another and measures them."""

    def __init__(self, timed: Path) -> None:
        """Take the program that runs others; see timed.c."""
        self._timed = str(timed)

    def run(self, command: Command) -> Figure:
        """Run a command and wait for it; its standard output is dropped.

        :raises SystemExit: it failed; the message has what it said on standard error.
        """
        told, tell = os.pipe()
        with os.fdopen(told, encoding="ascii") as report:
            try:
                done = subprocess.run(
                    [self._timed, str(tell), *command.argv],
                    env=os.environ | command.environment, cwd=command.cwd, pass_fds=(tell,), check=False,
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                )  # fmt: skip
            finally:
                os.close(tell)
            if done.returncode:
                said = done.stderr.decode(errors="replace")
                raise SystemExit(f"{' '.join(command.argv)}: exit {done.returncode}\n{said}")
            wall, user, system, kib = report.read().split()
        return Figure(wall=float(wall), user=float(user), system=float(system), memory=int(kib) * 1024)


def touch_memory(size: int) -> None:
    """Write to that many bytes of memory and give them back, as far as they are free.

    A virtual machine may have given memory back to its hypervisor, and the next one who touches it pays several times
    the price: so we pay it, right before a command that writes.
    """
    size = min(size, available_memory() - _LEFT_FREE)
    if size <= 0:
        return
    with mmap.mmap(-1, size) as memory:
        page = bytes([1]) * (4 * MIB)
        for at in range(0, size - len(page), len(page)):
            memory[at : at + len(page)] = page


def available_memory() -> int:
    """Return how many bytes could be used without swapping."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def stored_bytes(places: Iterable[Path]) -> int:
    """Return the bytes of all files in some folders; of a file by itself those that it takes on disk."""
    total = 0
    for place in places:
        if place.is_file():
            total += place.stat().st_blocks * 512
        else:
            total += sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return total


def say(text: str) -> None:
    """Tell who waits what is going on."""
    print(text, file=sys.stderr, flush=True)
