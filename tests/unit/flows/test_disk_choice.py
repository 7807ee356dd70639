"""The disks that a backup copies, and the rule or the reason for each other one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.disk_choice import choose_disks, readable, require_some
from vmkeep.model.disk import ControllerKind, Disk, SkipReason
from vmkeep.model.job import from_plain, to_plain
from vmkeep.model.point import BackupMode

FIRST = Disk(
    key=2000, label="Hard disk 1", controller=ControllerKind.SCSI, controller_type="ParaVirtualSCSIController", bus=0,
    unit=0, capacity=1 << 30, backing="FlatVer2", file_name="[fast] a/a.vmdk",
)  # fmt: skip
LARGE = replace(FIRST, key=2001, label="Hard disk 2", unit=1, capacity=3 << 40, file_name="[scratch-1] a/b.vmdk")
RDM = replace(FIRST, key=2002, label="Hard disk 3", unit=2, skip=SkipReason.PHYSICAL_RDM)
DISKS = (FIRST, LARGE, RDM)


def request(**wishes):
    return BackupRequest(vm_selector="a", run="r", **wishes)


def copied(**wishes):
    return [disk.key for disk in choose_disks(DISKS, request(**wishes)) if disk.skip is None]


@pytest.mark.parametrize(
    ("wishes", "keys"),
    [
        ({}, [2000, 2001]),
        ({"exclude": (">2TiB",)}, [2000]),
        ({"exclude": ("datastore:scratch-*",)}, [2000]),
        ({"exclude": ("datastore:fast & >2TiB",)}, [2000, 2001]),
        ({"include": ("scsi0:0",)}, [2000]),
        ({"include": ("scsi0:0", ">2TiB")}, [2000, 2001]),
        ({"include": ("label:Hard*",), "exclude": ("scsi0:0",)}, [2001]),
        ({"include": (">9TiB",)}, []),
    ],
)
def test_rules_include_and_exclude_and_excluding_counts_more(wishes, keys):
    assert copied(**wishes) == keys


def test_every_disk_is_recorded_with_the_rule_that_leaves_it_out():
    first, large, rdm = choose_disks(DISKS, request(include=("scsi0:1", "scsi0:2"), exclude=("scsi0:2",)))

    assert (first.skip, first.left_out) == (SkipReason.EXCLUDED, "no rule includes it")
    assert (large.skip, large.left_out) == (None, "")
    assert (rdm.skip, rdm.left_out) == (SkipReason.PHYSICAL_RDM, "excluded by scsi0:2")
    assert first.why_skipped == "excluded by the request (no rule includes it)"
    assert from_plain(Disk, to_plain(rdm)) == rdm


@pytest.mark.parametrize("field", ["include", "exclude"])
def test_a_name_that_no_disk_has_is_refused_and_a_rule_that_fits_none_is_not(field):
    with pytest.raises(UsageError, match=rf"no disk 'scsi9:9' to {field}; the VM has scsi0:0 \(Hard disk 1\)"):
        choose_disks(DISKS, request(**{field: ("scsi9:9",)}))

    assert choose_disks(DISKS, request(**{field: ("unit:scsi9:9",)}))


def test_nothing_to_back_up_is_refused_with_the_reason_of_each_disk():
    wishes = request(include=(">9TiB",))

    with pytest.raises(UnsupportedError, match=r"nothing to back up: Hard disk 1: excluded .*Hard disk 3: physical"):
        require_some(choose_disks(DISKS, wishes), wishes, "a")


def test_a_disk_that_is_skipped_against_the_will_is_a_failure_where_that_was_asked():
    for exclude, fails in (((), True), (("scsi0:2",), False)):
        wishes = request(skipped_is_failure=True, exclude=exclude)
        disks = choose_disks(DISKS, wishes)
        if fails:
            with pytest.raises(UnsupportedError, match=r"Hard disk 3 \(scsi0:2\): physical-mode RDM"):
                require_some(disks, wishes, "a")
        else:
            require_some(disks, wishes, "a")
    require_some(choose_disks(DISKS, request()), request(), "a")


@pytest.mark.parametrize("reason", SkipReason)
def test_only_what_a_snapshot_leaves_out_is_read_as_it_is(reason):
    disk = replace(FIRST, skip=reason)

    assert readable([disk], BackupMode.SNAPSHOT_EXCL_MEM) == (disk,)
    assert (readable([disk], BackupMode.ASIS)[0].skip is None) is (reason in ("independent", "shared"))
