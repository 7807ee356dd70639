"""Making, registering, changing, moving and deleting VMs and folders.

A ConfigSpec passes three gates before anything is touched: `spec_rights` checks the caller's privileges field by
field, `spec_rules` refuses what nobody may ask, and `placement` finds a host that has what the VM needs.
`creation` and `registration` then enter a new VM, from a spec or from a .vmx file; `reconfiguration` changes one,
wholly or not at all; `migration` moves one to another host, and `relocation` its files to another datastore.
`inventory_changes` renames, moves and deletes, and `vapps` makes resource pools and vApps.
"""

from vmlab.managed.provisioning import (
    creation,
    inventory_changes,
    migration,
    reconfiguration,
    registration,
    relocation,
    vapps,
)
from vmlab.managed.provisioning.creation import create_vm
from vmlab.managed.provisioning.registration import register_vm
from vmlab.managed.provisioning.relocation import relocate

BEHAVIOURS = (
    creation,
    inventory_changes,
    migration,
    reconfiguration,
    registration,
    relocation,
    vapps,
)
"""Modules that answer methods or properties: importing them registers their functions."""

__all__ = ["BEHAVIOURS", "create_vm", "register_vm", "relocate"]
