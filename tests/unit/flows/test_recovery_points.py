"""The points that a recovery plan chooses in a repository, and the doubts that are told of them."""

from __future__ import annotations

from tests.unit.flows.proved_points import new_repository, prove, seal
from vmkeep.clock import now
from vmkeep.flows.recovery_points import choose_in
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.recovery import parse_plan

PLAN = "name: site\ngroups:\n  - {name: vms, selection: 'any:'}\n"


def test_a_chosen_point_that_has_failed_a_check_is_told_before_anybody_says_yes():
    repository = new_repository()
    failed, good, mended = (seal(repository, vm, moref=f"vm-{vm}") for vm in "abc")
    for ref, result in ((failed, ProofResult.FAILED), (good, ProofResult.PASSED), (mended, ProofResult.FAILED)):
        prove(repository, ref, ProofKind.BOOT, result, at=now())
    prove(repository, mended, ProofKind.BOOT, ProofResult.PASSED, at=now())

    choice = choose_in(repository, parse_plan(PLAN, path="site.yaml").sound(), catalog="sqlite://")

    assert {vm.point for vm in choice.vms} == {failed, good, mended}
    assert choice.notes == (f"name of a: the chosen point has failed a check (boot), see 'vmkeep point show {failed}'",)
