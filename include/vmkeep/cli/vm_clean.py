"""``vmkeep vm clean``: the last restore point of each VM in which a scan found no malware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmkeep.cli.options import json_option, open_given, repository_option, selector_option
from vmkeep.cli.output import print_json, print_table
from vmkeep.cli.pages import command
from vmkeep.cli.times import shown_second, shown_time, shown_zone
from vmkeep.model.selector import shown_name

if TYPE_CHECKING:
    from vmkeep.flows.clean_vms import CleanVm


@command(
    "clean",
    examples={
        "Show the last clean point of each VM": "vmkeep vm clean",
        "Show that of one VM": "vmkeep vm clean -s app01",
    },
)
@selector_option("Show only the VMs that fit, e.g. 'name:web*'.")
@repository_option
@json_option
def clean(selector: str | None, repository: str | None, as_json: bool) -> None:
    """Show the last restore point of each VM that is clean by its malware scans.

    A point is clean if all its files were scanned and nothing was found, or if that is so for the files that differ
    from an older clean point. The other columns tell about the points after it.
    """
    from vmkeep.flows.clean_vms import clean_vms  # takes time to import

    with open_given(repository) as opened:
        found = clean_vms(opened, selector)
    if as_json:
        print_json(found)
        return
    zone = shown_zone()
    print_table(
        ("VM", "last clean point", f"taken at ({zone})", "scanned", "all files", "newer", "with malware"),
        [
            (
                shown_name(vm.vm_name),
                vm.last.clean.point if vm.last.clean else "none",
                shown_second(vm.last.clean.taken_at, zone) if vm.last.clean and vm.last.clean.taken_at else "",
                shown_time(vm.last.clean.scanned_at, zone) if vm.last.clean and vm.last.clean.scanned_at else "",
                shown_time(vm.last.clean.whole_at, zone) if vm.last.clean and vm.last.clean.whole_at else "",
                len(vm.last.newer),
                _malware(vm),
            )
            for vm in found
        ],
        first_to_go=("all files", "scanned"),
        none="no VM has a restore point",
    )


def _malware(vm: CleanVm) -> str:
    from vmkeep.flows.clean_points import Cleanness

    bad = [state for state in vm.last.newer if state.cleanness is Cleanness.FOUND]
    return f"{len(bad)}, first {bad[-1].point}" if bad else ""
