"""Recovers twenty VMs in three groups to a second lab, by nothing but the repository, and keeps the report.

    python -m bench.recovery [--out FOLDER]

The second lab has other names for datastores and networks, and VMs of its own whose ids are those of the first lab's.
The first lab is gone before the recovery begins. ``recovery-report.html`` and ``recovery-report.json`` are written to
the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.measure import say
from bench.programs import machine
from bench.scale.fleet import PREFIX, make_fleet, vcenter_of
from demo.lab import Lab, LabAddress, LabControl
from vmkeep.cli.dr_report import report_document
from vmkeep.clock import now
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.complete_runs import run_backup
from vmkeep.flows.recovery import RecoveryTalk, RecoveryWishes, run_recovery
from vmkeep.flows.recovery_records import load_pictures
from vmkeep.model.site import Site
from vmkeep.model.wording import counted
from vmkeep.recovery import RecoveryReport, page, parse_plan
from vmkeep.repository import create_repository, open_repository
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.session import Session, open_session
from vmkeep.vsphere.tasks import run_task

VMS, AT_ONCE, DISK_MIB, DATA_MIB = 20, 4, 64, 8
PLAN = """\
name: site-a
description: Databases first, then the applications, and the web servers last.
target:
  folder: Recovered
  resource_pool: Recovery
  datastores: [datastore1=dr-fast, datastore2=dr-slow]
  networks: ["VM Network=DR Network"]
groups:
  - {name: databases, selection: "name:db-*", on_failure: stop_after_group, probes: {tcp: [PORT]}}
  - {name: applications, selection: "name:app-*"}
  - {name: web, selection: "name:web-*", probes: {http: ["http://{address}:PORT/health"]}}
"""
_GROUPS = (("db-", 4), ("app-", 6), ("web-", 10))
_SECONDS = 60.0


class _Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer as a guest that is well."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Recover, print the figures, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/examples"), metavar="FOLDER")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="vmkeep-recovery-", dir="/var/tmp"))
    try:
        repository = str(folder / "repository")
        create_repository(repository)
        with _lab(folder / "old") as old:
            back_up(old, repository)
        with _lab(folder / "new") as new, _guests(new) as port:
            report, seconds = recover(new, repository, port)
        write(report, repository, options.out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    good = sum(vm.succeeded for vm in report.vms)
    print(machine())
    print(f"{good} of {counted(len(report.vms), 'VM')} healthy after {seconds:.1f} s, planning included")
    for name in report.groups:
        print(f"{name}: RTO {report.rto(report.of(name)):.1f} s")
    sys.exit(good != VMS)


@contextmanager
def _lab(folder: Path) -> Iterator[LabAddress]:
    lab = Lab(folder, options=["--data-disk-gib", "0.0625"], env=os.environ)
    try:
        lab.start()
        yield lab.wait_ready()
    finally:
        lab.stop()


def back_up(address: LabAddress, repository: str) -> None:
    """Make the VMs of the site that is lost later, and back each up once."""
    say(f"making and backing up {counted(VMS, 'VM')}")
    make_fleet(address, VMS, disk_mib=DISK_MIB, data_mib=DATA_MIB)
    names = [f"{kind}{number:02}" for kind, count in _GROUPS for number in range(1, count + 1)]
    with open_session(vcenter_of(address)) as session, ThreadPoolExecutor(AT_ONCE) as threads:
        network = session.content.searchIndex.FindByInventoryPath("Lab/network/VM Network")
        for number, name in enumerate(names):
            vm = session.content.searchIndex.FindByInventoryPath(f"Lab/vm/Production/{PREFIX}{number:05}")
            spec = vim.vm.ConfigSpec(name=name, deviceChange=[_card(network)])
            _change(session, vm, spec)
        site = Site(repository=repository, vcenter=vcenter_of(address), vddk=address.vddk)

        def one(name: str) -> None:
            request = BackupRequest(vm_selector=f"name:{name}", run=f"bench-{name}")
            run_backup(site, request, bars=lambda _name: lambda _event: None, announce=lambda _line: None, verify=0.0)

        list(threads.map(one, names))


def _change(session: Session, vm: Any, spec: Any) -> None:
    run_task(session, lambda: vm.ReconfigVM_Task(spec), what=f"change {spec.name}", timeout=_SECONDS, look=lambda: None)


def _card(network: Any) -> Any:
    backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network", network=network)
    return vim.vm.device.VirtualDeviceSpec(
        operation="add", device=vim.vm.device.VirtualVmxnet3(key=-9, backing=backing)
    )


@contextmanager
def _guests(address: LabAddress) -> Iterator[int]:
    """Give the second lab its names, and let the guests of VMs that run start their services. Yield their port."""
    control, over = LabControl(address), threading.Event()
    for kind, name in (("datastore", "dr-fast"), ("datastore", "dr-slow"), ("network", "DR Network")):
        control.call("POST", "/inventory/add", {"kind": kind, "name": name})
    with open_session(vcenter_of(address)) as session:
        find = session.content.searchIndex.FindByInventoryPath
        find("Lab/vm").CreateFolder("Recovered")
        find("Lab/host/Cluster1").resourcePool.CreateResourcePool("Recovery", _usual_pool())

    def start() -> None:
        known: set[str] = set()
        while not over.wait(0.1):
            for vm in control.call("GET", "/state")["vms"]:
                if (
                    vm["moref"] not in known
                    and vm["power"] == "poweredOn"
                    and vm["name"].startswith(("db-", "app-", "web-"))
                ):
                    known.add(vm["moref"])
                    told = {"vm": vm["name"], "running": True, "address": "127.0.0.1"}
                    control.call("POST", "/guest/tools", told)

    with ThreadingHTTPServer(("127.0.0.1", 0), _Health) as server:
        threads = [threading.Thread(target=run) for run in (server.serve_forever, start)]
        for thread in threads:
            thread.start()
        try:
            yield server.server_address[1]
        finally:
            over.set()
            server.shutdown()
            for thread in threads:
                thread.join()


def _usual_pool() -> Any:
    def share() -> Any:
        return vim.ResourceAllocationInfo(
            reservation=0, expandableReservation=True, limit=-1, shares=vim.SharesInfo(shares=4000, level="normal")
        )

    return vim.ResourceConfigSpec(cpuAllocation=share(), memoryAllocation=share())


def recover(address: LabAddress, repository: str, port: int) -> tuple[RecoveryReport, float]:
    """Recover everything. Return the report, and the seconds of the whole call."""
    say("recovering")
    site = Site(repository=repository, vcenter=vcenter_of(address), vddk=address.vddk)
    plan = parse_plan(PLAN.replace("PORT", str(port)), path="site-a.yaml")
    talk = RecoveryTalk(
        bars=lambda _name: lambda _event: None,
        announce=say,
        tell=lambda vm, number: say(f"{number}: {vm.new_name}: {vm.state} {vm.error}"),
    )
    began = time.monotonic()
    report = run_recovery(site, RecoveryWishes(run="example", plan=plan, lost_at=now()), talk=talk)
    return report, time.monotonic() - began


def write(report: RecoveryReport, repository: str, folder: Path) -> None:
    """Write the report as a page and as data."""
    folder.mkdir(parents=True, exist_ok=True)
    with open_repository(repository) as opened:
        shown = page(report, load_pictures(opened, report))
    (folder / "recovery-report.html").write_text(shown, encoding="utf-8")
    data = json.dumps(report_document(report), indent=1, default=str)
    (folder / "recovery-report.json").write_text(f"{data}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
