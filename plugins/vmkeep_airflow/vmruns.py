"""The run of ``vm_backup`` that a window starts for one VM: its id, and its fields."""

from __future__ import annotations

import re
from typing import Any

from vmkeep.flows.windows import PlannedVm, WindowPlan
from vmkeep.model.diskrule import DiskRule
from vmkeep.model.guest import FreezeFailure, GuestCommands
from vmkeep.policy import AtEnd, DiskPattern, Policy

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST_NAME = 80


def run_id_of(plan: WindowPlan, vm: PlannedVm, *, number: int = 0) -> str:
    """Return the id of a VM's run, e.g. ``nightly__20261126T210000Z__web01__vm-12``.

    :param number: counts the runs of the VM in this window, because a backup is started again under another id.
    """
    name = _NOT_PLAIN.sub("-", vm.name)[:_LONGEST_NAME]
    again = f"__again-{number}" if number else ""
    return f"{plan.policy}__{plan.stamp}__{name}__{_NOT_PLAIN.sub('-', vm.moref)}{again}"


def patterns_of_runs(moref: str, *, escape: str) -> tuple[str, ...]:
    """Return the patterns of SQL's LIKE that the ids of all runs of a VM fit which windows have started.

    :param escape: a sign that no run's id has.
    """
    ending = f"__{_NOT_PLAIN.sub('-', moref)}".replace("_", f"{escape}_")
    return f"%{ending}", f"%{ending}{escape}_{escape}_again-%"


def conf_of(policy: Policy, plan: WindowPlan, vm: PlannedVm) -> dict[str, Any]:
    """Return the fields of ``vm_backup`` for a VM of a policy."""
    return {
        "vm": f"moref:{vm.moref}",
        "mode": policy.mode.value,
        "quiesce": policy.quiesce.value,
        "include": [_rule(pattern) for pattern in policy.disks.include],
        "exclude": [_rule(pattern) for pattern in policy.disks.exclude],
        "read_luns": [_rule(pattern) for pattern in policy.disks.read_luns],
        "skipped_is_failure": policy.disks.skipped_is_failure,
        "transports": [mode.value for mode in policy.transports],
        "verify": policy.sample,
        "audit": policy.audit,
        **_guest_of(policy.guest),
        "policy": policy.name,
        **({"stop_at": plan.closes_at.isoformat()} if policy.at_end is AtEnd.STOP else {}),
        "vsphere": policy.vsphere,
        "repository": policy.repository,
    }


def _guest_of(guest: GuestCommands | None) -> dict[str, Any]:
    """Return the fields of ``vm_backup`` for a policy's commands in the guest."""
    if guest is None:
        return {}
    failure = FreezeFailure.FAIL if guest.required else FreezeFailure.WARN
    return {
        "pre_freeze": guest.freeze,
        "post_thaw": guest.thaw,
        "guest": guest.login,
        "guest_seconds": guest.seconds,
        "freeze_failure": failure.value,
    }


def _rule(pattern: DiskPattern) -> str:
    """Return a policy's description of disks as the text that ``vm_backup`` takes."""
    return str(
        DiskRule(
            unit=pattern.unit,
            label=pattern.label,
            larger_than=pattern.larger_than,
            smaller_than=pattern.smaller_than,
            datastore=pattern.datastore,
        )
    )
