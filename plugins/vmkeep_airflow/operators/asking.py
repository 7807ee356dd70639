"""The base class of the tasks that ask a person (Required Actions in Airflow's UI)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.exceptions import HITLRejectException, HITLTimeoutError
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput

from vmkeep.clock import now
from vmkeep.model.site import Site
from vmkeep_airflow import secondperson
from vmkeep_airflow.verbatim import listed

_SHOWN = "shown"
"""Argument with which Airflow calls the task again: the id of the thing that the question was about."""


class AskingOperator(ApprovalOperator):
    """A task that waits for a person's yes. A no, and no answer in time, fail the run, and nobody is asked again.

    A yes is to the very thing that was shown. The task that acts compares it. Where a second person is demanded, the
    yes is also kept in the repository, because some people who may not say it may edit the values of tasks.

    There, a run that nobody known by name has started, as one of a schedule, fails instead of asking, and so does one
    that was cleared, because one person alone could start it and answer.

    :param repository_conn_id: Airflow connection to the repository. Templated.
    :param response_timeout: the time in which a person has to answer.
    """

    template_fields: Sequence[str] = (*ApprovalOperator.template_fields, "repository_conn_id")

    def __init__(
        self,
        *,
        repository_conn_id: str = "vmkeep_default",
        response_timeout: timedelta = timedelta(hours=24),
        **kwargs: Any,
    ) -> None:
        super().__init__(subject="", body="", fail_on_reject=True, response_timeout=response_timeout, **kwargs)
        self.repository_conn_id = repository_conn_id

    def site(self) -> Site:
        """Return the repository of the connection."""
        from vmkeep_airflow.site import repository_site

        return repository_site(self.repository_conn_id)

    def ask(self, context: Context, *, subject: str, lines: Sequence[str], shown: str) -> Any:
        """Put the question, and end this try. Airflow calls the task again with the answer, maybe hours later.

        :param lines: the text, of which each line is shown on its own and letter by letter.
        :param shown: id of the thing that the question is about.
        :raises AirflowFailException: a second person is demanded, and nobody knows the first one.
        """
        self.subject = subject
        self.body = f"{listed(self._asked_by(context))}\n---\n\n{listed(line for line in lines if line)}"
        if secondperson.is_demanded():
            secondperson.require_first(context["dag_run"])
            secondperson.forget(self.site(), context, shown)
        try:
            return super().execute(context)
        except TaskAwaitingInput as waiting:
            waiting.kwargs = {_SHOWN: shown}
            raise

    def execute_complete(self, context: Context, event: dict[str, Any], shown: str = "") -> Any:
        """Take the answer to the question that was shown. Return the name of the person who said yes.

        :raises AirflowFailException: the answer is no, nobody has answered in time, or the person who started the run
            has answered where a second one is demanded.
        """
        try:
            answer = super().execute_complete(context, event)
        except HITLTimeoutError as error:
            raise AirflowFailException(
                f"nobody has answered within {self.response_timeout}, which counts as a no: nothing was touched"
            ) from error
        except HITLRejectException as error:
            user = event.get("responded_by_user") or {}
            raise AirflowFailException(f"{user.get('name', 'somebody')} said no: nothing was touched") from error
        if secondperson.is_demanded():
            secondperson.require(secondperson.require_first(context["dag_run"]), answer["responded_by_user"] or {})
        by = str((answer["responded_by_user"] or {}).get("name", ""))
        if secondperson.is_demanded():
            secondperson.keep(self.site(), context, shown, by)
        self.log.info("%s said yes", by or "somebody")
        return by

    def _asked_by(self, context: Context) -> tuple[str, ...]:
        """Say who started the run, when, and how long the question stands."""
        run: Any = context["dag_run"]
        who = run.triggering_user_name or "nobody who is known by name"
        lines = [f"asked for by {who} on {_time(run.run_after)}, in run {run.run_id}"]
        if secondperson.is_demanded():
            lines.append("somebody else than the one who asks has to answer")
        if self.response_timeout is not None:
            lines.append(f"without an answer until {_time(now() + self.response_timeout)}, nothing is done")
        return tuple(lines)


class AskingAboutVmOperator(AskingOperator):
    """A task that asks a person about a VM.

    :param vsphere_conn_id: Airflow connection to vCenter or ESXi. Templated.
    """

    template_fields: Sequence[str] = (*AskingOperator.template_fields, "vsphere_conn_id")

    def __init__(self, *, vsphere_conn_id: str = "vsphere_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vsphere_conn_id = vsphere_conn_id

    def site(self) -> Site:
        """Return the vSphere and the repository of the connections."""
        from vmkeep_airflow.site import make_site

        return make_site(vsphere_conn_id=self.vsphere_conn_id, repository_conn_id=self.repository_conn_id)


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
