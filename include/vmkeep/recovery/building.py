"""Makes a plan of a document, or lists all faults of the document.

The schema checks the form of each value. This module checks all that a schema cannot know: a selector that cannot be
parsed, or that asks what no restore point tells; a time without a zone; two groups of one name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time
from typing import Any, TypeVar
from urllib.parse import urlsplit

from vmkeep.documents import Document, Fault, Path, Schema, dotted, faults_by
from vmkeep.errors import SelectorError, UsageError
from vmkeep.policy import Weekday, Window
from vmkeep.recovery.moments import EXAMPLE, parse_moment
from vmkeep.recovery.values import (
    DrillRules,
    GuestProbe,
    OnFailure,
    PointRule,
    PowerWish,
    Probes,
    RecoveryGroup,
    RecoveryPlan,
    TargetPlace,
)
from vmkeep.retention import parse_duration, parse_zone
from vmkeep.selection import Kind, Selector, conditions, parse_selector

PLAN = Schema(__package__, "plan.schema.json", kind="a plan", example="name: site-a")
ANSWERED = (
    Kind.NAME, Kind.NAME_REGEX, Kind.IPADDR, Kind.UUID, Kind.MOREF, Kind.FOLDER, Kind.ANY, Kind.NONE,
)  # fmt: skip
"""The kinds of conditions that restore points answer."""
EVERY_GROUP = "all"
"""The word that approves all groups of a plan beforehand, so that no group has it for its name."""
T = TypeVar("T")
_Point = tuple[PointRule, datetime | None]


def build(document: Document, *, name: str | None) -> tuple[RecoveryPlan | None, tuple[Fault, ...]]:
    """Make the plan that a document describes; ``None``: the document has the faults that are returned with it.

    :param name: the name that it has to have, because its file has it; ``None``: any.
    """
    builder = _Builder(document)
    plan = builder.build(name)
    return (None if builder.faults else plan), tuple(sorted(dict.fromkeys(builder.faults)))


class _Builder:
    def __init__(self, document: Document) -> None:
        self._document = document
        self.faults = list(document.faults)

    def build(self, name: str | None) -> RecoveryPlan | None:
        """Check everything, and make a plan if the form of the document is right."""
        data = self._document.data
        if data is None and self.faults:
            return None
        self.faults += [fault for _, fault in faults_by(PLAN, self._document)]
        if self.faults or not isinstance(data, dict):
            return None
        if name is not None and data["name"] != name:
            self._refuse(
                ("name",),
                f"name: '{data['name']}' is not the name of this file: write name: {name}, or rename the file to "
                f"{data['name']}.yaml",
            )
        self._refuse_double_names(data["groups"])
        return self._plan(PLAN.completed(data))

    def _refuse_double_names(self, groups: list[Mapping[str, Any]]) -> None:
        first: dict[str, int] = {}
        for index, group in enumerate(groups):
            if group["name"] == EVERY_GROUP:
                self._refuse(
                    ("groups", index, "name"),
                    f"groups[{index + 1}].name: '{EVERY_GROUP}' stands for every group where groups are approved: "
                    "choose another name",
                )
            at = first.setdefault(group["name"], index)
            if at != index:
                line = self._document.place(("groups", at, "name")).line
                self._refuse(
                    ("groups", index, "name"),
                    f"groups[{index + 1}].name: '{group['name']}' is the name of another group, in line {line}",
                )

    def _plan(self, data: Mapping[str, Any]) -> RecoveryPlan:
        common = data.get("target", {})
        groups = [
            self._group(PLAN.completed(group, at=("groups", index)), ("groups", index), common)
            for index, group in enumerate(data["groups"])
        ]
        return RecoveryPlan(
            name=data["name"],
            description=data["description"],
            groups=tuple(groups),
            drill=self._drill(PLAN.completed(data["drill"], at=("drill",))) if "drill" in data else None,
        )

    def _drill(self, drill: Mapping[str, Any]) -> DrillRules:
        within = drill.get("proved_within")
        return DrillRules(
            network=drill["network"],
            rename=drill["rename"],
            folder=drill.get("folder"),
            resource_pool=drill.get("resource_pool"),
            schedule=self._schedule(drill["schedule"]) if "schedule" in drill else None,
            proved_within=None if within is None else self._read(("drill", "proved_within"), parse_duration, within),
            vsphere=drill["vsphere"],
            repository=drill["repository"],
        )

    def _schedule(self, schedule: Mapping[str, Any]) -> Window:
        """Return a schedule as a window, because a drill that was missed in an outage is made up for likewise."""
        given = PLAN.completed(schedule, at=("drill", "schedule"))
        start = time.fromisoformat(given["start"])
        zone = self._read(("drill", "schedule", "time_zone"), parse_zone, given["time_zone"]) or UTC
        return Window(start=start, end=start, zone=zone, days=frozenset(map(Weekday, given["days"])))

    def _group(self, group: Mapping[str, Any], at: Path, common: Mapping[str, Any]) -> RecoveryGroup:
        point = self._read((*at, "point"), _point, group["point"]) or (PointRule.LATEST, None)
        return RecoveryGroup(
            name=group["name"],
            selection=self._selector((*at, "selection"), group["selection"]),
            exclusions=tuple(
                self._selector((*at, "exclusions", index), text) for index, text in enumerate(group["exclusions"])
            ),
            policies=tuple(group["policies"]),
            vcenter=group.get("vcenter"),
            point=point[0],
            not_after=point[1],
            target=_target(group.get("target", {}), common),
            rename=group["rename"],
            power=PowerWish(group["power"]),
            at_once=int(group["at_once"]),
            boot_delay=float(group["boot_delay"]),
            probes=self._probes(group["probes"], (*at, "probes")),
            approval=group["approval"],
            on_failure=OnFailure(group["on_failure"]),
        )

    def _probes(self, given: Mapping[str, Any], at: Path) -> Probes:
        """Return the probes of a group. The fields that the file leaves out have the defaults of the schema."""
        guest = given.get("guest")
        urls = [self._read((*at, "http", index), _url, text) for index, text in enumerate(given["http"])]
        return Probes(
            tools=given["tools"],
            tcp=tuple(int(port) for port in given["tcp"]),
            http=tuple(url for url in urls if url is not None),
            guest=GuestProbe(command=guest["command"], login=guest["connection"]) if guest else None,
            within=float(given["within"]),
        )

    def _selector(self, path: Path, text: str) -> Selector:
        def read(given: str) -> Selector:
            selector = parse_selector(given)
            _require_answered(selector)
            return selector

        return self._read(path, read, text) or parse_selector("none:")

    def _read(self, path: Path, read: Callable[[str], T], text: str) -> T | None:
        try:
            return read(text)
        except SelectorError as error:
            place = self._document.place_within(path, error.at)
            self.faults.append(Fault(place=place, message=f"{dotted(path)}: {error.why}"))
        except UsageError as error:
            self._refuse(path, f"{dotted(path)}: {error}")
        return None

    def _refuse(self, path: Path, message: str) -> None:
        self.faults.append(Fault(place=self._document.place(path), message=message))


def _require_answered(selector: Selector) -> None:
    """Return if restore points tell everything that a selector asks.

    :raises UsageError: they do not, so that the selector would leave VMs out silently.
    """
    for condition in conditions(selector):
        if condition.kind not in ANSWERED:
            raise UsageError(
                f"restore points do not tell what {condition.kind}: asks; choose by {', '.join(ANSWERED[:-2])}, or by "
                "the field policies"
            )


def _point(text: str) -> _Point:
    if text in tuple(PointRule):
        return PointRule(text), None
    if not text[:1].isdigit():
        raise UsageError(f"'{text}' is neither {' nor '.join(PointRule)} nor a time such as {EXAMPLE}")
    return PointRule.LATEST, parse_moment(text)


def _target(own: Mapping[str, Any], common: Mapping[str, Any]) -> TargetPlace:
    """Return a group's place: each field is its own, or the plan's."""
    given = {**common, **own}
    return TargetPlace(
        folder=given.get("folder"),
        resource_pool=given.get("resource_pool"),
        host=given.get("host"),
        datastore=given.get("datastore"),
        datastores=tuple(given.get("datastores", ())),
        networks=tuple(given.get("networks", ())),
    )


def _url(text: str) -> str:
    """Return a URL that a probe can ask. A URL without a host would ask the machine that runs the plan.

    :raises UsageError: it cannot be asked.
    """
    filled = text.replace("{address}", "192.0.2.1")
    try:
        parts = urlsplit(filled)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise UsageError(f"'{text}' is no URL: {error}") from error
    if not named:
        raise UsageError(f"'{text}' names no host or no port that can be asked; {{address}} is the guest's address")
    if {"{", "}"} & set(filled):
        raise UsageError(f"'{text}' has braces that nothing is filled in for; {{address}} is the guest's address")
    return text
