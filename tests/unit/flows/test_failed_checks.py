"""A point that failed a check is no good one: not for the age of its VM, not in reports, not in alarms."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.flows.proved_points import new_repository, prove, seal
from tests.unit.maintenance.counted import CountedStore
from vmkeep.clock import now
from vmkeep.flows.failed_checks import ListedProofs, failed_checks
from vmkeep.flows.fleet_notes import noted_proofs
from vmkeep.flows.point_doubts import about_doubts
from vmkeep.flows.pointlist import good_origins, list_origins
from vmkeep.flows.reports import audit_report, document_of, gather
from vmkeep.model.proofs import PICTURE, PointProof, ProofKind, ProofResult
from vmkeep.model.scanfacts import ScanFacts, ScannerFacts, ScanScope
from vmkeep.repository import Repository

PASSED, FAILED, UNDECIDED = ProofResult.PASSED, ProofResult.FAILED, ProofResult.UNDECIDED


@pytest.fixture
def repository() -> Repository:
    return new_repository()


@pytest.mark.parametrize(
    ("results", "failed"),
    [
        ([FAILED], True),
        ([PASSED, FAILED], True),
        ([FAILED, PASSED], False),
        ([FAILED, UNDECIDED], True),
        ([FAILED, UNDECIDED, UNDECIDED], True),
        ([FAILED, PASSED, UNDECIDED], False),
        ([UNDECIDED], False),
        ([], False),
    ],
)
@pytest.mark.parametrize("kind", [ProofKind.BOOT, ProofKind.DIGESTS, ProofKind.LVM])
def test_the_last_check_of_a_kind_that_told_decides_whether_a_point_is_good(repository, kind, results, failed):
    old, new = seal(repository, "a"), seal(repository, "a", day=1)
    prove(repository, new, ProofKind.FILE_SYSTEMS, PASSED, at=now())
    for number, result in enumerate(results):
        prove(repository, new, kind, result, at=now() - timedelta(hours=9 - number))

    assert failed_checks(repository) == ({new: (kind,)} if failed else {})
    assert [origin.ref for origin in good_origins(repository, list_origins(repository, catalog="sqlite://"))] == (
        [old] if failed else [old, new]
    )
    assert {point.ref: point.good for point in gather(repository, catalog="sqlite://").points} == {
        old: True, new: not failed,
    }  # fmt: skip
    assert [each.ref for each in noted_proofs(ListedProofs(repository)) if each.result == "failed"] == (
        [new] if failed else []
    )


def test_an_audit_has_a_column_for_the_last_proof_of_each_kind_and_names_the_points_that_failed_a_check(repository):
    ref, at = seal(repository, "a"), now().replace(microsecond=0)
    for hours, kind in enumerate(ProofKind):
        done = at - timedelta(hours=hours + 2)
        passed = PointProof(kind=kind, result=PASSED, at=done, details={"probes": ["tcp 22"]})
        scan = ScanFacts(scope=ScanScope.WHOLE, whole_at=done, scanners=(ScannerFacts(name="YARA", version="4"),))
        repository.proofs.add(ref, replace(passed, scan=scan) if kind is ProofKind.MALWARE else passed)

    (row,) = document_of(audit_report(gather(repository, catalog="sqlite://")))["vms"]
    told = {kind: row[kind.value] for kind in ProofKind}
    assert all(told.values()), told

    prove(repository, ref, ProofKind.MALWARE, FAILED, at=at - timedelta(hours=1))
    found = document_of(audit_report(gather(repository, catalog="sqlite://")))
    assert found["vms"][0]["malware"] is None, "a find takes the word of the older scan back"
    assert [each["point"] for each in found["trouble"]] == [ref]


def test_all_that_is_told_of_checks_takes_one_list_of_points_and_one_of_proofs(repository):
    refs = [seal(repository, "a", day=day) for day in range(3)]
    for ref in refs:
        prove(repository, ref, ProofKind.BOOT, FAILED, at=now())
    prove(repository, refs[0], ProofKind.MALWARE, PASSED, at=now())
    store = CountedStore(repository.blobs)
    listed = ListedProofs(Repository(store, repository.descriptor))

    assert set(listed.failed()) == set(refs)
    assert len(list(noted_proofs(listed))) == 4
    assert store.calls == {"list points": 1, "list proofs": 1}


def test_a_reader_of_a_point_is_told_of_its_own_failed_checks_by_one_list_of_proofs(repository):
    older, ref = (seal(repository, "a", day=day) for day in range(2))
    for one, kind in ((older, ProofKind.LVM), (ref, ProofKind.BOOT)):
        prove(repository, one, kind, FAILED, at=now())
    store = CountedStore(repository.blobs)
    opened = Repository(store, repository.descriptor)

    [told] = about_doubts(opened, repository.load_point(ref))

    assert told.startswith(f"{ref} did not pass the check 'boot'")
    assert (store.calls["list proofs"], store.calls["get proofs"]) == (1, 1)


def test_a_picture_is_known_by_the_names_of_proofs(repository):
    refs = [seal(repository, "a", day=day) for day in range(2)]
    for ref, files in zip(refs, ({}, {PICTURE: b"x"}), strict=True):
        repository.proofs.add(ref, PointProof(kind=ProofKind.BOOT, result=PASSED, at=now()), files)

    assert [proof.has_picture for proof in noted_proofs(ListedProofs(repository))] == [False, True]
