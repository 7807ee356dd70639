"""Attaches disks of a restore point to a VM as new disks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from vmkeep.model.fieldwords import in_params
from vmkeep.model.job import from_plain, to_plain
from vmkeep_airflow.dagruns import has_ended, own_dag_run, owner_text
from vmkeep_airflow.links import TO_VM_AND_POINT
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.wizardplans import refusal_as_answer

if TYPE_CHECKING:
    from vmkeep.flows.attach_values import AttachRequest
    from vmkeep.flows.stopping import Stop


class AttachDisksOperator(SiteOperator):
    """Attach disks of one restore point to an existing VM as new disks: all of them, whole, or none.

    Give its task no retries, because a try that ended after the last change would attach the disks a second time.

    :param request: the params of a ``disk_attach`` run: fields of an ``AttachRequest``, but ``vm`` for its selector,
        and ``dry_run`` for only the plan. Templated.
    :returns: the ``Attached`` as a dict, or the ``AttachPreview``. If the restore wizard asked for a plan that cannot
        be made, the task skips itself.
    """

    operator_extra_links = TO_VM_AND_POINT
    template_fields: Sequence[str] = (*SiteOperator.template_fields, "request")

    def __init__(self, *, request: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.request = request
        self._stop: Stop | None = None

    def step(self, context: Context) -> Any:
        """Do the whole work in this task, and follow the progress of each disk."""
        from vmkeep.flows.complete_attach import preview_attach, run_attach
        from vmkeep.flows.stopping import Stop

        ti = context["ti"]
        owner = own_dag_run(ti)
        own = {"run": owner.run_key(ti.try_number), "owner": owner_text(owner)}
        asked = request_from(self.request, own)
        if self.request.get("dry_run"):
            with refusal_as_answer(ti, only_plan=True):
                plan = preview_attach(self.site(), asked, has_ended=has_ended(ti))
            for line in plan.lines:
                self.log.info("%s", in_params(line))
            self.warn(plan.warnings)
            return to_plain(plan)
        self._stop = Stop()
        done = run_attach(
            self.site(),
            asked,
            bars=self.lines,
            announce=lambda line: self.log.warning("%s", line),
            show=lambda line: self.log.info("%s", line),
            stop=self._stop,
            has_ended=has_ended(ti),
        )
        for new in done.disks:
            self.log.info("%s is %s of VM %s: %s", new.disk, new.address, done.vm, new.file_name)
        return to_plain(done)

    def on_kill(self) -> None:
        """Stop the writing. The VM then gets no disk."""
        if self._stop is not None:
            self._stop.ask()


def request_from(params: Mapping[str, Any], own: Mapping[str, str]) -> AttachRequest:
    """Return a request made of a run's params, with the run's key and owner. Empty fields are left out."""
    from vmkeep.flows.attach_values import AttachRequest

    given = {name: value for name, value in params.items() if value not in ("", None) and name != "dry_run"}
    return from_plain(AttachRequest, {"vm_selector": given.pop("vm", ""), **given, **own})
