"""A point that failed a check is no good one: not for the age of its VM, not in reports, not in alarms."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.flows.test_policy_checks import prove, repository, seal  # noqa: F401
from vmkeep.clock import now
from vmkeep.flows.failed_checks import failed_checks
from vmkeep.flows.fleet_notes import noted_proofs
from vmkeep.flows.pointlist import good_origins, list_origins
from vmkeep.flows.reports import gather
from vmkeep.model.proofs import ProofKind, ProofResult

PASSED, FAILED, UNDECIDED = ProofResult.PASSED, ProofResult.FAILED, ProofResult.UNDECIDED


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
def test_the_last_check_of_a_kind_that_told_decides_whether_a_point_is_good(repository, kind, results, failed):  # noqa: F811
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
    assert [each.ref for each in noted_proofs(repository) if each.result == "failed"] == ([new] if failed else [])
