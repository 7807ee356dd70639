"""Tells people that they have to look, by every way that the policies name.

A notice goes once to each address and once by each notifier, however many policies name it, and never for each VM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from airflow.sdk import BaseNotifier
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from vmkeep.errors import UsageError
from vmkeep.policy import Notifications, NotifyWhen
from vmkeep_airflow.metrics import send_notice
from vmkeep_airflow.notices import Notice
from vmkeep_airflow.notifiers import MailNotifier, make_notifier
from vmkeep_airflow.policies import policy_files


def tell(wishes: Iterable[Notifications], notice: Notice) -> tuple[str, ...]:
    """Tell people by mail and by the named notifiers. A way that fails keeps no other one from being used.

    :param wishes: those of all policies that the notice is about. One that says ``never`` does not count.
    :returns: the addresses to which mail was sent.
    :raises AirflowException: nobody was told; another try may help.
    :raises AirflowFailException: some were told, and would be told twice by another try; or the set-up is wrong.
    """
    asked = [wish for wish in wishes if wish.when is not NotifyWhen.NEVER]
    to = tuple(dict.fromkeys(address for wish in asked for address in wish.to))
    names = dict.fromkeys(name for wish in asked for name in wish.notifiers)
    ways: dict[str, Callable[[], BaseNotifier]] = {name: partial(make_notifier, name) for name in names}
    if to:
        ways["mail"] = partial(MailNotifier, to)  # no notifier of the setting can have this name
    if ways:
        send_notice(notice.kind)
    failed: list[AirflowException] = []
    for way, make in ways.items():
        try:
            _use(way, make, notice)
        except AirflowException as error:
            failed.append(error)
    if failed:
        told = "; ".join(map(str, failed))
        final = len(failed) < len(ways) or any(isinstance(error, AirflowFailException) for error in failed)
        raise (AirflowFailException if final else AirflowException)(told)
    return to


def _use(way: str, make: Callable[[], BaseNotifier], notice: Notice) -> None:
    try:
        make()(notice.context)
    except UsageError as error:
        raise AirflowFailException(str(error)) from error
    except AirflowException as error:
        if way == "mail":
            raise  # it names each address
        raise AirflowException(f"notifier {way}: {error}") from error
    except Exception as error:
        raise AirflowException(f"notifier {way}: {type(error).__name__}: {error}") from error


def tell_each(wishes: Iterable[Notifications], notice: Notice) -> Iterator[str]:
    """Tell people, and yield why some were not reached, for a task that fails in any case."""
    try:
        tell(wishes, notice)
    except AirflowException as error:
        yield f"not everybody was told of {notice.about}: {error}"


def tell_in_tries(ti: Any, wishes: Iterable[Notifications], notice: Notice) -> tuple[tuple[str, ...], list[str]]:
    """Tell people, and fail only if another try is left and may help.

    So the last try keeps its events, because Airflow drops the events of a task that fails.

    :param ti: the task instance, which tells the number of the try and the last one.
    :returns: the addresses to which mail was sent, and why some people were not reached.
    :raises AirflowException: nobody was told, and there is another try.
    """
    try:
        return tell(wishes, notice), []
    except AirflowFailException as error:
        why = str(error)
    except AirflowException as error:
        if ti.try_number <= ti.max_tries:
            raise
        why = str(error)
    return (), [f"not everybody was told of {notice.about}: {why}"]


def wishes_about(*, repository: str | None = None, vsphere: str | None = None) -> list[Notifications]:
    """Return the wishes of the policies that use a repository, be it their second one, or a vCenter.

    :param repository: Airflow connection to the repository; ``None``: any.
    :param vsphere: Airflow connection to the vCenter; ``None``: any.
    """
    policies = [read.policy for read in policy_files() if read.policy is not None]
    return [
        one.notifications
        for one in policies
        if repository in (None, one.repository, *one.copies) and vsphere in (None, one.vsphere)
    ]
