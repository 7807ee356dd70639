"""QEMU's machine protocol, spoken by a QEMU that misbehaves."""

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.errors import DeadlineError, TransferError
from vmkeep.qemu.qmp import Qmp

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\n{"return": {}}\n'


def speaking(said, *, seconds=30.0, stay=False):
    """Return the end of a QEMU that has said all that it will."""
    ours, theirs = socket.socketpair()
    theirs.sendall(said)
    if not stay:
        theirs.shutdown(socket.SHUT_WR)
    return ours, theirs, lambda: Qmp(ours, seconds=seconds)


def test_events_between_answers_are_kept_in_order():
    said = GREETING + b'{"event": "A"}\n{"return": 1}\n{"event": "B"}\n{"return": {"status": "running"}}\n'
    ours, theirs, connect = speaking(said)
    with ours, theirs:
        qmp = connect()
        assert qmp.execute("something") == 1
        assert [event["event"] for event in qmp.events()] == ["A", "B"]


def test_a_refusal_names_the_command_and_the_reason():
    ours, theirs, connect = speaking(GREETING + b'{"error": {"class": "GenericError", "desc": "no such disk"}}\n')
    with ours, theirs, pytest.raises(TransferError, match="refused 'eject': no such disk"):
        connect().execute("eject")


@pytest.mark.parametrize("said", [b"", GREETING[:20], b'{"no": "greeting"}\n', b"[]\n", b"nonsense\n"])
def test_a_qemu_that_says_something_else_or_ends_is_an_error(said):
    ours, theirs, connect = speaking(said)
    with ours, theirs, pytest.raises(TransferError, match="QEMU"):
        connect()


def test_a_qemu_that_says_nothing_is_given_up():
    ours, theirs, connect = speaking(GREETING, seconds=0.05, stay=True)
    with ours, theirs:
        qmp = connect()
        with pytest.raises(DeadlineError):
            qmp.execute("query-status")


def test_an_answer_without_an_end_is_given_up():
    ours, theirs = socket.socketpair()

    def talk():
        try:
            while True:
                theirs.sendall(b"x" * (1 << 16))
        except OSError:
            pass

    talker = threading.Thread(target=talk)
    talker.start()
    with theirs:
        with ours, pytest.raises(TransferError, match="more than"):
            Qmp(ours, seconds=30.0)
        talker.join()


@given(st.binary(max_size=200))
def test_nothing_that_is_said_makes_more_than_an_error(said):
    ours, theirs, connect = speaking(said)
    with ours, theirs:
        try:
            connect()
        except TransferError:
            return
