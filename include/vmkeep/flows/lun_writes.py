"""Tells a person about the LUNs of a restore before any of them is mapped or written over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vmkeep.flows.restore_values import DiskMatch
from vmkeep.vsphere.freeluns import content_of
from vmkeep.vsphere.luns import Lun
from vmkeep.vsphere.session import Session


def about_luns(session: Session, host: str, matches: Sequence[DiskMatch], luns: Mapping[str, Lun]) -> Iterator[str]:
    """Warn of each LUN that is written over, with the partitions that it holds now."""
    written = {match.disk.label: luns[match.disk.address] for match in matches if _onto_lun(match, luns)}
    held = content_of(session, host, [*written.values()])
    for label, lun in written.items():
        found = held[lun.uuid]
        holds = f"it holds {found} now" if found else "it has no partitions, and may hold data all the same"
        yield f"LUN {lun.device_name} is written over with the content of {label}: {holds}"


def _onto_lun(match: DiskMatch, luns: Mapping[str, Lun]) -> bool:
    return match.written and match.disk.address in luns
