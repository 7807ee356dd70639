"""Makes a policy of a document, or lists all faults of the document.

The schema checks the form of each value. This module checks all that a schema cannot know: a time zone that does not
exist, a selector that cannot be parsed, a range of dates that ends before it begins.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from datetime import date, time
from typing import Any, TypeVar
from zoneinfo import available_timezones

from vmkeep.documents import Document, Fault, Path, dotted, faults_by
from vmkeep.errors import SelectorError, UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.diskrule import parse_disk_rule
from vmkeep.model.exports import ImageFormat
from vmkeep.model.guest import GuestCommands, commands_from
from vmkeep.model.overwrite import Verify
from vmkeep.model.point import BackupMode
from vmkeep.model.proofs import ProofKind
from vmkeep.model.sizes import parse_size
from vmkeep.model.transport import TransportMode
from vmkeep.policy.schema import POLICY
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
from vmkeep.policy.verification import over_by, parse_turn, span_words, turns_for, verification_of
from vmkeep.policy.window import Blackout, Weekday, Window
from vmkeep.retention import make_rule, parse_duration, parse_zone
from vmkeep.selection import parse_selector

T = TypeVar("T")
_DISK_RULES = ("include", "exclude", "read_luns")
"""The lists of descriptions of disks."""
_NO_PLACES = ("localtime", "posixrules", "Factory", "posix/", "right/")
"""Names in a machine's database that are not IANA's. They mean something else on each machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The result of building a policy from a document."""

    policy: Policy | None
    """The policy; ``None``: the document has faults."""
    settled: Mapping[str, Any]
    """Every field with its value, also those that the document leaves to the defaults."""
    faults: tuple[Fault, ...]


def build(document: Document, *, name: str) -> Built:
    """Make the policy that a document describes.

    :param name: the name that it has to have, because its file has it.
    """
    builder = _Builder(document, name)
    return builder.build()


class _Builder:
    def __init__(self, document: Document, name: str) -> None:
        self._document = document
        self._name = name
        self._faults = list(document.faults)
        self._wrong: list[Path] = []

    def build(self) -> Built:
        """Check everything, and make a policy if there is no fault."""
        data = self._document.data
        if data is None and self._document.faults:
            return Built(policy=None, settled={}, faults=self._sorted())
        for path, fault in faults_by(POLICY, self._document):
            self._faults.append(fault)
            self._wrong.append(path)
        if not isinstance(data, dict):
            return Built(policy=None, settled={}, faults=self._sorted())
        parsed = self._parsed(data)
        if self._faults:
            return Built(policy=None, settled={}, faults=self._sorted())
        settled = POLICY.completed(data)
        return Built(policy=_policy(settled, parsed), settled=settled, faults=())

    def _sorted(self) -> tuple[Fault, ...]:
        return tuple(sorted(dict.fromkeys(self._faults)))

    def _parsed(self, data: Mapping[str, Any]) -> dict[Path, Any]:
        """Parse every text that the schema cannot check."""
        parsed: dict[Path, Any] = {}
        for path, text in self._document.texts.items():
            reader = _READERS.get(tuple(step for step in path if isinstance(step, str)))
            if reader is not None and self._is_sound(path):
                parsed[path] = self._read(path, reader, text.value)
        if self._is_sound(("name",)) and "name" in data and data["name"] != self._name:
            self._refuse(
                ("name",),
                f"name: '{data['name']}' is not the name of this file: write name: {self._name}, or rename the file to "
                f"{data['name']}.yaml, because no two policies may have one name",
            )
        self._refuse_places_twice(data)
        self._refuse_two_severities(data)
        self._refuse_too_young_proofs(data, parsed)
        return parsed

    def _refuse_too_young_proofs(self, data: Mapping[str, Any], parsed: Mapping[Path, Any]) -> None:
        """Refuse an age of proofs that is over before the next check of its turn has ended."""
        path = ("verification", "proved_within")
        within = parsed.get(path) if self._is_sound(("verification",)) else None
        if within is None:
            return
        proved_by = ProofKind(data["verification"].get("proved_by", ProofKind.BOOT))
        late = {
            turn_path: over_by(turn)
            for turn_path in turns_for(proved_by)
            if (turn := parsed.get(turn_path)) is not None
        }
        if late and within < min(late.values()):
            turn_path = min(late, key=lambda each: late[each])
            self._refuse(
                path,
                f"{dotted(path)}: each turn of {dotted(turn_path)} would be an alarm before its check has ended: write "
                f"at least {span_words(min(late.values()))}",
            )

    def _refuse_two_severities(self, data: Mapping[str, Any]) -> None:
        """Refuse an expectation that is to fail and to warn."""
        given = data.get("quality", {}) if self._is_sound(("quality",)) else {}
        for index, one in enumerate(given.get("warn", ())):
            if one in given.get("fail", ()):
                path = ("quality", "warn", index)
                self._refuse(path, f"{dotted(path)}: '{one}' stands in quality.fail, too: leave it in one of them")

    def _refuse_places_twice(self, data: Mapping[str, Any]) -> None:
        """Refuse a second export to one place, because it would replace the files of the first."""
        seen: set[str] = set()
        for index, given in enumerate(data.get("exports", ()) if self._is_sound(("exports",)) else ()):
            path, place = ("exports", index, "out"), given["out"].rstrip("/")
            if place in seen:
                self._refuse(
                    path,
                    f"{dotted(path)}: '{given['out']}' gets another export of this policy, and each would replace the "
                    "files of the other: write another folder or prefix",
                )
            seen.add(place)

    def _is_sound(self, path: Path) -> bool:
        """Return whether the schema accepts a value, all parts of it, and all values around it."""
        return not any(wrong[: len(path)] == path[: len(wrong)] for wrong in self._wrong)

    def _read(self, path: Path, read: Callable[[Any], T], value: Any) -> T | None:
        try:
            return read(value)
        except SelectorError as error:
            place = self._document.place_within(path, error.at)
            self._faults.append(Fault(place=place, message=f"{dotted(path)}: {error.why}"))
        except UsageError as error:
            self._refuse(path, f"{dotted(path)}: {error}")
        return None

    def _refuse(self, path: Path, message: str) -> None:
        self._faults.append(Fault(place=self._document.place(path), message=message))


def _time(text: str) -> time:
    return time.min if text == "24:00" else time.fromisoformat(text)


def _zone(name: str) -> Any:
    if name.startswith(_NO_PLACES):
        raise UsageError(f"'{name}' means another time zone on each machine; write it as in Europe/Berlin")
    try:
        return parse_zone(name)
    except UsageError as error:
        near = difflib.get_close_matches(name, available_timezones(), n=1)
        raise UsageError(f"{error}; did you mean '{near[0]}'?" if near else str(error)) from error


def _blackout(text: str) -> Blackout:
    first, _, last = text.partition(" to ")
    blackout = Blackout(first=_date(first), last=_date(last or first))
    if blackout.last < blackout.first:
        raise UsageError(f"'{text}' ends before it begins")
    return blackout


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"there is no day {text}") from error


def _size(text: str) -> int:
    found = parse_size(text)
    assert found is not None, "the schema lets nothing else through"
    return found


def _glob(prefix: str, field: str) -> Callable[[str], str]:
    """Return the reader of a pattern of names, which has to survive the way to ``vm_backup`` as a text."""

    def read(text: str) -> str:
        if not text.strip() or getattr(parse_disk_rule(f"{prefix}{text}"), field) != text:
            raise UsageError(f"'{text}' begins or ends with a blank, or has an & before another rule")
        return text

    return read


_READERS: dict[tuple[str, ...], Callable[[str], Any]] = {
    ("selection",): parse_selector,
    ("exclusions",): parse_selector,
    ("window", "start"): _time,
    ("window", "end"): _time,
    ("window", "time_zone"): _zone,
    ("window", "blackout"): _blackout,
    ("retention", "within"): parse_duration,
    ("max_age",): parse_duration,
    ("verification", "file_systems"): parse_turn,
    ("verification", "digests"): parse_turn,
    ("verification", "boot", "turn"): parse_turn,
    ("verification", "proved_within"): parse_duration,
    ("quality", "snapshots_within"): parse_duration,
    **{("disks", rule, size): _size for rule in _DISK_RULES for size in ("larger_than", "smaller_than")},
    **{("disks", rule, "label"): _glob("label:", "label") for rule in _DISK_RULES},
    **{("disks", rule, "datastore"): _glob("datastore:", "datastore") for rule in _DISK_RULES},
}
"""The readers of texts, by the keys that lead to them."""


def _policy(settled: Mapping[str, Any], parsed: Mapping[Path, Any]) -> Policy:
    window = settled["window"]
    return Policy(
        name=settled["name"],
        description=settled["description"],
        owner=settled["owner"],
        vsphere=settled["vsphere"],
        selection=parsed["selection",],
        exclusions=_each(parsed, "exclusions"),
        priority=int(settled["priority"]),
        window=Window(
            start=parsed["window", "start"],
            end=parsed["window", "end"],
            zone=parsed["window", "time_zone"],
            days=frozenset(map(Weekday, window["days"])),
            blackouts=_each(parsed, "window", "blackout"),
        ),
        at_end=AtEnd(window["at_end"]),
        catch_up=window["catch_up"],
        mode=BackupMode(settled["mode"]),
        quiesce=QuiesceWish(settled["quiesce"]),
        guest=_guest(settled.get("guest")),
        transports=tuple(map(TransportMode, settled["transports"])),
        disks=_disk_rules(settled["disks"], parsed),
        repository=settled["repository"]["connection"],
        copies=tuple(settled["repository"]["copies"]),
        exports=tuple(_export(given, index) for index, given in enumerate(settled["exports"])),
        retention=make_rule(settled["retention"]),
        max_age=parsed.get(("max_age",)),
        sample=float(settled["verification"]["sample"]),
        audit=float(settled["verification"]["audit"]),
        verification=verification_of(settled["verification"], parsed),
        backups_at_once=int(settled["limits"]["backups_at_once"]),
        quality=QualityWishes(
            fail=frozenset(settled["quality"]["fail"]),
            warn=frozenset(settled["quality"]["warn"]),
            snapshots_within=parse_duration(settled["quality"]["snapshots_within"]),
        ),
        notifications=Notifications(
            when=NotifyWhen(settled["notifications"]["when"]),
            to=tuple(settled["notifications"]["to"]),
            notifiers=tuple(settled["notifications"]["notifiers"]),
        ),
    )


def _each(parsed: Mapping[Path, Any], *keys: str) -> tuple[Any, ...]:
    return tuple(value for path, value in parsed.items() if path[:-1] == keys)


def _export(given: Mapping[str, Any], index: int) -> PolicyExport:
    settled = POLICY.completed(given, at=("exports", index))
    return PolicyExport(out=settled["out"], format=ImageFormat(settled["format"]), verify=Verify(settled["verify"]))


def _guest(guest: Mapping[str, Any] | None) -> GuestCommands | None:
    if guest is None:
        return None
    return commands_from(
        freeze=guest.get("pre_freeze"),
        thaw=guest["post_thaw"],
        login=guest["connection"],
        seconds=float(guest["seconds"]),
        failure=guest["freeze_failure"],
    )


def _disk_rules(disks: Mapping[str, Any], parsed: Mapping[Path, Any]) -> DiskRules:
    def patterns(rule: str) -> tuple[DiskPattern, ...]:
        return tuple(
            DiskPattern(**{key: parsed.get(("disks", rule, index, key), value) for key, value in given.items()})
            for index, given in enumerate(disks[rule])
        )

    return DiskRules(
        include=patterns("include"),
        exclude=patterns("exclude"),
        read_luns=patterns("read_luns"),
        skipped_is_failure=disks["skipped_is_failure"],
    )
