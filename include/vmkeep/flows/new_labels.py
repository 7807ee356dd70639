"""Gives a new VM the tags and the custom attributes of the saved one, where the vCenter knows them by name.

Nothing is made that is not there: neither a tag, nor a category, nor an attribute. The plan names all that is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from vmkeep.errors import VmKeepError
from vmkeep.flows.plan_basis import PlanBasis
from vmkeep.flows.restore_saved import SavedVm
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.lateclass import dataclass
from vmkeep.model.purpose import Purpose
from vmkeep.model.references import NamedTag
from vmkeep.vsphere import attributes, rightscheck, vmtags
from vmkeep.vsphere.create import Place
from vmkeep.vsphere.rights import On, When
from vmkeep.vsphere.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The tags and custom attributes of a new VM."""

    tags: tuple[NamedTag, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    """One sentence for all of the saved ones that the new VM does not get for one reason."""


def choose_labels(basis: PlanBasis, saved: SavedVm, place: Place) -> Labels:
    """Return the saved tags and attributes that a new VM gets."""
    kept = saved.origin.references
    notes: list[str] = []
    tags = _tags(basis, kept.tags, notes) if kept.tags else ()
    attribute_values = _attributes(basis.session, place, kept.attributes, notes) if kept.attributes else ()
    return Labels(tags=tags, attributes=attribute_values, notes=tuple(notes))


def apply_labels(session: Session, plan: RestorePlan, moref: str) -> Iterator[str]:
    """Give a new VM what its plan says. Yield a warning for what fails, because the VM is restored without it, too."""
    if plan.attributes:
        told = _told_attributes(plan.attributes)
        yield from _tried(told, lambda: attributes.set_attributes(session, moref, plan.attributes))
    if plan.tags:
        yield from _tried(_told_tags(plan.tags), lambda: vmtags.attach_tags(session, moref, plan.tags))


def _tried(told: str, act: Callable[[], None]) -> Iterator[str]:
    try:
        act()
    except VmKeepError as error:
        yield f"{told} may be missing: {error}; see to it in vCenter"


def _tags(basis: PlanBasis, saved: tuple[NamedTag, ...], notes: list[str]) -> tuple[NamedTag, ...]:
    if basis.request.new_vm.drill:
        notes.append(f"{_told_tags(saved)} are not attached, because a policy could choose the VM of a drill by them")
        return ()
    session = basis.session
    if not session.is_vcenter:
        notes.append(f"{_told_tags(saved)} are not attached, because an ESXi host without vCenter knows no tags")
        return ()
    try:
        known = vmtags.find_tags(session, saved)
        lacking = rightscheck.missing_when(
            session, Purpose.RESTORE_NEW, When.TAGS, {On.ROOT: session.content.rootFolder}
        )
    except VmKeepError as error:
        notes.append(f"{_told_tags(saved)} are not attached, because they cannot be looked for: {error}")
        return ()
    if lacking:
        notes.append(f"{_told_tags(saved)} are not attached, because the user lacks {', '.join(lacking)}")
        return ()
    if missing := tuple(tag for tag in saved if tag not in known):
        notes.append(f"{_told_tags(missing)} are not attached, because {session.host} does not have them: make them")
    return tuple(tag for tag in saved if tag in known)


def _attributes(
    session: Session, place: Place, saved: tuple[tuple[str, str], ...], notes: list[str]
) -> tuple[tuple[str, str], ...]:
    try:
        known = attributes.known_attributes(session)
        lacking = rightscheck.missing_on_folder(session, place.folder, Purpose.RESTORE_NEW, When.ATTRIBUTES)
    except VmKeepError as error:
        notes.append(f"{_told_attributes(saved)} are not set, because they cannot be looked for: {error}")
        return ()
    missing = tuple(pair for pair in saved if pair[0] not in known)
    if missing:
        notes.append(f"{_told_attributes(missing)} are not set, because {session.host} does not have them for VMs")
    found = tuple(pair for pair in saved if pair not in missing)
    if found and lacking:
        notes.append(f"{_told_attributes(found)} are not set, because the user lacks {', '.join(lacking)}")
        return ()
    return found


def _told_tags(tags: Iterable[NamedTag]) -> str:
    return "tags " + ", ".join(f"'{tag}'" for tag in tags)


def _told_attributes(pairs: Iterable[tuple[str, str]]) -> str:
    return "custom attributes " + ", ".join(f"'{name}' = '{value}'" for name, value in pairs)
