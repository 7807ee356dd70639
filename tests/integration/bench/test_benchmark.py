"""The benchmark runs with what is installed. What it measures is never a reason to fail; what it restores is."""

import json
import random
import signal
import socket
import sys
import threading
import time

import pytest

from bench import delay, disk, run
from bench.rows import lab, storage

MIB = 1 << 20


@pytest.fixture
def short(monkeypatch):
    """Each row has fewer cases of a kind, because each case is several processes."""
    monkeypatch.setattr(storage, "_COMPRESSIONS", ("zstd",))
    monkeypatch.setattr(storage, "_DELAY", 0.005)
    monkeypatch.setattr(lab, "_CASES", {"latency": [(0, 1), (1, 1)]})
    monkeypatch.setattr(lab, "_LATENCIES", (0, 1))
    monkeypatch.setattr(lab, "_COUNTS", (1,))
    monkeypatch.setattr(run, "_LARGER", 16)
    stopping = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, stopping)


@pytest.mark.slow
@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    "rows",
    [
        "full,clone,incremental,unchanged,restore,overwrite,verify",
        pytest.param("metadata,view,latency", marks=pytest.mark.soak),  # these measure, and restore nothing
        pytest.param("s3 get", marks=pytest.mark.soak),  # starts servers and peers for a third of all rows' time
    ],
)
def test_every_row_gives_figures_and_every_restore_the_disk(tmp_path, monkeypatch, capsys, rows):
    out = tmp_path / "figures.json"
    options = ["--size", "64", "--rounds", "1", "--rows", rows, "--folder", str(tmp_path), "--json", str(out)]
    monkeypatch.setattr(sys, "argv", ["bench.run", *options])
    assert run.main() == 0
    assert "### Goals" in capsys.readouterr().out
    found = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    assert list(found) == rows.split(",")
    assert all(figure["wall"] > 0 for row in found.values() for each in row["figures"].values() for figure in each)
    assert not list(tmp_path.glob("vmkeep-bench-*"))


def test_a_disk_that_was_changed_and_changed_back_is_what_it_was(tmp_path):
    image = tmp_path / "disk.raw"
    image.write_bytes(original := random.Random(1).randbytes(8 * MIB))
    changes = {
        "clone": [disk.Change(5, original[5:105], b"c" * 100), disk.Change(MIB, original[MIB : MIB + 9], b"d" * 9)],
        "changed": [disk.Change(7 * MIB, original[7 * MIB : 7 * MIB + 4096], bytes(4096))],
    }
    made = disk.BenchDisk(image, changes)
    made.become("clone")
    assert image.read_bytes()[:200] == original[:5] + b"c" * 100 + original[105:200]
    assert made.changed_blocks("clone", 256 << 10) == [0, 4]
    made.become("changed")
    assert image.read_bytes() == original[: 7 * MIB] + bytes(4096) + original[7 * MIB + 4096 :]
    assert made.extents["changed"] == [(7 * MIB, 64 << 10)]
    made.become("full")
    assert image.read_bytes() == original


def test_the_proxy_holds_back_each_request_once_and_changes_no_byte():
    content = random.Random(2).randbytes(3 * MIB)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_echo, args=(server, len(content)), daemon=True).start()
        with (
            delay.DelayProxy(server.getsockname()[1], seconds=0.1) as proxy,
            socket.create_connection(("127.0.0.1", proxy.port)) as client,
        ):
            for _ in range(2):
                started = time.monotonic()
                client.sendall(content)
                assert _receive(client, len(content)) == content
                assert time.monotonic() - started >= 0.1


def _echo(server, length):
    connection, _ = server.accept()
    with connection:
        for _ in range(2):
            connection.sendall(_receive(connection, length))


def _receive(connection, length):
    parts = bytearray()
    while len(parts) < length and (part := connection.recv(MIB)):
        parts += part
    return bytes(parts)
