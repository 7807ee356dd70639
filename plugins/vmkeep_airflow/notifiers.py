"""The notifiers that tell people: mail, and those that the site names in Airflow's setting ``[vmkeep] notifiers``.

All of them are Airflow's notifiers (``BaseNotifier``). A provider has those of its system: Slack, Teams, a webhook.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from airflow.sdk import BaseNotifier

from vmkeep.errors import UsageError
from vmkeep.policy import field_of
from vmkeep_airflow.mail import send_mail

WHERE = "Airflow's setting [vmkeep] notifiers"
_NAME = re.compile(field_of(("notifications", "notifiers"))["items"]["pattern"])


class MailNotifier(BaseNotifier):
    """Sends a notice to addresses, by Airflow's connection to a mail server.

    The notifier of Airflow's provider sends one mail to all addresses; then one that is refused keeps it from all.
    """

    def __init__(self, to: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.to = tuple(to)

    def notify(self, context: Any) -> None:
        """Send a mail of its own to each address."""
        notice = context["notice"]
        send_mail(self.to, subject=notice["subject"], text=notice["text"])


def known_notifiers() -> Mapping[str, Mapping[str, Any]]:
    """Return the named notifiers: ``class``, its dotted path, and ``kwargs``, its arguments.

    :raises UsageError: the setting has a fault.
    """
    from airflow.configuration import conf

    try:
        given = json.loads(conf.get("vmkeep", "notifiers", fallback="") or "{}")
    except ValueError as error:
        raise UsageError(f"{WHERE} is no JSON: {error}") from error
    sound = isinstance(given, dict) and all(
        isinstance(one, dict)
        and isinstance(one.get("class"), str)
        and isinstance(one.get("kwargs", {}), dict)
        and not one.keys() - {"class", "kwargs"}
        and _NAME.fullmatch(name)
        for name, one in given.items()
    )
    if not sound:
        raise UsageError(f'{WHERE} has to be like {{"chat": {{"class": "package.module.Notifier", "kwargs": {{}}}}}}')
    return dict(given)


def require_notifier(name: str) -> Mapping[str, Any]:
    """Return the class and the arguments of a notifier.

    :raises UsageError: the setting does not have it, or has a fault.
    """
    known = known_notifiers()
    if name not in known:
        raise UsageError(f"there is no notifier {name}: {WHERE} has {', '.join(known) or 'none'}")
    return known[name]


def make_notifier(name: str) -> BaseNotifier:
    """Make a notifier that the setting names.

    :raises UsageError: the setting does not have it, or its class cannot be imported, or does not take its arguments.
    """
    found = require_notifier(name)
    path = found["class"]
    module, _, attribute = path.rpartition(".")
    try:
        made = getattr(import_module(module), attribute)(**found.get("kwargs", {}))
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            f"notifier {name} cannot be made of {path}: {error}; is its provider installed on the workers?"
        ) from error
    if not isinstance(made, BaseNotifier):
        raise UsageError(f"notifier {name}: {path} is no notifier of Airflow (BaseNotifier)")
    return made
