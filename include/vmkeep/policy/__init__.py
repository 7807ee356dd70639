"""Backup policies: files that say which VMs are backed up, when, how, and how long their restore points stay.

One file is one policy, and has its name. ``files`` reads them, and a file with faults harms no other one. The way of a
file is: :mod:`vmkeep.documents` reads YAML without YAML's surprises, and compares it with the published JSON schema
(``schema``), in which every field, its description and its default stand; ``building`` looks at everything that no
schema knows, and makes the policy (``values``, ``verification``). Each of them collects all faults it finds, with line
and column, instead of stopping at the first one.

``taking`` answers which VMs a policy takes, and why, and which of several policies has a VM. ``window`` answers when
backups may start, also in the nights in which the clock is changed.

The rules: a field that is not known is refused. A default is the safe choice: a policy forgets no point, every disk is
copied, a guest is asked to flush. Nothing here asks a server or the time.
"""

from vmkeep.documents import Fault, Place, dotted
from vmkeep.policy.files import PolicyFile, default_folder, read_file, read_folder
from vmkeep.policy.schema import field_of, require_name, schema_text
from vmkeep.policy.taking import Taking, Verdict, by_precedence, selectors_of, taker, verdict
from vmkeep.policy.values import (
    AtEnd,
    DiskPattern,
    DiskRules,
    Notifications,
    NotifyWhen,
    Policy,
    PolicyExport,
    QualityWishes,
    QuiesceWish,
)
from vmkeep.policy.verification import BootRules, MalwareScan, Verification, early_by
from vmkeep.policy.window import OPENS_WITHIN, Blackout, Due, Opening, Weekday, Window

__all__ = [
    "OPENS_WITHIN",
    "AtEnd",
    "Blackout",
    "BootRules",
    "DiskPattern",
    "DiskRules",
    "Due",
    "Fault",
    "MalwareScan",
    "Notifications",
    "NotifyWhen",
    "Opening",
    "Place",
    "Policy",
    "PolicyExport",
    "PolicyFile",
    "QualityWishes",
    "QuiesceWish",
    "Taking",
    "Verdict",
    "Verification",
    "Weekday",
    "Window",
    "by_precedence",
    "default_folder",
    "dotted",
    "early_by",
    "field_of",
    "read_file",
    "read_folder",
    "require_name",
    "schema_text",
    "selectors_of",
    "taker",
    "verdict",
]
