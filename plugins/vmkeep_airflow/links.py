"""Buttons on a task's page in Airflow that lead to the pages of its VM and of its restore point.

Airflow asks for the link in the worker, when the task has ended, and keeps the answer as an XCom. So a link is made of
values that the task has at hand: its result and its templated fields. A link that cannot be made is empty, and Airflow
shows its button in grey. Each link of each task is a request to Airflow's API server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink

from vmkeep_airflow.xcoms import mappings_in

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

_REF = re.compile(r"(?P<vm>[^/\s]+)/\d{8}T\d{6}Z-(?P<id>[^/\s]+)")
"""The ref of a restore point."""


class VmLink(BaseOperatorLink):
    """The button that leads to the page of the VM that was backed up."""

    name = "VM"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address of the VM's page; empty: the VM is not known.

        :param ti_key: Airflow passes the running task instance here.
        """
        for value in _values(operator):
            if key := _vm_in(value):
                return page_of_vm(key)
        return ""


class PointLink(BaseOperatorLink):
    """The button that leads to the page of the restore point."""

    name = "Restore point"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address of the point's page; empty: there is no point, or none yet.

        :param ti_key: Airflow passes the running task instance here.
        """
        for value in _values(operator):
            if ref := _ref_in(value):
                return page_of_point(ref)
        return ""


TO_VM = (VmLink(),)
"""For tasks that work on a VM before there is a restore point."""
TO_VM_AND_POINT = (VmLink(), PointLink())
"""For tasks that work on a restore point."""


def page_of_vm(key: str) -> str:
    """Return the address of a VM's page on the server of Airflow's pages.

    :param key: the VM's key in the repository.
    """
    return f"{_root()}/vmkeep/vms/{quote(key, safe='')}"


def page_of_point(ref: str) -> str:
    """Return the address of a restore point's page; empty: these words are no ref of a point."""
    point_id = point_id_of(ref)
    return f"{_root()}/vmkeep/points/{quote(point_id, safe='')}" if point_id else ""


def point_id_of(ref: str) -> str:
    """Return the id of the point that a ref names; empty: these words are no ref of a point."""
    found = _REF.fullmatch(ref)
    return found["id"] if found else ""


def page_of_fleet() -> str:
    """Return the address of the page that lists all VMs, and leads to the points of each."""
    return f"{_root()}/vmkeep/fleet"


def _root() -> str:
    """Return the path under which Airflow's pages are served; empty: at the root of the server."""
    from airflow.configuration import conf

    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


def _values(operator: BaseOperator) -> Iterator[Any]:
    """Yield the values that may tell the VM and the point. None is asked for, because that costs a request each."""
    yield getattr(operator, "result", None)
    for field in operator.template_fields:
        yield getattr(operator, field, None)


def _vm_in(value: Any) -> str:
    if ref := _ref_in(value):
        return ref.partition("/")[0]
    return next((str(each["key"]) for each in mappings_in(value) if {"key", "instance_uuid"} <= each.keys()), "")


def _ref_in(value: Any) -> str:
    for each in mappings_in(value):
        ref = each.get("point")
        if isinstance(ref, str) and _REF.fullmatch(ref):
            return ref
    return ""
