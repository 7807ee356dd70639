"""``vmkeep vm proved``: when each VM was last proved good, and by which kind of check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmkeep.cli.options import catalog_url, json_option, open_given, repository_option
from vmkeep.cli.output import print_json, print_table
from vmkeep.cli.pages import command
from vmkeep.model.proofs import ProofKind
from vmkeep.model.selector import shown_name
from vmkeep.model.wording import age

if TYPE_CHECKING:
    from vmkeep.flows.proved_vms import ProvedVm

_COLUMNS = {
    ProofKind.RESTORE: "restored",
    ProofKind.BOOT: "booted",
    ProofKind.TARGET: "written to a VM",
    ProofKind.DIGESTS: "read back",
    ProofKind.FILE_SYSTEMS: "file systems",
    ProofKind.LVM: "LVM",
    ProofKind.MALWARE: "no malware",
}
_FIRST_TO_GO = ("LVM", "written to a VM", "no malware", "file systems")


@command(
    "proved",
    examples={
        "See when each VM was last proved good": "vmkeep vm proved",
        "List it for a script": "vmkeep vm proved --json",
    },
)
@repository_option
@json_option
def proved(repository: str | None, as_json: bool) -> None:
    """List all VMs that have points, with the time since each was last proved good, by kind of check.

    VMs that were never restored or booted stand first, then the one for which that is longest ago. A proof counts here
    also when its point is gone.
    """
    from vmkeep.flows.proved_vms import list_proved  # takes time to import

    with open_given(repository) as opened:
        found = list_proved(opened, catalog=catalog_url())
    if as_json:
        print_json(list(found))
        return
    rows = [(shown_name(vm.vm_name), *(_ago(vm, kind) for kind in _COLUMNS)) for vm in found]
    print_table(("VM", *_COLUMNS.values()), rows, first_to_go=_FIRST_TO_GO, none="no VM has a restore point")


def _ago(vm: ProvedVm, kind: ProofKind) -> str:
    return f"{age(vm.ages[kind])} ago" if kind in vm.ages else "never"
