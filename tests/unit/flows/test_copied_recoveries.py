"""A second repository tells which VMs were proved restorable, and has the reports, when the first one is gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from vmkeep.catalog import open_catalog
from vmkeep.flows.pointcopy import copy_points
from vmkeep.flows.recovery_journal import Journal, RecoveryOrder
from vmkeep.flows.recovery_overview import load_recoveries, note_recoveries
from vmkeep.flows.recovery_proofs import load_proofs
from vmkeep.flows.recovery_records import list_reports
from vmkeep.model.proofs import VmProof
from vmkeep.recovery import RecoveryReport, VmOutcome
from vmkeep.repository import Repository, open_in
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import MemoryStore

NOW = datetime(2026, 11, 20, tzinfo=UTC)
PROOF = VmProof(vm_key="a", vm_name="web01", point="a/p", taken_at=NOW, at=NOW, run="r1", drill=True, probes=("power",))
VM = VmOutcome(group="web", vm_key="a", vm_name="web01", new_name="drill-web01", point="a/p", taken_at=NOW)
ORDER = RecoveryOrder(
    run="r1", plan="name: site\ngroups:\n  - {name: web, selection: name:web01}\n", path="site.yaml", drill=True,
    began=NOW, lost_at=NOW, vcenter="v", server="s", vms=(),
)  # fmt: skip
REPORT = RecoveryReport(
    run="r1", plan="site", description="", drill=True, began=NOW, ended=NOW, lost_at=NOW, vcenter="s", vms=(VM,)
)


def made() -> Repository:
    store = MemoryStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=1 << 16, compression="lz4"))
    return open_in(store)


@pytest.fixture
def pair() -> tuple[Repository, Repository]:
    return made(), made()


def test_a_copy_brings_the_reports_of_runs_that_have_ended_and_the_newest_proofs(pair, tmp_path):
    source, target = pair
    ended, at_work = Journal(source, "r1"), Journal(source, "r2")
    ended.begin(ORDER)
    ended.record(1, VM)
    ended.finish(REPORT)
    at_work.begin(replace(ORDER, run="r2"))
    ended.prove(PROOF)
    ended.prove(replace(PROOF, vm_key="b", at=NOW))
    Journal(target, "r0").prove(replace(PROOF, vm_key="b", at=NOW + timedelta(days=1)))

    copy_points(source, target, [], dry_run=True)
    assert list_reports(target) == ()
    copy_points(source, target, [])
    copy_points(source, target, [])

    assert list_reports(target) == (REPORT,)
    with open_catalog(url := f"sqlite:///{tmp_path}/catalog.db") as cache:
        note_recoveries(cache, target)
    ((noted,), _) = load_recoveries([url])
    assert (noted.run, noted.plan, noted.drill, noted.began) == (
        REPORT.run, REPORT.plan, REPORT.drill, REPORT.began.replace(microsecond=0),
    )  # fmt: skip
    assert Journal(target, "r1").order() == ORDER
    assert Journal(target, "r1").outcome(1) == VM
    assert {key: proof.at for key, proof in load_proofs(target).items()} == {"a": NOW, "b": NOW + timedelta(days=1)}


def test_a_proof_of_a_vm_that_was_never_started_is_none(pair):
    Journal(pair[0], "r1").prove(replace(PROOF, probes=()))  # as older programs wrote it

    assert load_proofs(pair[0]) == {}


def test_a_note_that_cannot_be_read_stays_behind_and_keeps_no_other(pair):
    source, target = pair
    for run in ("r1", "r3"):
        Journal(source, run).begin(replace(ORDER, run=run))
        Journal(source, run).finish(replace(REPORT, run=run))
    source.recoveries.store("r1", "report", b"nonsense")

    copy_points(source, target, [])

    assert target.recoveries.runs() == ["r3"]
