"""A backup whose .vmx or NVRAM cannot be read is a backup with a warning: never a failed one, never a silent one."""

from __future__ import annotations

import pytest

from tests.integration.flows import restoring
from vmkeep.model.point import BackupMode
from vmkeep.repository import open_site_repository
from vmkeep.vsphere.api import vim


def attachments(site, sealed):
    with open_site_repository(site) as repository:
        return set(repository.load_point(sealed.point).attachments)


def about(sealed, word):
    return [warning for warning in sealed.warnings if word in warning]


def test_a_running_vm_has_both_files_in_its_point_without_a_warning(bench):
    sealed = restoring.back_up(bench.site, "web01")

    assert {"vm.vmx", "vm.nvram", "config.xml"} <= attachments(bench.site, sealed)
    assert sealed.warnings == ()


@pytest.mark.parametrize(
    "plan", [{"status": 500}, {"status": 403}, {"status": 404}, {"drop": True}], ids=["500", "403", "404", "cut"]
)
def test_files_that_nobody_gives_are_warnings_of_a_sealed_point(bench, plan):
    bench.lab.fault(method="host.GET", count=9, **plan)

    sealed = restoring.back_up(bench.site, "web01")

    bench.lab.clear()
    assert not {"vm.vmx", "vm.nvram"} & attachments(bench.site, sealed)
    assert len(about(sealed, ".vmx file is not in the restore point")) == 1
    assert len(about(sealed, "NVRAM, with the BIOS settings, is not in the restore point")) == 1
    assert bench.snapshots("web01") == []


def test_an_efi_vm_without_nvram_says_clearly_which_settings_are_lost(bench):
    restoring.reconfigure(bench.lab, "old01", vim.vm.ConfigSpec(firmware="efi"))
    nvram = bench.lab.files("[datastore2] old01/old01.nvram")
    kept = nvram.read_bytes()
    nvram.unlink()

    sealed = restoring.back_up(bench.site, "old01", mode=BackupMode.ASIS)

    nvram.write_bytes(kept)
    restoring.reconfigure(bench.lab, "old01", vim.vm.ConfigSpec(firmware="bios"))
    (warning,) = about(sealed, "NVRAM")
    assert "boots by EFI" in warning
    assert "boot entries" in warning


def test_a_bios_vm_that_never_ran_has_no_nvram_and_no_warning(bench):
    nvram = bench.lab.files("[datastore2] old01/old01.nvram")
    kept = nvram.read_bytes()
    nvram.unlink()

    sealed = restoring.back_up(bench.site, "old01", mode=BackupMode.ASIS)

    nvram.write_bytes(kept)
    assert "vm.nvram" not in attachments(bench.site, sealed)
    assert sealed.warnings == ()
