"""A VM is overdue for a drill by the age of its last proof, whoever was to start the drill."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from vmkeep.flows.proof_ages import unproved_of
from vmkeep.model.proofs import VmProof
from vmkeep.recovery import ChosenVm

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def vm(name: str) -> ChosenVm:
    return ChosenVm(
        group="g", vm_key=f"key-{name}", vm_name=name, point=f"key-{name}/p", taken_at=NOW, new_name=f"drill-{name}"
    )


def proof(name: str, at: datetime) -> VmProof:
    return VmProof(
        vm_key=f"key-{name}", vm_name=name, point=f"key-{name}/p", taken_at=at, at=at, run="r", drill=True,
        probes=("power",),
    )  # fmt: skip


def test_a_vm_is_named_once_its_proof_is_older_than_the_plan_allows_and_if_it_has_none():
    within = timedelta(days=35)
    proofs = [proof("young", NOW - within), proof("old", NOW - within - timedelta(days=1))]

    found = list(
        unproved_of([vm("young"), vm("old"), vm("never")], {one.vm_key: one for one in proofs}, within=within, at=NOW)
    )

    assert [one.line for one in found] == ["old: last proved 36 d ago", "never: never proved restorable"]
