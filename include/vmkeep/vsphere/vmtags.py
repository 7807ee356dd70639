"""Reads the tags of one VM, finds tags by their names, and attaches them to a VM.

The id of a tag means nothing in another vCenter, so that a tag is known by its name and the name of its category.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress

from vmkeep.errors import NotFoundError, UnsupportedError, VSphereError
from vmkeep.model.references import NamedTag
from vmkeep.vsphere.automation import Automation, open_automation
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tags import ASSOCIATION, CATEGORY, TAG, tags_of


def read_vm_tags(session: Session, moref: str) -> tuple[NamedTag, ...]:
    """Return the tags of a VM. An ESXi host, and a server without the Automation API, know none.

    :raises VmKeepError: the vCenter does not answer, or refuses.
    """
    if not session.is_vcenter:
        return ()
    try:
        with _understanding(session, f"read the tags of VM {moref}") as automation:
            ids = automation.act(ASSOCIATION, "list-attached-tags", {"object_id": _vm(moref)}) or ()
            categories: dict[str, str] = {}
            return tuple(sorted(_named(automation, ids, categories)))
    except UnsupportedError:
        return ()


def find_tags(session: Session, wanted: Iterable[NamedTag]) -> Mapping[NamedTag, str]:
    """Return the ids of those tags that exist in a vCenter, by their names.

    :raises VmKeepError: the vCenter does not answer, or refuses.
    """
    with _understanding(session, f"look for tags on {session.host}") as automation:
        return dict(_known(automation, set(wanted)))


def attach_tags(session: Session, moref: str, tags: Iterable[NamedTag]) -> None:
    """Attach tags to a VM. One that it has already stays.

    :raises NotFoundError: a tag is not there any more.
    :raises VmKeepError: the vCenter does not answer, or refuses.
    """
    listed = list(tags)
    with _understanding(session, f"attach tags to VM {moref}") as automation:
        ids = dict(_known(automation, set(listed)))
        if gone := [str(tag) for tag in listed if tag not in ids]:
            raise NotFoundError(f"{session.host} has no tag {', '.join(gone)} any more")
        for tag in listed:
            automation.act(ASSOCIATION, "attach", {"object_id": _vm(moref)}, key=ids[tag])


def _known(automation: Automation, wanted: Collection[NamedTag]) -> Iterator[tuple[NamedTag, str]]:
    """Yield each wanted tag that exists, with its id. Only the categories of wanted tags are looked into."""
    categories = {tag.category for tag in wanted}
    for category in automation.get(CATEGORY) or ():
        with suppress(NotFoundError):  # somebody has just deleted it
            if (named := str(automation.get(CATEGORY, category)["name"])) in categories:
                yield from _known_in(automation, category, named, wanted)


def _known_in(
    automation: Automation, category: str, named: str, wanted: Collection[NamedTag]
) -> Iterator[tuple[NamedTag, str]]:
    for key in tags_of(automation, category):
        with suppress(NotFoundError):
            tag = NamedTag(category=named, name=str(automation.get(TAG, key)["name"]))
            if tag in wanted:
                yield tag, key


def _named(automation: Automation, ids: Iterable[str], categories: dict[str, str]) -> Iterator[NamedTag]:
    for tag in ids:
        with suppress(NotFoundError):  # somebody has just deleted it
            row = automation.get(TAG, tag)
            category = row["category_id"]
            if category not in categories:
                categories[category] = str(automation.get(CATEGORY, category)["name"])
            yield NamedTag(category=categories[category], name=str(row["name"]))


def _vm(moref: str) -> dict[str, str]:
    return {"type": "VirtualMachine", "id": moref}


@contextmanager
def _understanding(session: Session, what: str) -> Iterator[Automation]:
    """Open the Automation API, and turn answers that make no sense into our errors."""
    with open_automation(session) as automation:
        try:
            yield automation
        except (AttributeError, KeyError, TypeError) as error:
            raise VSphereError(f"{what}: the answer makes no sense ({error!r})") from error
