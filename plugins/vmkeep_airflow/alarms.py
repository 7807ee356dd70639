"""Tells people that something is wrong in a repository: by mail, as the policies that use it wish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from airflow.sdk.exceptions import AirflowException

from vmkeep.policy import NotifyWhen
from vmkeep_airflow.mail import send_mail
from vmkeep_airflow.policies import policy_files


def mail_people(repository_conn_id: str, *, subject: str, lines: Sequence[str]) -> Iterator[str]:
    """Send one mail to the people of the policies that use a repository. Yield why some were not reached.

    :param repository_conn_id: Airflow connection to the repository.
    """
    policies = [read.policy for read in policy_files() if read.policy is not None]
    wishes = [one.notifications for one in policies if one.repository == repository_conn_id]
    people = {to for wish in wishes if wish.when is not NotifyWhen.NEVER for to in wish.to}
    if people:
        try:
            send_mail(tuple(sorted(people)), subject=subject, text="\n".join(lines))
        except AirflowException as error:
            yield f"not everybody was told of {repository_conn_id}: {error}"
