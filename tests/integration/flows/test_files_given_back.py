"""A file of a restore point goes back into a running guest: whole, read back, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.integration.flows import restoring
from vmkeep.errors import (
    AuthenticationError,
    ConflictError,
    CorruptError,
    NotFoundError,
    TransientError,
    UnsupportedError,
    UsageError,
    VerificationError,
    VmKeepError,
    VSphereError,
)
from vmkeep.flows.disk_images import ImportRequest, import_images
from vmkeep.flows.point_file_give import GiveRequest, give_file
from vmkeep.model.guest import GuestLogin
from vmkeep.repository import create_repository, open_repository
from vmkeep.vsphere import guestuploads
from vmlab.testing import Lab

VM, SECRET = "web01", "pw-of-the-guest"
ROOT = GuestLogin(user="root", password=SECRET)


@pytest.fixture(scope="module")
def held(lab, guest_disks, tmp_path_factory):
    """A site whose repository has a point of a real guest's disks, and the lab's guest with its user."""
    location = str(tmp_path_factory.mktemp("given") / "repository")
    create_repository(location)
    with open_repository(location) as repository:
        import_images(
            repository, ImportRequest(paths=(guest_disks.path("vi"),), name="files"), on_progress=lambda _progress: None
        )
    return restoring.site_of(lab, location)


@pytest.fixture(autouse=True)
def guest(lab: Lab) -> Iterator[SimpleNamespace]:
    lab.post("guest/user", {"vm": VM, "user": "root", "password": SECRET})
    yield SimpleNamespace(files=lambda: lab.guest_files(VM), fault=lab.fault)
    lab.clear()


def give(site, path="/etc/hostname", to="/tmp/given", *, login=ROOT, told=None, **more):
    request = GiveRequest(point="latest:files", source=f"disk0:{path}", vm_selector=VM, guest_path=to, **more)
    return give_file(site, request, login, tell=(told if told is not None else []).append)


def test_a_file_is_written_read_back_and_named(held, guest):
    told: list[str] = []

    given = give(held, "/home/user/big.bin", "/tmp/big.bin", told=told)

    assert guest.files() == ["/tmp/big.bin"]
    assert given.size == 3_000_000
    with pytest.raises(ConflictError, match=r"the guest has a file /tmp/big.bin: give another path, or --replace"):
        give(held, to="/tmp/big.bin")
    assert give(held, to="/tmp/big.bin", replace=True).sha256 != given.sha256
    assert guest.files() == ["/tmp/big.bin"]
    assert ["is not the one that the point is of" in line for line in told] == [True]


def test_an_empty_file_is_given_too(held, guest):
    given = give(held, "/etc/empty", "/tmp/empty")

    assert (given.size, given.sha256) == (0, hashlib.sha256(b"").hexdigest())
    assert "/tmp/empty" in guest.files()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"method": "guestFile.PUT", "status": 503}, VSphereError),
        ({"method": "guestFile.PUT", "drop": "before"}, TransientError),
        ({"method": "guestFile.GET", "status": 500}, VSphereError),
        ({"method": "MoveFileInGuest", "fault": "GuestOperationsFault"}, VmKeepError),
    ],
)
def test_a_transfer_that_fails_leaves_the_guest_as_it_was(held, guest, fault, error):
    before = guest.files()
    guest.fault(**fault)

    with pytest.raises(error):
        give(held, to="/tmp/never")

    assert guest.files() == before


def test_bytes_that_come_back_wrong_get_no_name(held, guest, monkeypatch):
    before = guest.files()
    monkeypatch.setattr(guestuploads._Upload, "digest_of", lambda *_: "00" * 32)

    with pytest.raises(VerificationError, match="other bytes came back from the guest"):
        give(held, to="/tmp/never")

    assert guest.files() == before


def test_damage_in_the_middle_of_a_file_leaves_the_guest_as_it_was(held, guest, monkeypatch):
    before = guest.files()

    def damaged(_files, entry):
        yield memoryview(bytes(entry.size // 2))
        raise CorruptError("restore point x, Hard disk 1, byte 4711: content does not match its digest")

    monkeypatch.setattr("vmkeep.flows.point_file_give.whole", damaged)

    with pytest.raises(CorruptError, match="byte 4711"):
        give(held, "/home/user/big.bin", "/tmp/never")

    assert guest.files() == before


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"path": "/etc"}, UnsupportedError),
        ({"path": "/nothing"}, NotFoundError),
        ({"to": "relative"}, UsageError),
        ({"to": "/folder/"}, UsageError),
        ({"login": GuestLogin(user="root", password="wrong")}, AuthenticationError),
    ],
)
def test_what_cannot_be_given_is_said_before_the_guest_is_touched(held, guest, arguments, error):
    before = guest.files()

    with pytest.raises(error):
        give(held, **arguments)

    assert guest.files() == before
