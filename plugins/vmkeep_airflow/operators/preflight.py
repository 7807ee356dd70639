"""Checks a backup in advance, as its first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from airflow.sdk import Context

from vmkeep.errors import ConflictError
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.model.audit import SHARE
from vmkeep.model.guest import commands_from
from vmkeep.model.job import from_plain, to_plain
from vmkeep.model.quiescing import parse_quiesce
from vmkeep.model.transport import DEFAULT_MODES
from vmkeep_airflow.dagruns import own_dag_run, snapshots_of_others
from vmkeep_airflow.hooks.guest import guest_login
from vmkeep_airflow.links import TO_VM
from vmkeep_airflow.operators.ending import EndingOperator


class PreflightOperator(EndingOperator):
    """Find all that could stop this backup within seconds, before anything is changed.

    :param vm: the VM: its name, or ``name:``, ``uuid:``, ``moref:``, ``ipaddr:`` and a value. Templated.
    :param mode: a ``BackupMode``. Templated.
    :param quiesce: ``required``, ``preferred`` or ``off``, or one with a level (``preferred:application``). Templated.
    :param transports: VDDK transport modes, the preferred one first. Templated.
    :param include: rules of the disks to copy, e.g. ``scsi0:1`` or ``>2TiB``; none: all disks. Templated.
    :param exclude: rules of the disks to leave out. Templated.
    :param read_luns: rules of the physical RDMs to read from their LUNs. Templated.
    :param skipped_is_failure: a disk that cannot be copied fails the run, unless a rule leaves it out. Templated.
    :param full: read every disk in full, even if its changes are known. Templated.
    :param guest: the fields of ``GuestCommands``, as :func:`commands_from` takes them; empty: no command. Templated.
    :param audit: the share of unchanged blocks to read and compare with the last point. Templated.
    :param policy: name of the policy whose window asks; empty: a person does. Templated.
    :returns: the ``Preflight`` as a dict.
    """

    operator_extra_links = TO_VM
    template_fields: Sequence[str] = (
        *EndingOperator.template_fields,
        "vm",
        "mode",
        "quiesce",
        "transports",
        "include",
        "exclude",
        "read_luns",
        "skipped_is_failure",
        "full",
        "guest",
        "audit",
        "policy",
    )

    def __init__(
        self,
        *,
        vm: Any,
        mode: Any = "SNAPSHOT_EXCL_MEM",
        quiesce: Any = "preferred",
        transports: Any = DEFAULT_MODES,
        include: Any = None,
        exclude: Any = None,
        read_luns: Any = None,
        skipped_is_failure: Any = False,
        full: Any = False,
        guest: Any = None,
        audit: Any = SHARE,
        policy: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vm = vm
        self.mode = mode
        self.quiesce = quiesce
        self.transports = transports
        self.include = include
        self.exclude = exclude
        self.read_luns = read_luns
        self.skipped_is_failure = skipped_is_failure
        self.full = full
        self.guest = guest
        self.audit = audit
        self.policy = policy

    def step(self, context: Context) -> Any:
        """Check the VM, and log the disks that are skipped with the reasons."""
        from vmkeep.flows import backup
        from vmkeep.flows.leftovers import Fate

        ti = context["ti"]
        wish = parse_quiesce(str(self.quiesce))
        request = from_plain(
            BackupRequest,
            {
                "vm_selector": self.vm,
                "run": own_dag_run(ti).run_key(ti.try_number),
                "mode": self.mode,
                "quiesce": wish.level,
                "quiesce_required": wish.required,
                "transports": list(self.transports),
                "include": list(self.include or ()),
                "exclude": list(self.exclude or ()),
                "read_luns": list(self.read_luns or ()),
                "skipped_is_failure": self.skipped_is_failure,
                "full": self.full,
                "audit": self.audit,
                "policy": self.policy or None,
            },
        )
        request = replace(request, guest=commands_from(**self.guest) if self.guest else None)
        site = self.site()
        found = backup.preflight(site, request, logins=guest_login)
        for other in snapshots_of_others(site, context, moref=found.vm.moref):
            if other.fate is Fate.IN_USE:
                raise ConflictError(
                    f"VM {found.vm.name} is being backed up by run {other.run} (snapshot {other.snapshot}): wait for it"
                )
        self.warn(found.warnings)
        for change in found.changes:
            self.log.info("%s (%s)", change, change.reason)
        for disk in found.disks:
            what = f"skipped: {disk.why_skipped}" if disk.skip else "will be copied"
            self.log.info("%s (%s, %d MiB): %s", disk.label, disk.address, disk.capacity >> 20, what)
        return to_plain(found)
