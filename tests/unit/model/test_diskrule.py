"""One text chooses disks: by unit, label, size or datastore."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmkeep.errors import UsageError
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.diskrule import DiskRule, parse_disk_rule

TIB = 1 << 40
DISK = Disk(
    key=2001, label="Hard disk 2", controller=ControllerKind.SCSI, controller_type="ParaVirtualSCSIController", bus=0,
    unit=1, capacity=2 * TIB, backing="FlatVer2", file_name="[NAS [prod]] a/a.vmdk",
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("scsi0:1", True),
        ("Hard disk 2", True),
        ("2001", True),
        ("scsi0:2", False),
        ("Hard disk", False),
        ("unit:scsi0:1", True),
        ("unit:nvme0:1", False),
        ("label:Hard disk *", True),
        ("label:Hard disk ?", True),
        ("label:hard*", False),
        ("datastore:NAS [prod]", True),
        ("datastore:NAS*", True),
        ("datastore:scratch-*", False),
        (">1TiB", True),
        (">1.5 TiB", True),
        (">2TiB", False),
        (">= 2TiB", None),
        ("<2TiB", False),
        ("<2.1TiB", True),
        (f"<{2 * TIB + 512}", True),
        ("datastore:NAS* & >1TiB", True),
        ("datastore:NAS* & >1TiB & <2TiB", False),
        ("label:R & D*", False),
    ],
)
def test_a_disk_fits_if_all_parts_of_the_rule_are_true_of_it(text, fits):
    if fits is None:
        with pytest.raises(UsageError, match="no size"):
            parse_disk_rule(text)
    else:
        assert parse_disk_rule(text).fits(DISK, "NAS [prod]") is fits


def test_a_rule_is_written_as_it_is_read():
    whole = DiskRule(unit="scsi0:1", label="R & D*", larger_than=TIB, smaller_than=3 * TIB, datastore="NAS [prod]")

    assert parse_disk_rule(str(whole)) == whole
    assert str(parse_disk_rule("Hard disk 2")) == "Hard disk 2"


def test_a_disk_whose_datastore_is_not_known_fits_no_rule_of_datastores():
    assert not parse_disk_rule("datastore:*").fits(replace(DISK, file_name=""), None)


@pytest.mark.parametrize(
    "text", ["", "  ", ">2TB", "<", ">-1GiB", "label:", "datastore: ", "unit:disk1", ">1TiB & >2TiB"]
)
def test_a_text_that_is_no_rule_is_refused_with_the_request(text):
    for field in ("include", "exclude"):
        with pytest.raises(UsageError):
            BackupRequest(vm_selector="a", run="r", **{field: (text,)})
