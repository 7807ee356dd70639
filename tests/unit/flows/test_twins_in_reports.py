"""Reports tell VMs of one name apart, because a bill or an alarm has to be about one of them."""

from __future__ import annotations

from datetime import timedelta

from tests.unit.flows.proved_points import WHEN, new_repository
from vmkeep.flows.reports import audit_report, cost_report, document_of, gather
from vmkeep.model.point import BackupMode, Consistency, Quiesce, RestorePoint, VmIdentity

TWINS = ["twin (vc01, /DC/vm/a/twin)", "twin (vc01, /DC/vm/b/twin)"]


def test_vms_of_one_name_have_their_place_beside_it_in_each_report():
    repository = new_repository()
    for day, (name, folder) in enumerate([("twin", "a"), ("twin", "b"), ("single", "a")]):
        vm = VmIdentity(
            name=name, key=f"key-{day}", server="vc01", inventory_path=f"/DC/vm/{folder}/{name}", moref=f"vm-{day}"
        )
        repository.seal(
            RestorePoint(
                id=f"{day:016x}", vm=vm, taken_at=WHEN + timedelta(days=day), run=f"run-{day}",
                mode_asked=BackupMode.ASIS, mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE,
                consistency=Consistency.CRASH, images=(), policy="nightly",
            )
        )  # fmt: skip
    past = gather(repository, catalog="sqlite://")

    assert {point.vm_name for point in past.points} == {*TWINS, "single"}
    for report in (cost_report(past, {}), audit_report(past)):
        assert {row["vm"] for row in document_of(report)["vms"]} == {*TWINS, "single"}
