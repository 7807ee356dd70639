"""A notice: the message by which vmkeep tells people that they have to look, in the forms that notifiers need."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vmkeep_airflow.verbatim import flat


class NoticeKind(StrEnum):
    """The subject of a notice, by which a notifier or a chat can sort them."""

    WINDOW = "window"
    """A window is over."""
    UNOPENED = "unopened"
    """Windows did not open."""
    LATE = "late"
    """VMs are older than their policy allows."""
    HOSTS = "hosts"
    """The configurations of ESXi hosts are too old."""
    PROOFS = "proofs"
    """VMs were not proved restorable for too long."""
    CHECKS = "checks"
    """Restore points did not pass a check, or malware was found in one."""
    QUALITY = "quality"
    """Points are not as they should be: sudden changes, snapshots of others, disks left out."""
    GUESTS = "guests"
    """Volumes of guests contradict themselves."""
    PLACES = "places"
    """A vCenter's certificate ends soon, or a repository is nearly full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message about any number of VMs. It has no form of its own: mail, chat and pager each make one of it."""

    kind: NoticeKind
    about: str
    """Name of the policy, or of the connection to a repository or a vCenter."""
    subject: str
    lines: Sequence[str]

    @property
    def text(self) -> str:
        """The lines as plain text, each without control characters, because names come from vSphere."""
        return "\n".join(flat(line) for line in self.lines)

    @property
    def context(self) -> dict[str, Any]:
        """The one name that the templates of a notifier may use, ``notice``. Its values are never templates themselves.

        It is one name, because Airflow puts each field of a notifier into the context, e.g. ``text`` and ``subject``.
        """
        fields = {
            "kind": self.kind.value,
            "about": self.about,
            "subject": flat(self.subject),
            "text": self.text,
            "lines": [flat(line) for line in self.lines],
            "html": html.escape(self.text, quote=False),
        }
        return {"notice": fields}
