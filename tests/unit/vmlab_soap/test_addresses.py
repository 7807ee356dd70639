"""A lab is for its own machine, unless somebody opens it: its passwords are known to all."""

from __future__ import annotations

import socket

import pytest

from vmlab.lab import LabOptions, LabServer


@pytest.mark.parametrize(("opened", "reached"), [(False, False), (True, True)])
def test_another_address_reaches_a_lab_only_if_it_was_opened(tmp_path, opened, reached):
    server = LabServer(LabOptions(folder=tmp_path, data_disk_bytes=32 << 20, open_to_network=opened))
    server.start()
    try:
        with socket.socket() as other:
            found = other.connect_ex(("127.0.0.2", server.port)) == 0
        with socket.create_connection(("127.0.0.1", server.port)):
            pass
    finally:
        server.stop()
    assert found is reached
