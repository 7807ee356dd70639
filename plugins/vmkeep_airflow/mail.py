"""Sends mail through Airflow's own connection to a mail server."""

from __future__ import annotations

import html
import smtplib
from collections.abc import Sequence

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException

CONNECTION = "smtp_default"
"""The Airflow connection to the mail server."""


def send_mail(to: Sequence[str], *, subject: str, text: str) -> None:
    """Send a mail of its own to each address, because a server may refuse some addresses and take the others.

    :raises AirflowException: nobody got the mail; another try may help.
    :raises AirflowFailException: some got it, and would get it twice by another try; or there is no mail server.
    """
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    _require_connection()
    unreached: list[str] = []
    try:
        with SmtpHook(smtp_conn_id=CONNECTION) as hook:
            for address in to:
                try:
                    hook.send_email_smtp(to=[address], subject=subject, html_content=f"<pre>{html.escape(text)}</pre>")
                except (smtplib.SMTPException, OSError, UnicodeError) as error:
                    unreached.append(f"{address}: {error}")
    except (smtplib.SMTPException, OSError) as error:
        raise AirflowException(f"the mail server of connection {CONNECTION} takes no mail: {error}") from error
    if unreached:
        error_class = AirflowException if len(unreached) == len(to) else AirflowFailException
        raise error_class(f"mail did not reach {'; '.join(unreached)}")


def _require_connection() -> None:
    from airflow.sdk import BaseHook

    try:
        BaseHook.get_connection(CONNECTION)
    except AirflowNotFoundException as error:
        raise AirflowFailException(
            f"there is no mail server for the addresses in notifications.to: make a connection of type SMTP with the "
            f"id {CONNECTION} and a sender's address"
        ) from error
