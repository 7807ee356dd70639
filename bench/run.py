"""Compares vmkeep with a C program that only does what has to be done, and with restic and borg, in one run.

    python bench/run.py [--size MIB] [--rounds N] [--folder DIR]

Every round runs every step of every contestant, interleaved, as whole processes; the table gives the median of the
wall time (and the smallest), CPU seconds and peak memory. Put the folder on a tmpfs to leave the disk out of it.
A number from a busy machine is worth little; the ratio to the limit of the same round is worth more.
"""

from __future__ import annotations

import argparse
import ctypes.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from contestants import Borg, Limit, Restic, Step, Vmkeep
from disk import make_disk

MIB = 1 << 20


@dataclass(frozen=True)
class Figure:
    """One step, measured once."""

    wall: float
    cpu: float
    memory: int


def main() -> int:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=3072, help="MiB of the disk; about 40 %% of it is allocated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))  # noqa: S108
    parser.add_argument("--json", action="store_true", help="print all figures as JSON instead of the table")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vmkeep-bench-", dir=options.folder))
    try:
        print(f"making a disk of {options.size} MiB …", file=sys.stderr)
        disk = make_disk(folder, size_mib=options.size)
        contestants = _contestants(folder)
        figures: dict[tuple[str, str], list[Figure]] = defaultdict(list)
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds} …", file=sys.stderr)
            _round(contestants, disk, figures)
        stored = {contestant.name: _size(contestant.repository) for contestant in contestants}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps({"|".join(key): [vars(f) for f in values] for key, values in figures.items()}))
    else:
        _print(figures, stored, allocated=disk.allocated)
    return 0


def _contestants(folder: Path) -> list[Limit | Vmkeep | Restic | Borg]:
    found: list[Limit | Vmkeep | Restic | Borg] = []
    if (program := _build_limit(folder)) is not None:
        found.append(Limit(folder, program))
    found.append(Vmkeep(folder))
    for command, kind in (("restic", Restic), ("borg", Borg)):
        if shutil.which(command):
            found.append(kind(folder))
        else:
            print(f"{command} is not installed (apt-get install restic borgbackup); left out", file=sys.stderr)
    return found


def _build_limit(folder: Path) -> Path | None:
    """Build the C program with the BLAKE3 that libLLVM carries, for Debian 12 has no library package of it."""
    llvm = next((name for n in (19, 18, 17, 16, 15) if (name := ctypes.util.find_library(f"LLVM-{n}"))), None)
    zstd = ctypes.util.find_library("zstd")
    if llvm is None or zstd is None or shutil.which("cc") is None:
        print("the limit needs cc, libzstd and libLLVM (apt-get install gcc libllvm16); left out", file=sys.stderr)
        return None
    program = folder / "limit-program"
    source = Path(__file__).with_name("limit.c")
    subprocess.run(
        ["cc", "-O3", "-march=native", "-o", program, source, f"-l:{zstd}", f"-l:{llvm}", "-lpthread"],
        check=True,
    )
    return program


def _round(contestants: list, disk, figures: dict[tuple[str, str], list[Figure]]) -> None:
    plans = []
    for contestant in contestants:
        contestant.prepare()
        plans.append((contestant.name, contestant.steps(disk)))
    for number in range(max(len(steps) for _, steps in plans)):
        for name, steps in plans:
            if number < len(steps):
                figures[name, steps[number].name].append(_measure(steps[number]))


def _measure(step: Step) -> Figure:
    started = time.perf_counter()
    child = subprocess.Popen(
        step.command, env=os.environ | step.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert child.stderr is not None
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    child.stderr.close()
    if child.returncode:
        raise SystemExit(f"{' '.join(step.command)}: exit {child.returncode}\n{errors.decode(errors='replace')}")
    return Figure(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _print(figures: dict[tuple[str, str], list[Figure]], stored: dict[str, int], *, allocated: int) -> None:
    load = os.getloadavg()[0]
    print(f"{allocated / MIB:.0f} MiB allocated; {os.cpu_count()} cores, load {load:.1f}, {platform.release()}")
    print(f"{'':12} {'step':12} {'median s':>9} {'min s':>7} {'CPU s':>7} {'MiB':>5} {'to ours':>8}")
    for (name, step), values in sorted(figures.items(), key=lambda item: (_ORDER.index(item[0][1]), item[0][0])):
        wall = statistics.median(value.wall for value in values)
        ours = statistics.median(value.wall for value in figures["vmkeep", step])
        print(
            f"{name:12} {step:12} {wall:9.2f} {min(value.wall for value in values):7.2f} "
            f"{statistics.median(value.cpu for value in values):7.2f} "
            f"{max(value.memory for value in values) / MIB:5.0f} {wall / ours:8.2f}"
        )
    for name, size in stored.items():
        print(f"{name}: {size / MIB:.0f} MiB stored at the end")


_ORDER = ("full", "clone", "incremental", "restore", "verify all")

if __name__ == "__main__":
    raise SystemExit(main())
