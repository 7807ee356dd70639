"""Finds the VMs that have the tags of a selector.

A tag belongs to a category, and only its id leads to its name. So the categories are read first, then the tags of the
fitting ones, and then the VMs of all wanted tags at once. The number of calls grows with the tags, not with the VMs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

from vmkeep.errors import NotFoundError, VSphereError
from vmkeep.selection import NameTest, tag_tests
from vmkeep.vsphere.automation import Automation, open_automation
from vmkeep.vsphere.session import Session

TAGS_PER_CALL = 100
CATEGORY, TAG, ASSOCIATION = "tagging/category", "tagging/tag", "tagging/tag-association"

Tag = tuple[str, str]
"""The names of a category and of a tag in it."""


def read_tags(session: Session, patterns: Collection[str]) -> dict[str, frozenset[Tag]]:
    """Return the wanted tags of each VM that has any, by managed object id.

    A category or tag that the user may not read counts as missing, because vCenter lists only the others.

    :param patterns: values of ``tag:`` conditions.
    :raises VmKeepError: the vCenter does not answer, or refuses.
    """
    tests = [tag_tests(pattern) for pattern in patterns]
    with open_automation(session) as automation:
        try:
            with suppress(NotFoundError):
                return _attached(automation, dict(_wanted(automation, tests)))
            # A tag was deleted between two calls, so the list of tags is read once more.
            return _attached(automation, dict(_wanted(automation, tests)))
        except (AttributeError, KeyError, TypeError) as error:
            raise VSphereError(f"read the tags of {session.host}: the answer makes no sense ({error!r})") from error


def _wanted(automation: Automation, tests: Collection[tuple[NameTest, NameTest]]) -> Iterator[tuple[str, Tag]]:
    """Yield the id of each tag that fits a pattern, with its names."""
    for category, named in _each(automation, CATEGORY, automation.get(CATEGORY) or ()):
        of_tag = [test for of_category, test in tests if of_category(named)]
        if not of_tag:
            continue
        for tag, name in _each(automation, TAG, tags_of(automation, category)):
            if any(test(name) for test in of_tag):
                yield tag, (named, name)


def tags_of(automation: Automation, category: str) -> Any:
    """Return the ids of a category's tags."""
    key = category if automation.dialect.wrapped else None
    with suppress(NotFoundError):  # somebody has just deleted the category
        return automation.act(TAG, "list-tags-for-category", {"category_id": category}, key=key) or ()
    return ()


def _each(automation: Automation, service: str, ids: Any) -> Iterator[tuple[str, str]]:
    """Yield the id and the name of each category or tag that is still there."""
    for key in ids:
        with suppress(NotFoundError):
            yield key, automation.get(service, key)["name"]


def _attached(automation: Automation, wanted: Mapping[str, Tag]) -> dict[str, frozenset[Tag]]:
    found: dict[str, set[Tag]] = {}
    ids = list(wanted)
    for start in range(0, len(ids), TAGS_PER_CALL):
        body = {"tag_ids": ids[start : start + TAGS_PER_CALL]}
        for row in automation.act(ASSOCIATION, "list-attached-objects-on-tags", body) or ():
            for thing in row["object_ids"]:
                if thing["type"] == "VirtualMachine":
                    found.setdefault(thing["id"], set()).add(wanted[row["tag_id"]])
    return {vm: frozenset(tags) for vm, tags in found.items()}
