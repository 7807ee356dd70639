"""The content of an RDM goes to a LUN only if a person named it and said so, and to a disk otherwise."""

from __future__ import annotations

import pytest

from tests.unit.flows.test_matching import disk
from vmkeep.errors import ConflictError, NotFoundError, UsageError
from vmkeep.flows.new_disks import match_new_disks
from vmkeep.flows.restore_request import NewVmOptions, OnConflict, RestoreRequest
from vmkeep.flows.restore_saved import luns_asked, rdms_asked
from vmkeep.model.disk import SkipReason
from vmkeep.vsphere.luns import Lun

VIRTUAL = disk(2001, 1, 2 << 30, compatibility_mode="virtualMode")
PHYSICAL = disk(2002, 2, 2 << 30, compatibility_mode="physicalMode", skip=SkipReason.PHYSICAL_RDM)
READ = disk(2003, 3, 2 << 30, compatibility_mode="physicalMode")
"""A physical RDM whose content the backup read from its LUN."""
LUN = Lun(device_name="naa.6", uuid="02", capacity=2 << 30)


def matched(saved, word="", on_conflict=OnConflict.ABORT, lun: Lun | None = LUN, **options):
    rdms = (f"{saved.address}={word}",) if word else ()
    request = RestoreRequest(
        point="p", run="r", new_name="n", on_conflict=on_conflict, new_vm=NewVmOptions(rdms=rdms, **options)
    )
    (match,) = match_new_disks(request, [saved], {saved.address: lun} if lun is not None else {})
    return match


@pytest.mark.parametrize(("saved", "word"), [(VIRTUAL, "lun"), (READ, "lun:virtual")])
def test_a_lun_is_written_over_if_it_is_named_and_overwriting_is_told(saved, word):
    match = matched(saved, word, OnConflict.OVERWRITE)

    assert match.written
    assert "content in the backup; mapped to LUN naa.6, which is written over" in match.note


@pytest.mark.parametrize(("saved", "word"), [(VIRTUAL, "lun"), (VIRTUAL, "lun:virtual"), (READ, "lun:virtual")])
def test_a_lun_of_unknown_content_is_not_written_over_without_a_word(saved, word):
    with pytest.raises(ConflictError, match=r"would be written over LUN naa\.6, and what .* --on-conflict overwrite"):
        matched(saved, word)


def test_a_lun_that_nobody_named_is_never_written_over():
    for on_conflict in (OnConflict.ABORT, OnConflict.OVERWRITE):
        with pytest.raises(
            ConflictError, match=r"which nobody has named: name .* with --lun 'scsi0:1=naa\.6' \(Airflow: luns\)"
        ):
            matched(VIRTUAL, "auto", on_conflict)


@pytest.mark.parametrize(
    ("saved", "word", "on_conflict"),
    [
        (VIRTUAL, "lun", OnConflict.KEEP),
        (VIRTUAL, "auto", OnConflict.KEEP),
        (VIRTUAL, "lun:physical", OnConflict.OVERWRITE),
        (READ, "lun", OnConflict.OVERWRITE),
        (READ, "auto", OnConflict.ABORT),
        (PHYSICAL, "lun", OnConflict.OVERWRITE),
        (PHYSICAL, "lun:virtual", OnConflict.OVERWRITE),
        (PHYSICAL, "auto", OnConflict.ABORT),
    ],
)
def test_a_lun_is_only_mapped_in_physical_mode_without_content_or_if_told_so(saved, word, on_conflict):
    match = matched(saved, word, on_conflict)

    assert not match.written
    assert "mapped to LUN naa.6, on which nothing is written" in match.note


@pytest.mark.parametrize("capacity", [1 << 30, 3 << 30])
def test_content_goes_to_no_lun_of_another_size(capacity):
    with pytest.raises(ConflictError, match="choose a LUN of the disk's size"):
        matched(VIRTUAL, "lun", OnConflict.OVERWRITE, Lun(device_name="naa.6", uuid="02", capacity=capacity))


@pytest.mark.parametrize(
    ("saved", "word", "written"),
    [
        (VIRTUAL, "", True),
        (VIRTUAL, "disk:thick", True),
        (VIRTUAL, "placeholder", False),
        (VIRTUAL, "omit", False),
        (READ, "", False),
        (READ, "disk", True),
        (PHYSICAL, "disk", False),
        (PHYSICAL, "", False),
    ],
)
def test_content_goes_to_an_ordinary_disk_if_that_takes_the_rdm_s_place(saved, word, written):
    assert matched(saved, word, lun=None).written == written


def test_what_is_said_of_all_physical_rdms_is_said_of_no_virtual_one():
    options = NewVmOptions(physical_rdm="auto:virtual", rdms=("scsi0:3=omit",))

    choices = rdms_asked(options, [disk(), VIRTUAL, PHYSICAL, READ])

    assert {key: choice.replacement for key, choice in choices.items()} == {2001: "disk", 2002: "auto", 2003: "omit"}
    assert choices[2002].how == "virtual"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"rdms": ("scsi0:2=lunn",)}, UsageError, "cannot become 'lunn'; choose from"),
        ({"physical_rdm": "all"}, UsageError, "cannot become 'all'; choose from"),
        ({"rdms": ("scsi0:0=omit",)}, NotFoundError, "no RDM 'scsi0:0'; the restore point has the RDMs scsi0:1"),
        ({"luns": ("scsi0:2=naa.6",), "rdms": ("scsi0:2=auto",)}, UsageError, "LUN naa.6 is named for it .*leave one"),
        ({"luns": ("scsi0:2=naa.6",), "rdms": ("scsi0:2=disk",)}, UsageError, "is to become 'disk'"),
    ],
)
def test_options_for_rdms_that_mean_nothing_or_contradict_each_other_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        luns_asked(NewVmOptions(**options), [disk(), VIRTUAL, PHYSICAL])
