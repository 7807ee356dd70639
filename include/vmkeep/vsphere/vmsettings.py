"""Reads and sets advanced settings of a VM, by which runs leave marks on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmkeep.vsphere.api import vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import run_task

_SECONDS = 300.0


def values_by_key(settings: Any) -> dict[str, str]:
    """Return a VM's advanced settings by their keys in lower case, because vSphere compares keys without case.

    If a setting is listed twice, the last value counts, because servers may add a value instead of replacing it.
    """
    return {str(setting.key).lower(): str(setting.value) for setting in settings or ()}


def options_for(values: Mapping[str, str]) -> list[Any]:
    """Return advanced settings as vSphere takes them. An empty value removes a setting."""
    return [vim.option.OptionValue(key=key, value=value) for key, value in values.items()]


def are_set(session: Session, moref: str, values: Mapping[str, str]) -> bool:
    """Return whether a VM has these advanced settings. An empty value means that the setting must be absent."""
    now = values_by_key(read(session, session.vm(moref), "config.extraConfig")["config.extraConfig"])
    return all(now.get(key, "") == value for key, value in values.items())


def change_settings(
    session: Session, moref: str, values: Mapping[str, str], *, what: str, version: str | None = None
) -> None:
    """Set advanced settings of a VM. An empty value removes a setting.

    :param version: the ``changeVersion`` that the VM has to have; ``None``: any.
    :raises VSphereError: with fault ``ConcurrentAccess``: somebody has changed the VM since that version.
    """
    spec = vim.vm.ConfigSpec(extraConfig=options_for(values), changeVersion=version)
    with speaking(what):
        run_task(
            session,
            lambda: session.vm(moref).ReconfigVM_Task(spec),
            what=what,
            timeout=_SECONDS,
            look=lambda: True if are_set(session, moref, values) else None,
        )
