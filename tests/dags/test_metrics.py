"""The numbers of a backup in Airflow's metrics: taken where they are on, and never a reason for a backup to fail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.observability import stats

from tests.unit.maintenance.conftest import described
from vmkeep.flows.backup_values import Sealed
from vmkeep.model.changedown import Changed, ChangeDown, ChangeReason
from vmkeep.model.fullreason import FullReason
from vmkeep.model.job import DiskCopy
from vmkeep.model.point import BackupKind
from vmkeep_airflow.metrics import send_backup

CHANGE = ChangeDown(what=Changed.QUIESCE, asked="file-system", used="none", reason=ChangeReason.NO_TOOLS)
SEALED = Sealed(
    point="vm/1", vm="web01", kind="incremental", consistency="crash", changes=(CHANGE,), disks_copied=2,
    disks_skipped=0, bytes_read=100, bytes_stored=40, full_reads={FullReason.NEW_DISK: 1}, bytes_audited=7,
)  # fmt: skip


class System:
    """A metrics system that keeps what it is sent, or is broken."""

    def __init__(self, broken: bool = False) -> None:
        self.sent: dict[str, Any] = {}
        self._broken = broken

    def incr(self, name, count=1, **tags):
        if self._broken:
            raise ValueError("no such name")
        self.sent[name] = (self.sent.get(name, (0,))[0] + count, tags["tags"]["policy"])

    def timing(self, name, length, **tags):
        self.sent.setdefault(name, []).append(length.total_seconds())


@pytest.fixture
def system():
    def use(broken=False):
        made = System(broken)
        stats.initialize(factory=lambda: made, export_legacy_names=False)
        return made

    yield use
    from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger

    stats.initialize(factory=NoStatsLogger, export_legacy_names=False)


def copy(transport: str, cpu_seconds: float | None = 0.5) -> DiskCopy:
    disk = described("00", "r", number=1, size=1 << 20).images[0].disk
    return DiskCopy(
        run="r", snapshot="s", disk=disk, root="00", kind=BackupKind.FULL, reason="", change_id=None, extents="00",
        extents_size=1, bytes_read=1, bytes_stored=1, seconds=2.5, transport=transport,
        cpu_seconds=cpu_seconds,
    )  # fmt: skip


def send(**options):
    copies = (copy("nbdssl"), copy("nbdssl", cpu_seconds=None))
    send_backup(SEALED, copies, lasted=timedelta(minutes=3), **{"policy": "nightly", **options})


def test_a_backup_is_counted_with_its_bytes_seconds_reasons_transports_and_changes(system):
    used = system()
    send()
    assert used.sent == {
        "vmkeep.backups": (1, "nightly"),
        "vmkeep.bytes_read": (100, "nightly"),
        "vmkeep.bytes_stored": (40, "nightly"),
        "vmkeep.bytes_audited": (7, "nightly"),
        "vmkeep.full_reads.new-disk": (1, "nightly"),
        "vmkeep.transports.nbdssl": (2, "nightly"),
        "vmkeep.changes.quiesce.no-tools": (1, "nightly"),
        "vmkeep.copy_seconds": [2.5, 2.5],
        "vmkeep.copy_cpu_seconds": [0.5],
        "vmkeep.backup_seconds": [180.0],
    }
    send(policy=None)
    assert used.sent["vmkeep.backups"] == (2, "none")


def test_no_metrics_system_fails_a_backup_and_none_is_needed(system):
    system(broken=True)
    send()
    stats.initialize(factory=type("Nothing", (), {"__getattr__": lambda *_: None}), export_legacy_names=False)
    send()
