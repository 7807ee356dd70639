"""The NFC service towards clients that are not the library."""

import contextlib
import random
import socket
import threading
from typing import Any

import pytest

from tests.patience import HANG
from vmlab.nfc import NfcFault, wire

DISK = "[ds] vm/vm.vmdk"
OPEN: dict[str, str | None] = {
    "op": "open",
    "user": "root",
    "password": "secret",
    "path": DISK,
    "read_only": "1",
    "thumbprint": "AABBCC",
}


def ask(port: int, fields: dict[str, str | None]) -> dict[str, str] | None:
    with socket.create_connection(("127.0.0.1", port), timeout=HANG) as connection:
        connection.sendall(wire.encode(fields))
        return wire.receive(connection)


def test_rubbish_ends_its_own_connection_and_nothing_else(lab: Any, disk: bytes) -> None:
    choose = random.Random(7)
    rubbish = [b"", b"\xff" * 4, b"\0\0\0\5abcd\0", b"\0\0\0\2a\0", wire.encode({"op": "fire", "fault": "x"})]
    rubbish += [choose.randbytes(choose.randrange(200)) for _ in range(40)]
    rubbish += [wire.encode({"op": "nonsense"}), wire.encode({"op": "open"})[:-1]]
    for data in rubbish:
        address = ("127.0.0.1", lab.nfc.port)
        # The service may have hung up before all of it was sent.
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=HANG) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    answer = ask(lab.nfc.port, OPEN)
    assert answer
    assert answer["status"] == "0"


def test_messages_survive_any_strings_and_lengths_have_a_limit() -> None:
    left, right = socket.socketpair()
    with left, right:
        fields = {"a": "", "b": "häß", "": "x" * 60_000}
        left.sendall(wire.encode({**fields, "none": None}))
        assert wire.receive(right) == fields
        left.close()
        assert wire.receive(right) is None
    with pytest.raises(wire.WireError):
        wire.encode({"a": "x" * 70_000})


def test_an_authority_that_fails_is_an_unknown_error_to_the_client(lab: Any, disk: bytes, caplog: Any) -> None:
    def explode(**_: Any) -> None:
        raise RuntimeError("lost its mind")

    lab.authority.open_disk = explode
    answer = ask(lab.nfc.port, OPEN)
    assert answer
    assert answer["status"] == "1"


def test_the_limit_counts_per_host_and_never_lets_one_more_in(lab: Any, disk: bytes) -> None:
    lab.authority.nfc_session_limit = 5
    connections = [socket.create_connection(("127.0.0.1", lab.nfc.port), timeout=HANG) for _ in range(12)]
    statuses: list[str] = []

    def open_one(connection: socket.socket) -> None:
        connection.sendall(wire.encode(OPEN))
        statuses.append((wire.receive(connection) or {})["status"])

    threads = [threading.Thread(target=open_one, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == ["0"] * 5 + ["2"] * 7
    assert len(lab.nfc.sessions()) == 5
    for connection in connections:
        connection.close()


def test_a_disk_that_does_not_come_over_the_network_takes_no_nfc_session(lab: Any, disk: bytes) -> None:
    lab.authority.nfc_session_limit = 1
    lab.authority.metadata = {"transport": "hotadd:san:nbdssl"}
    wanted = ("hotadd", "san", "nbdssl", "hotadd", "nbdssl")
    with contextlib.ExitStack() as stack:
        statuses = []
        for transport in wanted:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", lab.nfc.port), timeout=HANG))
            connection.sendall(wire.encode({**OPEN, "transports": transport}))
            statuses.append((wire.receive(connection) or {})["status"])
        assert statuses == ["0", "0", "0", "0", "2"]
        assert lab.nfc.most_sessions() == ({"esx1": 1}, 1)


def test_a_fault_is_used_by_as_many_calls_as_it_says_over_all_handles(lab: Any, disk: bytes) -> None:
    lab.nfc.inject(NfcFault(code=14, on="open", count=3))
    statuses = [(ask(lab.nfc.port, OPEN) or {})["status"] for _ in range(5)]
    assert statuses == ["14", "14", "14", "0", "0"]
