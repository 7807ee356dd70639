"""The directories of a saved VM: those outside of its own folder are its own choice, and the others are its folder."""

from __future__ import annotations

import pytest

from vmkeep.vsphere.api import vim
from vmkeep.vsphere.directories import own_directories

MEMBERS = {"log": "logDirectory", "suspend": "suspendDirectory", "snapshot": "snapshotDirectory"}


@pytest.mark.parametrize("kind", MEMBERS)
@pytest.mark.parametrize(
    ("directory", "own"),
    [
        (None, None),
        ("[ds1] app01/", None),
        ("[ds1] app01", None),
        ("[ds1] app01/logs", None),
        ("[ds1] app01-old/", "[ds1] app01-old/"),
        ("[ds2] app01/", "[ds2] app01/"),
        ("[ds2] elsewhere", "[ds2] elsewhere"),
        ("/vmfs/volumes/x", None),
    ],
)
def test_a_directory_of_each_kind_is_the_vms_own_choice_only_outside_of_its_folder(make_config, kind, directory, own):
    config = make_config()
    config.files = vim.vm.FileInfo(vmPathName="[ds1] app01/app01.vmx", **{MEMBERS[kind]: directory})

    found = own_directories(config)

    assert getattr(found, kind) == own
    assert found.settled == (((f"{kind} directory", own),) if own else ())
