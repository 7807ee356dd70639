"""The checks of a policy's restore points after their backups, and the age that the proofs of its VMs may have."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from math import ceil
from typing import Any

from vmkeep.documents import Path
from vmkeep.lateclass import dataclass
from vmkeep.model.proofs import ProofKind
from vmkeep.retention import parse_duration

ALWAYS = timedelta(0)
"""The turn of a check that is done after each backup."""
_COUNT = {
    ProofKind.DIGESTS: frozenset({ProofKind.DIGESTS}),
    ProofKind.FILE_SYSTEMS: frozenset({ProofKind.FILE_SYSTEMS, ProofKind.BOOT, ProofKind.RESTORE}),
    ProofKind.BOOT: frozenset({ProofKind.BOOT, ProofKind.RESTORE}),
    ProofKind.RESTORE: frozenset({ProofKind.RESTORE}),
}
_TURNS: dict[ProofKind, Path] = {
    ProofKind.DIGESTS: ("verification", "digests"),
    ProofKind.FILE_SYSTEMS: ("verification", "file_systems"),
    ProofKind.BOOT: ("verification", "boot", "turn"),
}
_HALF_A_DAY = timedelta(hours=12)


class MalwareScan(StrEnum):
    """The files of a new point that are scanned for malware."""

    NONE = "none"
    CHANGED = "changed"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootRules:
    """The boot test of a policy."""

    turn: timedelta | None = None
    """The age of a VM's last boot test from which its next point is booted; ``None``: never."""
    seconds: int = 600
    """The longest wait for a sign that the system is up."""
    wait_for: tuple[str, ...] = ("login", "screen")
    """The signs: ``login``, ``screen``, or a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The checks of new points. A turn is the age of a VM's last check of that kind from which it is done again."""

    file_systems: timedelta | None = None
    """The turn of the look at partition tables, volume groups and file systems; ``None``: never."""
    digests: timedelta | None = None
    """The turn of reading back every block; ``None``: never."""
    boot: BootRules = BootRules()
    file_index: bool = False
    """Whether the names of all files of a new point are kept with it."""
    malware: MalwareScan = MalwareScan.NONE
    proved_within: timedelta | None = None
    """The age from which a VM's last proof is an alarm; ``None``: no age is."""
    proved_by: ProofKind = ProofKind.BOOT
    """The least proof that counts for that."""

    @property
    def checks(self) -> bool:
        """Whether a new point is checked or its files are listed. A scan for malware has a DAG of its own."""
        return self.file_index or any(turn is not None for turn in (self.file_systems, self.digests, self.boot.turn))

    @property
    def counting(self) -> frozenset[ProofKind]:
        """The kinds of proofs that count for ``proved_within``."""
        return _COUNT[self.proved_by]


def parse_turn(text: str) -> timedelta | None:
    """Return the turn of a check from ``never``, ``always`` or a length of time."""
    if text == "never":
        return None
    return ALWAYS if text == "always" else parse_duration(text)


def turns_for(proved_by: ProofKind) -> tuple[Path, ...]:
    """Return the fields whose checks leave proofs that count, by the least proof that counts."""
    return tuple(path for kind, path in _TURNS.items() if kind in _COUNT[proved_by])


def over_by(turn: timedelta) -> timedelta:
    """Return the age of a proof by which the next check of its turn has ended.

    A check begins after the first backup that comes when its turn is over, and takes its time.
    """
    return turn + early_by(turn)


def early_by(turn: timedelta) -> timedelta:
    """Return the time before the end of a turn from which a check is due, because the last one ended late."""
    return min(turn / 2, _HALF_A_DAY)


def span_words(span: timedelta) -> str:
    """Return the least number of days or hours that is not shorter, as a policy says it."""
    days = ceil(span / timedelta(days=1))
    return f"{days}d" if span > timedelta(days=1) else f"{ceil(span / timedelta(hours=1))}h"


def verification_of(settled: Mapping[str, Any], parsed: Mapping[Path, Any]) -> Verification:
    """Return the checks that a policy's field ``verification`` asks for.

    :param settled: the field with its defaults.
    :param parsed: the parsed texts, by their path from the policy.
    """
    boot = settled["boot"]
    return Verification(
        file_systems=parsed.get(("verification", "file_systems")),
        digests=parsed.get(("verification", "digests")),
        boot=BootRules(
            turn=parsed.get(("verification", "boot", "turn")),
            seconds=int(boot["seconds"]),
            wait_for=tuple(boot["wait_for"]),
        ),
        file_index=settled["file_index"],
        malware=MalwareScan(settled["malware"]),
        proved_within=parsed.get(("verification", "proved_within")),
        proved_by=ProofKind(settled["proved_by"]),
    )
