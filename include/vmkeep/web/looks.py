"""Says which facts no look has noted yet, so that nothing is called calm that nobody has asked for. Pure."""

from __future__ import annotations

from vmkeep.flows.fleet import Fleet
from vmkeep.model.wording import counted
from vmkeep.web.words import plain


def not_known(fleet: Fleet) -> str:
    """Return what no look has told of a fleet, as a part of a sentence; empty: each repository was looked at.

    A look is a run of ``data_quality``. It alone asks vCenters for the VMs that no policy has.
    """
    unlooked = [plain(each.location or each.repository) for each in fleet.repositories if each.at is None]
    if not unlooked:
        return ""
    if len(unlooked) == len(fleet.repositories):
        return "which VMs have no policy, and which checks failed, is not known yet: switch on the DAG data_quality"
    number = counted(len(unlooked), "repository was", "repositories were")
    return f"{number} never looked at ({', '.join(unlooked)}): run the DAG data_quality"
