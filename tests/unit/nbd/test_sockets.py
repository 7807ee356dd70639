"""Servers that open one socket file at the same time do not take it from each other."""

from __future__ import annotations

import fcntl
import os
import socket

import pytest

from vmkeep.errors import UsageError
from vmkeep.nbd import sockets


def test_a_stale_socket_stays_while_another_server_looks_at_it(tmp_path, monkeypatch):
    stale = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    before = stale.lstat().st_ino
    monkeypatch.setattr(sockets, "_LOCK_SECONDS", 0)
    other = os.open(tmp_path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="unavailable"), sockets.listening_on_file(stale):
            pass
        assert stale.lstat().st_ino == before
    finally:
        os.close(other)
    with sockets.listening_on_file(stale):
        assert stale.is_socket()
    assert not stale.exists()
