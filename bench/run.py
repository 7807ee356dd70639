"""Compares vmkeep with what its algorithms cost at least, and with its peers from Debian's packages, in one run.

    python -m bench.run [--size MIB] [--rounds N] [--rows ROW,ROW] [--quick] [--json FILE] [--folder DIR]

Whole processes, from start to exit; every round runs all contestants, interleaved. Smallest and median times, CPU
seconds of all processes, the largest resident set. The folder should lie on a tmpfs, which leaves the disk out of it.
A number from a busy machine is worth little; the ratio to another contestant of the same round is worth more.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.contestant import STEPS, Contestant
from bench.disk import make_disk, write_part
from bench.goals import goals
from bench.measure import GIB, Stopwatch, available_memory, say
from bench.ours import Limit, Vmkeep
from bench.peer_programs import Borg, Cp, QemuImg, Restic
from bench.programs import build_limits, build_timed, has, machine, versions
from bench.report import Row, markdown, plain
from bench.rows.boot import BootRow
from bench.rows.contents import ContentRows
from bench.rows.exports import ExportRow
from bench.rows.files import FilesRow
from bench.rows.generations import Generations
from bench.rows.guests import GuestRow
from bench.rows.lab import LabRows
from bench.rows.metadata import MetadataRow
from bench.rows.profile import ProfileRow
from bench.rows.storage import StorageRows
from bench.rows.views import ViewRow
from bench.rows.wholevm import WholeVmRow

LAB = ("latency", "disks")
STORAGE = ("s3 put", "s3 get")
ROWS = (*STEPS, "exports", "metadata", "view", "guest", "boot", "files", *LAB, "vm", *STORAGE, "profile")
_QUICK_MIB = 1024
_LARGER = 128
"""The simulated disk of the row about metadata has this many times the size: 1 TiB for 8 GiB."""
_PART = 8
"""S3 gets the first eighth of the disk, densely filled: its server keeps what is deleted."""
_PROGRAMS = 2 * GIB
"""Memory of the programs beside the tmpfs: the benchmark keeps each changed byte, and restic takes most of a GiB."""


def main() -> int:
    """Run the benchmark and print its tables."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder is removed, which is memory
    folder = Path(tempfile.mkdtemp(prefix="vmkeep-bench-", dir=options.folder))
    try:
        load = os.getloadavg()[0]
        stopwatch = Stopwatch(build_timed(folder))
        rows = (
            ContentRows(stopwatch, _contestants(folder), options.images).run(options.rounds) if options.images else []
        )
        rows += _run(folder, stopwatch, options) if options.rows else []
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    about = {"machine": machine(), "load before": f"{load:.1f}", **versions()}
    print("\n".join([*(f"- {name}: {value}" for name, value in about.items()), "", *markdown(rows), *goals(rows)]))
    if options.json:
        options.json.write_text(json.dumps({"about": about, "rows": plain(rows)}, indent=1), encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=3072, help="MiB of the disk; about 40 %% of it is allocated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"which of {','.join(ROWS)}; all by default")
    parser.add_argument("--quick", action="store_true", help=f"one round of {_QUICK_MIB} MiB")
    parser.add_argument(
        "--images", type=lambda text: [Path(each) for each in text.split(",")], default=[], metavar="FILE,FILE",
        help="raw images of your own, each imported in full by all contestants, beside the rows",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single figure there, too")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))  # noqa: S108
    options = parser.parse_args()
    if options.quick:
        options.size, options.rounds = _QUICK_MIB, 1
    options.rows = [row for row in options.rows.split(",") if row]
    if missing := [str(image) for image in options.images if not image.is_file()]:
        parser.error(f"--images: no such file: {', '.join(missing)}")
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    return options


def _run(folder: Path, stopwatch: Stopwatch, options: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    say(f"making a disk of {options.size} MiB …")
    disk = make_disk(folder, size_mib=options.size)
    if wanted := [step for step in STEPS if step in options.rows]:
        _check_room(folder, 13 * disk.allocated // 2 + _PROGRAMS)
        rows += Generations(stopwatch, disk, _contestants(folder), wanted).run(options.rounds)
    if "exports" in options.rows:
        disk.become("full")
        rows += ExportRow(stopwatch, disk, folder).run(options.rounds)
    if "metadata" in options.rows:
        rows += MetadataRow(stopwatch, folder, _LARGER * disk.capacity).run()
    if "view" in options.rows:
        disk.become("full")
        rows += ViewRow(stopwatch, disk, folder).run(options.rounds)
    if "guest" in options.rows:
        rows += GuestRow(stopwatch, folder).run(options.rounds)
    if "boot" in options.rows:
        rows += BootRow(stopwatch, folder).run(options.rounds)
    if "files" in options.rows:
        rows += FilesRow(stopwatch, folder).run(options.rounds)
    if wanted := [name for name in LAB if name in options.rows]:
        disk.become("full")
        rows += LabRows(stopwatch, disk, folder).run(wanted, options.rounds)
    if "vm" in options.rows:
        disk.become("full")
        rows += WholeVmRow(stopwatch, disk, folder).run(options.rounds)
    if wanted := [name for name in STORAGE if name in options.rows]:
        disk.become("full")
        part = folder / "part.raw"
        write_part(disk.image, part, disk.capacity // _PART)
        rows += StorageRows(stopwatch, part, folder).run(wanted, options.rounds)
    if "profile" in options.rows:
        disk.become("full")
        rows += ProfileRow(stopwatch, disk, folder).run(options.rounds)
    return rows


def _contestants(folder: Path) -> Sequence[Contestant]:
    found: list[Contestant] = [
        Vmkeep(folder),
        Vmkeep(folder, encrypted=True, steps=("full", "incremental", "restore", "verify")),
        Vmkeep(folder, compression="lz4", steps=("full",)),
        Vmkeep(folder, compression="none", steps=("full",)),
    ]
    if limits := build_limits(folder):
        found.append(Limit(folder, limits))
    if has("restic"):
        found.append(Restic(folder))
    if has("borg"):
        found += [Borg(folder, block=4 << 20), Borg(folder, block=256 << 10, steps=("full",))]
    if has("qemu-img"):
        found.append(QemuImg(folder))
    return [*found, Cp(folder)]


def _check_room(folder: Path, needed: int) -> None:
    """Refuse to begin what would not fit: a full tmpfs takes the machine's memory with it."""
    free = min(shutil.disk_usage(folder).free, available_memory())
    if free < needed:
        need, have = f"{needed / GIB:.1f} GiB", f"{free / GIB:.1f} GiB"
        sys.exit(f"{folder}: about {need} are needed and {have} are free; see --size and --folder")


if __name__ == "__main__":
    raise SystemExit(main())
