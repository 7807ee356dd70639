"""Runs a command in the guest of a VM that a drill has kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.recovery import VmOutcome
from vmkeep_airflow.hooks.guest import guest_login
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.operators.recover_site import recovery_of


class RunInDrillOperator(SiteOperator):
    """Run a command in the guest of a VM that this run's drill has made and kept, and in no other VM.

    Give its task no retries unless the command may run twice, because a try that failed may have run it.

    :param outcome: a ``VmOutcome`` as a dict, from ``RecoverSiteOperator`` with ``keep``. Templated.
    :param command: the command line, which everybody sees who sees the run. Templated.
    :param guest: Airflow connection of type *VMware guest user*. Templated.
    :param seconds: the time limit; a command that takes longer is terminated.
    :returns: the VM's name and managed object id, the seconds that the command took, and its output.
    :raises AirflowFailException: the VM is not healthy, or is not the drill's; nothing was run.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "outcome", "command", "guest")

    def __init__(self, *, outcome: Any, command: str, guest: str, seconds: float = 600.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outcome = outcome
        self.command = command
        self.guest = guest
        self.seconds = seconds

    def step(self, context: Context) -> Any:
        """Run it, and log what it printed."""
        from vmkeep.flows.drill_commands import run_in_drill

        vm = self.handed("outcome", VmOutcome, by="recover")
        if not vm.succeeded or vm.moref is None:
            raise AirflowFailException(f"VM {vm.new_name} is {vm.state}: {vm.error or 'no reason is known'}")
        done = run_in_drill(
            self.site(), recovery_of(context, drill=True), vm.moref, self.command,
            login=guest_login(self.guest), seconds=self.seconds,
        )  # fmt: skip
        for line in done.output.splitlines():
            self.log.info("%s", line)
        self.log.info("VM %s: the command ended well after %.1f s", done.vm, done.seconds)
        return {"vm": done.vm.name, "moref": done.vm.moref, "seconds": done.seconds, "output": done.output}
