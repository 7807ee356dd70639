"""Writes the first line of a VM's notes, where people look, while its disks are partly written."""

from __future__ import annotations

from vmkeep.vsphere.api import vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import run_task

_WARNING = "vmkeep: do not start this VM."
"""Beginning of the line."""
_SECONDS = 300.0


def warn_in_notes(session: Session, moref: str, why: str) -> None:
    """Put a line above a VM's notes that warns of a start, in place of an older one.

    :param why: a sentence, and what to do.
    """
    _change(session, moref, f"{_WARNING} {why}")


def take_warning_off(session: Session, moref: str) -> None:
    """Take the line off a VM's notes, if it is there. Everything below it is as it was."""
    _change(session, moref, "")


def _change(session: Session, moref: str, line: str) -> None:
    what = f"change the notes of VM {moref}"
    with speaking(what):
        now = read(session, session.vm(moref), "config.annotation")["config.annotation"] or ""
    text = _joined(line, now)
    if text == now:
        return
    with speaking(what):
        run_task(
            session,
            lambda: session.vm(moref).ReconfigVM_Task(vim.vm.ConfigSpec(annotation=text)),
            what=what,
            timeout=_SECONDS,
            look=lambda: (
                True if read(session, session.vm(moref), "config.annotation")["config.annotation"] == text else None
            ),
        )


def _joined(line: str, notes: str) -> str:
    """Return notes with another first line of ours; empty: with none."""
    if notes.startswith(_WARNING):
        notes = notes.partition("\n")[2]
    return f"{line}\n{notes}" if line else notes
