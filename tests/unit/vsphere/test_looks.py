"""A look answers exactly what it brought, and never for another object, session or thread."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from vmkeep.vsphere import looks
from vmkeep.vsphere.api import vim

VM = vim.VirtualMachine("vm-1")
HOME = object()
CONFIG = SimpleNamespace(version="vmx-19", files=SimpleNamespace(vmPathName="[a] b.vmx"), managedBy=None)


@pytest.fixture
def looking():
    known = {"vm-1": {"name": "web01", "config": CONFIG, "guest": None}}
    with looks.looking(looks.Look(session=HOME, objects=known)):
        yield


@pytest.mark.usefixtures("looking")
def test_parts_of_a_property_are_known_with_the_whole():
    paths = ["name", "config.files.vmPathName", "config.managedBy"]

    assert looks.seen(HOME, VM, paths) == {
        "name": "web01", "config.files.vmPathName": "[a] b.vmx", "config.managedBy": None,
    }  # fmt: skip


@pytest.mark.usefixtures("looking")
def test_a_part_of_an_unset_property_is_unset():
    assert looks.seen(HOME, VM, ["guest.net"]) == {"guest.net": None}


@pytest.mark.usefixtures("looking")
@pytest.mark.parametrize(
    ("session", "managed", "paths"),
    [
        (HOME, VM, ["name", "runtime"]),
        (HOME, VM, ["config.unheard"]),
        (HOME, vim.VirtualMachine("vm-2"), ["name"]),
        (object(), VM, ["name"]),
    ],
    ids=["another property", "a part that the object lacks", "another object", "another session"],
)
def test_it_does_not_answer_for(session, managed, paths):
    assert looks.seen(session, managed, paths) is None


@pytest.mark.usefixtures("looking")
def test_another_thread_asks_for_itself():
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(looks.seen(HOME, VM, ["name"])))
    thread.start()
    thread.join()

    assert found == [None]


def test_nothing_is_known_after_the_body():
    with looks.looking(looks.Look(session=HOME, objects={"vm-1": {"name": "web01"}})):
        pass

    assert looks.seen(HOME, VM, ["name"]) is None
