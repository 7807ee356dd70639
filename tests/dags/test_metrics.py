"""The numbers of a backup in Airflow's metrics: taken where they are on, and never a reason for a backup to fail."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.observability import stats

from tests.dags.test_window_runs import OPENS, planned
from tests.unit.maintenance.conftest import described
from vmkeep.flows.backup_values import Sealed
from vmkeep.flows.restore_values import Restored
from vmkeep.model.changedown import Changed, ChangeDown, ChangeReason
from vmkeep.model.fullreason import FullReason
from vmkeep.model.job import DiskCopy
from vmkeep.model.point import BackupKind
from vmkeep.model.transport import TransportMode
from vmkeep.model.vmref import VmRef
from vmkeep_airflow.metrics import send_backup, send_notice, send_overdue, send_restore, send_unproved, send_window
from vmkeep_airflow.notices import NoticeKind
from vmkeep_airflow.windowreports import report_of

DOCS = Path(__file__).parents[2] / "docs"
MANUAL = DOCS / "operations" / "alarms.md"
DASHBOARD = DOCS / "examples" / "grafana-dashboard.json"

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


@pytest.fixture
def collected(monkeypatch):
    """Return a function that gives the names and tags that Airflow's own logger of OpenTelemetry has recorded."""
    from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
    from airflow.sdk._shared.observability.metrics.otel_logger import SafeOtelLogger
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    stats.initialize(factory=lambda: SafeOtelLogger(provider), export_legacy_names=False)

    def names() -> dict[str, set[str]]:
        metrics = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
        return {one.name: {key for point in one.data.data_points for key in point.attributes} for one in metrics}

    yield names
    stats.initialize(factory=NoStatsLogger, export_legacy_names=False)
    provider.shutdown()


def send_everything() -> None:
    """Send each number that there is."""
    changes = tuple(
        ChangeDown(what=what, asked="a", used="b", reason=reason) for what in Changed for reason in ChangeReason
    )
    full = dict.fromkeys(FullReason, 1)
    sealed = replace(SEALED, changes=changes, disks_skipped=1, lies=1, full_reads=full)
    copies = [copy(mode) for mode in TransportMode]
    send_backup(sealed, copies, lasted=timedelta(minutes=3), policy="nightly")
    restored = Restored(
        run="r", vm=VmRef(moref="vm-1", name="web01"), point="p", created=True, powered_on=True, disks_written=1,
        bytes_written=1, bytes_zeroed=0,
    )  # fmt: skip
    send_restore(restored, lasted=timedelta(minutes=3))
    send_window("nightly", report_of(planned(1), (), at=OPENS))
    send_overdue("nightly", 0)
    send_unproved("plan site", 1)
    for kind in NoticeKind:
        send_notice(kind)


def test_every_number_passes_airflows_opentelemetry_by_a_name_that_the_manual_tells(collected):
    send_everything()

    sent = collected()
    told = re.findall(r"^\| (`vmkeep\..*?) \|[^|]*\| (.*?) ?\|", MANUAL.read_text(), re.MULTILINE)
    rows = {name: tag.strip("`") for cell, tag in told for name in re.findall(r"`([^`]+)`", cell)}
    patterns = {re.compile(re.sub(r"[A-Z]+$", r"[a-z-]+", re.escape(name))): tag for name, tag in rows.items()}
    for name, tags in sent.items():
        fits = [tag for pattern, tag in patterns.items() if pattern.fullmatch(name.removeprefix("airflow."))]
        assert fits == ["".join(tags)], name
    for pattern in patterns:
        assert any(pattern.fullmatch(name.removeprefix("airflow.")) for name in sent), pattern


def test_every_number_on_the_dashboard_is_one_that_is_sent(collected):
    send_everything()
    sent = {re.sub(r"[.-]", "_", name) for name in collected()}

    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    named = {name for expr in asked for name in re.findall(r"airflow_vmkeep_[a-z_]+(?:\.\+)?", expr)}

    assert len(named) > 20
    for name in named:
        bare = re.sub(r"_(sum|count)$", "", name)
        assert any(re.fullmatch(bare, one) for one in sent), name
    assert {panel["datasource"]["uid"] for panel in panels} == {"${source}"}
    assert all(panel["description"] for panel in panels)


def test_no_metrics_system_fails_a_backup_and_none_is_needed(system):
    system(broken=True)
    send()
    stats.initialize(factory=type("Nothing", (), {"__getattr__": lambda *_: None}), export_legacy_names=False)
    send()
