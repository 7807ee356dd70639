"""Disks read through the lab's VDDK library: with latency injected into every request, and several disks at once."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.contestant import remove
from bench.disk import BenchDisk, write_part
from bench.measure import MIB, Command, Figure, Stopwatch, say, stored_bytes, touch_memory
from bench.programs import VMKEEP
from bench.report import Finding, Row
from vmkeep.model.job import DiskJob
from vmlab.disks import DiskStore
from vmlab.nfc import DiskGrant, NfcServer, install_vddk

_DRIVER = Path(__file__).parents[1] / "drivers" / "copy_disks.py"
_LATENCIES = (0, 1, 5)
"""Milliseconds per request."""
_COUNTS = (1, 2, 4)
_SHARE = 8
"""A lab disk is the first eighth of the benchmark's disk: densely filled."""
_SHIFT = 4096
"""Each disk's content lies a page further on than the last one's, so that they have no block in common."""
_USER = {"host": "127.0.0.1", "user": "bench", "password": "bench", "thumbprint": ":".join(["AB"] * 20)}


class _Anybody:
    """Lets everybody open every disk."""

    thumbprint = _USER["thumbprint"]
    nfc_session_limit = max(_COUNTS)

    def log_in(self, **_login: Any) -> None:
        """Let them in."""

    def prepare_access(self, **_request: Any) -> None:
        """Hold nothing."""

    def end_access(self, **_request: Any) -> None:
        """Let go of nothing."""

    def open_disk(self, **request: Any) -> DiskGrant:
        """Grant it."""
        return DiskGrant(ds_path=request["path"], read_only=request["read_only"], host="esx1")


@dataclass(frozen=True, slots=True)
class _Lab:
    """The running service, and its disks."""

    nfc: NfcServer
    vddk: Path
    disks: Sequence[dict[str, Any]]
    data: int
    """Bytes that each disk has data for."""


@dataclass(frozen=True, slots=True)
class LabRows:
    """Full backups of lab disks."""

    stopwatch: Stopwatch
    disk: BenchDisk
    folder: Path

    def run(self, wanted: Sequence[str], rounds: int) -> list[Row]:
        """Return the rows ``latency`` and ``disks``, those that are wanted."""
        with _open_lab(self.folder / "lab", self.disk.image) as lab:
            rows = [row for row in (_latency_row(lab.data), _disks_row(lab.data)) if row.name in wanted]
            for number in range(rounds):
                say(f"lab, round {number + 1} of {rounds} …")
                for row in rows:
                    for milliseconds, count in _CASES[row.name]:
                        figure = self._copy(lab, milliseconds, count)
                        row.add(_name(milliseconds, count), figure)
                        say(f"  {row.name:12} {_name(milliseconds, count):18} {figure.wall:7.2f} s")
        for row in rows:
            row.sizes = {_name(milliseconds, count): count * lab.data for milliseconds, count in _CASES[row.name]}
            if row.name == "latency":
                _judge_latency(row, lab.data)
            else:
                _judge_disks(row)
        return rows

    def _copy(self, lab: _Lab, milliseconds: int, count: int) -> Figure:
        repository, request = self.folder / "lab-repository", self.folder / "lab-request.json"
        remove(repository)
        argv = [VMKEEP, "repo", "init", "--repository", str(repository)]
        subprocess.run(argv, check=True, capture_output=True)
        disks = lab.disks[:count]
        fields = {"repository": str(repository), "vddk": str(lab.vddk), "vcenter": _USER, "disks": disks}
        request.write_text(json.dumps(fields), encoding="utf-8")
        lab.nfc.set_latency(milliseconds / 1000)
        touch_memory(count * lab.data // 2)
        figure = self.stopwatch.run(Command(argv=[sys.executable, str(_DRIVER), str(request)]))
        stored = stored_bytes([repository])
        remove(repository)
        return replace(figure, stored=stored)


_CASES = {
    "latency": [(milliseconds, 1) for milliseconds in _LATENCIES],
    "disks": [(milliseconds, count) for milliseconds in (0, _LATENCIES[-1]) for count in _COUNTS],
}


def _name(milliseconds: int, count: int) -> str:
    return f"{milliseconds} ms, {count} disk{'s' if count > 1 else ''}"


def _latency_row(data: int) -> Row:
    title = "Backup through the lab's VDDK library, with latency injected into every request"
    return Row(name="latency", title=title, size=data, of="data of the disk", against=_name(0, 1))


def _disks_row(data: int) -> Row:
    title = "Several disks of one VM at once, each by its own process"
    return Row(name="disks", title=title, size=data, of="data of each disk", against=_name(0, 1))


def _judge_latency(row: Row, data: int) -> None:
    """Compare with the best that requests of that latency and depth allow, which is never better than without."""
    defaults = inspect.signature(DiskJob).parameters
    depth, piece = defaults["depth"].default, defaults["piece_size"].default
    free = row.best(_name(0, 1)).wall
    for milliseconds in _LATENCIES[1:]:
        waiting = data / piece * milliseconds / 1000 / depth
        seen = row.best(_name(milliseconds, 1)).wall
        row.notes.append(
            f"{milliseconds} ms: {depth} requests of {piece >> 20} MiB at once need {waiting:.2f} s, the copy without "
            f"latency {free:.2f} s; seen {seen:.2f} s"
        )
        what = f"{milliseconds} ms for each request of VDDK: speed against what latency and depth allow"
        row.findings.append(Finding(what, "≥ 0.9", f"{max(free, waiting) / seen:.2f}"))


def _judge_disks(row: Row) -> None:
    cores = os.cpu_count() or 1
    for name in row.figures:
        best = row.best(name)
        rate = row.sizes[name] / MIB / best.wall
        row.notes.append(f"{name}: {rate:,.0f} MiB/s together, {best.cpu / best.wall:.2f} of {cores} cores busy")


@contextmanager
def _open_lab(folder: Path, image: Path) -> Iterator[_Lab]:
    """Run the lab's service with disks made of the image, and remove them afterwards."""
    folder.mkdir()
    store = DiskStore(folder / "datastores")
    capacity = image.stat().st_size // _SHARE
    data = 0
    for number in range(max(_COUNTS)):
        raw = folder / "disk.raw"
        data = write_part(image, raw, capacity, shift=number * _SHIFT)
        store.create_from_raw(_path(number), raw)
        remove(raw)
    nfc = NfcServer(store, _Anybody())
    nfc.start()
    try:
        disks = [{"path": _path(number), "capacity": capacity} for number in range(max(_COUNTS))]
        yield _Lab(nfc, install_vddk(folder / "vddk", nfc.port), disks, data)
    finally:
        nfc.stop()
        shutil.rmtree(folder)


def _path(number: int) -> str:
    return f"[bench] vm/disk{number}.vmdk"
