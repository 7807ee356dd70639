"""The restore of a whole VM, from plan to hand-over, beside the engine alone, which writes the same disks to files.

A part of a restore costs the same whatever the data: plan, VM, and a process for each disk. The same VM shows that part
before its disk is filled. The rest grows with the data, and is what the two rates are about.
"""

from __future__ import annotations

import base64
import json
import shutil
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.disk import BenchDisk
from bench.measure import GIB, MIB, Command, Stopwatch, say, touch_memory
from bench.report import Finding, Row
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.complete_runs import run_backup
from vmkeep.model.site import Site, VCenter
from vmkeep.repository import create_repository
from vmkeep.vsphere.session import open_session
from vmkeep.vsphere.tasks import run_task
from vmlab.testing import Lab, start_lab

_DRIVER = Path(__file__).parents[1] / "drivers" / "restore_vm.py"
_NAME = "app01"
"""A VM of the lab with three disks. One of them has the size of the benchmark's disk, and gets its content."""
_DISK = 16000
_PIECE = 4 * MIB
_FILES, _VM, _FILES_EMPTY, _VM_EMPTY = "engine, to files", "whole VM", "engine, nearly empty", "whole VM, nearly empty"


@dataclass(frozen=True, slots=True)
class WholeVmRow:
    """Restores of a lab VM, nearly empty and filled, each in both ways."""

    stopwatch: Stopwatch
    disk: BenchDisk
    folder: Path

    def run(self, rounds: int) -> list[Row]:
        """Return the row."""
        row = Row(
            name="vm", title="Restore of a whole VM through flow and lab", size=self.disk.allocated,
            of="what of the disk is allocated", against=_FILES,
        )  # fmt: skip
        with start_lab(self.folder / "vm-lab", data_disk_gib=self.disk.capacity / GIB) as lab:
            empty = self._backed_up(lab, "empty")
            _fill(lab, self.disk.image)
            requests = [self._backed_up(lab, "filled"), empty]
            for number in range(rounds):
                say(f"whole VM, round {number + 1} of {rounds} …")
                for request, files, vm in zip(requests, (_FILES, _FILES_EMPTY), (_VM, _VM_EMPTY), strict=True):
                    steps = [(files, self._to_files), (vm, self._to_vm)]
                    for name, step in reversed(steps) if number % 2 else steps:
                        step(lab, row, name, request)
        shutil.rmtree(self.folder / "vm-lab")
        _judge(row)
        return [row]

    def _backed_up(self, lab: Lab, state: str) -> Path:
        repository = self.folder / f"vm-repository-{state}"
        create_repository(str(repository))
        vcenter = _vcenter(lab)
        site = Site(repository=str(repository), vddk=str(lab.vddk), vcenter=vcenter)
        request = BackupRequest(vm_selector=_NAME, run=f"bench-{state}")
        sealed, _ = run_backup(site, request, bars=lambda _: lambda _: None, announce=lambda _: None, verify=0)
        path = self.folder / f"vm-request-{state}.json"
        fields = {"repository": str(repository), "vddk": str(lab.vddk), "vcenter": asdict(vcenter)}
        path.write_text(json.dumps({**fields, "point": sealed.point}), encoding="utf-8")
        return path

    def _to_files(self, _lab: Lab, row: Row, name: str, request: Path) -> None:
        out = self.folder / "vm-files"
        out.mkdir()
        self._measure(row, name, [str(request), "files", str(out)])
        shutil.rmtree(out)

    def _to_vm(self, lab: Lab, row: Row, name: str, request: Path) -> None:
        made = f"restored-{sum(map(len, row.figures.values()))}"
        self._measure(row, name, [str(request), "vm", made])
        with open_session(_vcenter(lab)) as session:
            vm = session.vm(lab.vm(made)["moref"])
            run_task(session, vm.Destroy_Task, what=f"remove {made}", timeout=600, look=lambda: None)

    def _measure(self, row: Row, name: str, arguments: Sequence[str]) -> None:
        touch_memory(self.disk.allocated)
        figure = self.stopwatch.run(Command(argv=[sys.executable, str(_DRIVER), *arguments]))
        row.add(name, figure)
        say(f"  {name:18} {figure.wall:7.2f} s, {figure.cpu:7.2f} s CPU")


def _vcenter(lab: Lab) -> VCenter:
    return VCenter(host=lab.host, port=lab.port, user=lab.user, password=lab.password, thumbprint=lab.thumbprint)


def _fill(lab: Lab, image: Path) -> None:
    """Let the guest write the image's content."""
    for start, data in _pieces(image):
        text = base64.b64encode(data).decode("ascii")
        lab.write(_NAME, _DISK, [{"offset": start, "data_b64": text}])


def _pieces(image: Path) -> Iterator[tuple[int, bytes]]:
    with image.open("rb") as file:
        start = 0
        while data := file.read(_PIECE):
            if data.count(0) != len(data):
                yield start, data
            start += len(data)


def _judge(row: Row) -> None:
    """Compare the times of what grows with the data, round by round, and tell what does not grow."""
    names = (_FILES, _VM, _FILES_EMPTY, _VM_EMPTY)
    rounds = list(zip(*(row.figures[name] for name in names), strict=True))
    wall = [(files.wall - files_empty.wall) / (vm.wall - vm_empty.wall) for files, vm, files_empty, vm_empty in rounds]
    cpu = [(files.cpu - files_empty.cpu) / (vm.cpu - vm_empty.cpu) for files, vm, files_empty, vm_empty in rounds]
    fixed = statistics.median(figure.wall for figure in row.figures[_VM_EMPTY])
    whole = statistics.median(files.wall / vm.wall for files, vm, _, _ in rounds)
    row.notes.append(
        f"the VM takes {fixed:.2f} s whatever its data; with that part, it reaches {whole:.2f} of the engine's rate; "
        f"in CPU seconds, what grows with the data reaches {statistics.median(cpu):.2f} of it"
    )
    what = "restore of a whole VM: rate of what grows with the data, against the engine's to files"
    row.findings.append(Finding(what, "≥ 0.9", f"{statistics.median(wall):.2f}"))
