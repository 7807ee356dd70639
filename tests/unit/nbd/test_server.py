"""The server keeps the protocol, and no client harms it or another client."""

from __future__ import annotations

import errno
import gc
import random
import struct
import threading
from pathlib import Path

import pytest

from tests.nbd_parts import GatedDisk, HugeDisk, MemoryDisk, RawClient, served
from tests.patience import eventually
from vmkeep.model.extents import Extent
from vmkeep.nbd import Export, open_overlay
from vmkeep.nbd.server import MAX_HANDSHAKES
from vmkeep.nbd.wire import MAX_REQUEST, Chunk, Command, CommandFlag, Option

MIB = 1 << 20
CONTENT = random.Random(3).randbytes(4 * MIB + 512)
HOLE = Extent(MIB, 2 * MIB)
DAMAGED = Extent(3 * MIB + 4096, 3 * MIB + 8192)
DF, FUA, REQ_ONE = CommandFlag.DF, CommandFlag.FUA, CommandFlag.REQ_ONE


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server with a read-only disk that has a hole and damage, and one that can be written."""
    path = str(tmp_path_factory.mktemp("nbd") / "s")
    disk = MemoryDisk(CONTENT, holes=[HOLE], damaged=[DAMAGED])
    with open_overlay(MemoryDisk(CONTENT, holes=[HOLE])) as overlay:
        exports = [
            Export(name="disk0", description="Hard disk 1 of app01", disk=disk),
            Export(name="scratch", description="", disk=overlay, writable=overlay),
        ]
        with served(path, exports) as watcher:
            watcher.path, watcher.disk = path, disk
            yield watcher


@pytest.fixture
def client(site):
    made = RawClient(site.path)
    yield made
    made.socket.close()


def assembled(request_offset: int, length: int, chunks) -> bytes:
    data = bytearray(b"?" * length)
    for kind, payload in chunks:
        if kind == Chunk.OFFSET_DATA:
            (at,) = struct.unpack_from(">Q", payload)
            data[at - request_offset : at - request_offset + len(payload) - 8] = payload[8:]
        elif kind == Chunk.OFFSET_HOLE:
            at, size = struct.unpack(">QI", payload)
            data[at - request_offset : at - request_offset + size] = bytes(size)
    return bytes(data)


def test_a_structured_read_says_where_holes_are(client, site):
    client.go()
    client.send(Command.READ, MIB - 1000, MIB + 2000)
    chunks = client.chunks()
    assert [kind for kind, _ in chunks] == [Chunk.OFFSET_DATA, Chunk.OFFSET_HOLE, Chunk.OFFSET_DATA]
    assert assembled(MIB - 1000, MIB + 2000, chunks) == site.disk.content[MIB - 1000 : 2 * MIB + 1000]


@pytest.mark.parametrize("length", [1, 512, MIB, 3 * MIB])
def test_a_read_that_may_not_be_split_comes_in_one_chunk(client, site, length):
    client.go()
    client.send(Command.READ, 0, length, flags=DF)
    chunks = client.chunks()
    assert [kind for kind, _ in chunks] == [Chunk.OFFSET_DATA]
    assert assembled(0, length, chunks) == site.disk.content[:length]


def test_an_old_client_gets_simple_replies_of_any_length(client, site):
    assert not client.go(structured=False) & (1 << 7)
    for offset, length in ((0, 1), (5, 3 * MIB), (len(CONTENT) - 512, 512)):
        client.send(Command.READ, offset, length)
        assert client.simple(length) == (0, bytes(site.disk.content[offset : offset + length]))


def test_damage_is_an_error_at_its_place_and_the_connection_goes_on(client, site):
    client.go()
    client.send(Command.READ, 2 * MIB, 2 * MIB)
    chunks = client.chunks()
    assert [kind for kind, _ in chunks] == [Chunk.OFFSET_DATA, Chunk.ERROR_OFFSET]
    error, length = struct.unpack_from(">IH", chunks[-1][1])
    assert error == errno.EIO
    assert chunks[-1][1][6 : 6 + length].decode() == f"point p, disk d, byte {DAMAGED.start}: block is damaged"
    assert struct.unpack(">Q", chunks[-1][1][6 + length :])[0] == 3 * MIB
    assert site.failures[-1][0] == "disk0"
    client.send(Command.READ, 0, 512)
    assert assembled(0, 512, client.chunks()) == CONTENT[:512]


def test_damage_is_an_error_of_a_simple_reply_too_however_long_it_would_be(client):
    client.go(structured=False)
    for offset, length in ((DAMAGED.start, 1), (MIB, 3 * MIB)):
        client.send(Command.READ, offset, length)
        assert client.simple(length) == (errno.EIO, b"")
    client.send(Command.READ, 0, 512)
    assert client.simple(512) == (0, CONTENT[:512])


def test_block_status_tells_holes_and_never_more_than_was_asked_for(client):
    client.go()
    client.send(Command.BLOCK_STATUS, MIB // 2, 3 * MIB)
    ((kind, payload),) = client.chunks()
    assert kind == Chunk.BLOCK_STATUS
    assert struct.unpack(">I6I", payload) == (1, MIB // 2, 0, MIB, 3, 3 * MIB // 2, 0)
    client.send(Command.BLOCK_STATUS, MIB + 512, MIB, flags=REQ_ONE)
    ((_, payload),) = client.chunks()
    assert struct.unpack(">I2I", payload) == (1, MIB - 512, 3)


@pytest.mark.parametrize(
    ("command", "offset", "length", "flags", "expected"),
    [
        (Command.READ, 0, 0, 0, errno.EINVAL),
        (Command.READ, len(CONTENT) - 511, 512, 0, errno.EINVAL),
        (Command.READ, (1 << 64) - 1, 512, 0, errno.EINVAL),
        (Command.READ, 0, MAX_REQUEST + 1, 0, errno.EINVAL),
        (Command.READ, 0, 512, 1 << 9, errno.EINVAL),
        (Command.READ, 0, 512, FUA, errno.EINVAL),  # which a read-only export does not offer
        (Command.WRITE_ZEROES, 0, 512, 0, errno.EPERM),
        (Command.TRIM, 0, 512, 0, errno.EPERM),
        (Command.FLUSH, 0, 0, 0, errno.EINVAL),
        (Command.BLOCK_STATUS, 0, len(CONTENT) + 1, 0, errno.EINVAL),
        (99, 0, 0, 0, errno.EINVAL),
        (Command.CACHE, 0, MIB, 0, 0),
        (Command.CACHE, DAMAGED.start, 512, 0, errno.EIO),
    ],
)
def test_a_request_that_is_not_allowed_gets_its_error_and_the_next_one_works(
    client, command, offset, length, flags, expected
):
    client.go()
    client.send(command, offset, length, flags=flags)
    assert client.error() == expected
    client.send(Command.READ, 0, 512)
    assert assembled(0, 512, client.chunks()) == CONTENT[:512]


def test_a_write_to_a_restore_point_is_refused_and_its_data_are_skipped(client, site):
    client.go()
    client.send(Command.WRITE, 0, 2 * MIB, data=bytes(2 * MIB))
    assert client.error() == errno.EPERM
    client.send(Command.READ, 0, 512)
    assert assembled(0, 512, client.chunks()) == CONTENT[:512]
    assert site.disk.content[:512] == CONTENT[:512]


def test_what_is_written_to_a_scratch_disk_is_read_back_by_every_client(site):
    one, other = RawClient(site.path), RawClient(site.path)
    assert one.go("scratch") & 0b1101100 == 0b1101100
    other.go("scratch")
    data = random.Random(4).randbytes(2 * MIB + 100)
    one.send(Command.WRITE, 100, len(data), data=data, flags=FUA)
    assert one.error() == 0
    one.send(Command.WRITE_ZEROES, 4096, 8192)
    assert one.error() == 0
    one.send(Command.FLUSH)
    assert one.error() == 0
    other.send(Command.READ, 0, 2 * MIB)
    expected = bytearray(CONTENT[:100] + data)[: 2 * MIB]
    expected[4096 : 4096 + 8192] = bytes(8192)
    assert assembled(0, 2 * MIB, other.chunks()) == expected
    one.send(Command.WRITE, len(CONTENT) - 1, 2, data=b"ab")
    assert one.error() == errno.ENOSPC
    for each in (one, other):
        each.socket.close()


def test_too_much_data_ends_the_connection_and_no_other(client, site):
    client.go("scratch")
    client.send(Command.WRITE, 0, MAX_REQUEST + 1)
    assert client.error() == errno.EINVAL
    assert client.is_cut_off()


def test_the_list_names_every_disk_with_its_description(client):
    client.greet()
    listed = client.option(Option.LIST)
    assert [payload[4:] for kind, payload in listed[:-1]] == [b"disk0Hard disk 1 of app01", b"scratch"]
    assert listed[-1][0] == 1
    assert client.option(Option.ABORT) == [(1, b"")]
    assert client.is_cut_off()


@pytest.mark.parametrize(
    ("option", "data", "expected"),
    [
        (77, b"", (1 << 31) + 1),
        (Option.STARTTLS, b"", (1 << 31) + 2),
        (Option.LIST, b"x", (1 << 31) + 3),
        (Option.GO, b"", (1 << 31) + 3),
        (Option.GO, struct.pack(">I4sH", 4, b"nope", 0), (1 << 31) + 6),
        (Option.INFO, struct.pack(">I", 5000) + bytes(5002), (1 << 31) + 9),
        (Option.SET_META_CONTEXT, struct.pack(">II", 0, 0), (1 << 31) + 3),  # before structured replies
    ],
)
def test_an_option_that_is_not_allowed_gets_its_error_and_the_handshake_goes_on(client, option, data, expected):
    client.greet()
    assert client.option(option, data)[-1][0] == expected
    assert client.option(Option.STRUCTURED_REPLY) == [(1, b"")]


def test_the_oldest_handshake_works_with_and_without_its_padding(site):
    for flags, padding in ((1, 124), (3, 0)):
        client = RawClient(site.path)
        client.greet(flags)
        client.socket.sendall(struct.pack(">QII", 0x49484156454F5054, Option.EXPORT_NAME, 5) + b"disk0")
        size, _flags = struct.unpack(">QH", client.read(10))
        assert size == len(CONTENT)
        assert client.read(padding) == bytes(padding)
        client.send(Command.READ, 0, 10)
        assert client.simple(10) == (0, CONTENT[:10])
        client.socket.close()


def test_a_context_that_was_chosen_for_another_export_does_not_count(client):
    client.greet()
    client.option(Option.STRUCTURED_REPLY)
    query = b"base:allocation"
    name = struct.pack(">I", 7) + b"scratch"
    assert len(client.option(Option.SET_META_CONTEXT, name + struct.pack(">II", 1, len(query)) + query)) == 2
    assert client.option(Option.LIST_META_CONTEXT, name + bytes(4))[0] == (4, bytes(4) + query)
    client.option(Option.GO, struct.pack(">I5sH", 5, b"disk0", 0))
    client.send(Command.BLOCK_STATUS, 0, 512)
    assert client.error() == errno.EINVAL


@pytest.mark.parametrize(
    "said",
    [
        b"", b"GET / HTTP/1.1\r\n\r\n" + bytes(20), struct.pack(">I", 0xFFFFFFFF),
        struct.pack(">IQII", 3, 0x49484156454F5054, 7, 0xFFFFFFFF),
        struct.pack(">IQII", 3, 0x49484156454F5054, 1, 4) + b"nope",
        struct.pack(">IQII", 3, 1, 1, 0),
    ],
)  # fmt: skip
def test_a_client_that_speaks_no_nbd_is_cut_off(client, said):
    client.socket.sendall(said)
    client.socket.shutdown(1)
    assert client.is_cut_off()


def test_bytes_that_are_no_request_end_the_connection(client, site):
    client.go()
    before = len(site.ends)
    client.send(0, magic=0xBAD)
    assert client.is_cut_off()
    assert "where a request begins" in eventually(lambda: site.ends[before:])[0][1]


def test_any_stream_of_bytes_leaves_the_server_well(site):
    chance = random.Random(5)
    for _ in range(60):
        client = RawClient(site.path)
        if chance.random() < 0.6:
            client.go("scratch")
        else:
            client.greet()
        junk = b"".join(
            struct.pack(">IHHQQI", 0x25609513, chance.choice([0, 1, 4, 8]), chance.randrange(9), chance.getrandbits(64),
                        chance.randrange(len(CONTENT)), chance.choice([0, 1, 5000, 1 << 31, 0xFFFFFFFF]))
            + chance.randbytes(chance.choice([0, 0, 1, 30]))
            for _ in range(5)
        )  # fmt: skip
        try:
            client.socket.sendall(junk)
            client.socket.shutdown(1)
        except OSError:  # it has hung up already
            pass
        assert client.is_cut_off()
        client.socket.close()
    last = RawClient(site.path)
    last.go()
    last.send(Command.READ, 0, 512)
    assert assembled(0, 512, last.chunks()) == CONTENT[:512]
    last.socket.close()


def test_a_client_that_takes_no_replies_stops_nobody_else_and_holds_little_memory(site):
    stalled = RawClient(site.path)
    stalled.go()
    stalled.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, Command.READ, 1, 0, MIB) * 200)
    other = RawClient(site.path)
    other.go()
    for _ in range(20):
        other.send(Command.READ, 0, 512)
        assert assembled(0, 512, other.chunks()) == CONTENT[:512]
    requests = [thread for thread in threading.enumerate() if thread.name == "nbd-requests"]
    assert len(requests) <= 2 * 15
    for each in (stalled, other):
        each.socket.close()


def test_a_disk_of_62_tib_is_described_by_few_words_and_read_at_its_end(tmp_path):
    size = 62 << 40
    with served(str(tmp_path / "s"), [Export(name="a", description="", disk=HugeDisk(size))]):
        client = RawClient(str(tmp_path / "s"))
        client.go()
        client.send(Command.BLOCK_STATUS, 1 << 45, 0xFFFFFE00)
        ((_, payload),) = client.chunks()
        assert struct.unpack(">I2I", payload) == (1, 0xFFFFFE00, 3)
        client.send(Command.READ, size - MAX_REQUEST, MAX_REQUEST)
        chunks = client.chunks()
        assert [kind for kind, _ in chunks] == [Chunk.OFFSET_HOLE, Chunk.OFFSET_DATA]
        assert chunks[1][1][8:] == b"\x55" * 512
        client.socket.close()


def test_a_handshake_that_never_ends_is_cut_off(tmp_path):
    export = Export(name="a", description="", disk=MemoryDisk(CONTENT))
    with served(str(tmp_path / "s"), [export], handshake_seconds=0.1) as watcher:
        slow = RawClient(str(tmp_path / "s"))
        slow.greet()
        assert slow.is_cut_off()
        assert "took too long" in eventually(lambda: watcher.ends)[0][1]
        slow.socket.close()


def test_clients_that_never_shake_hands_keep_nobody_out(tmp_path):
    export = Export(name="a", description="", disk=MemoryDisk(CONTENT))
    with served(str(tmp_path / "s"), [export], max_clients=1) as watcher:
        silent = []
        for _ in range(MAX_HANDSHAKES):
            silent.append(RawClient(str(tmp_path / "s")))
            silent[-1].read(1)
        client = RawClient(str(tmp_path / "s"))
        client.go()
        client.send(Command.READ, 0, 512)
        assert assembled(0, 512, client.chunks()) == CONTENT[:512]
        silent[0].is_cut_off()
        assert not watcher.away
        for each in (*silent, client):
            each.socket.close()


def test_one_client_too_many_is_sent_away_and_served_when_another_has_left(tmp_path):
    export = Export(name="a", description="", disk=MemoryDisk(CONTENT))
    with served(str(tmp_path / "s"), [export], max_clients=1) as watcher:
        first, second = RawClient(str(tmp_path / "s")), RawClient(str(tmp_path / "s"))
        first.go()
        second.go()
        late = RawClient(str(tmp_path / "s"))
        assert second.is_cut_off()
        assert late.is_cut_off()
        eventually(lambda: len(watcher.away) == 2)
        first.send(Command.DISCONNECT)
        eventually(lambda: any(client.number == 1 for client, _ in watcher.ends))
        third = RawClient(str(tmp_path / "s"))
        third.go()
        for each in (first, second, late, third):
            each.socket.close()


def test_the_end_of_a_server_answers_what_is_at_work_and_leaves_no_thread_and_no_file(tmp_path):
    disk = GatedDisk(CONTENT)
    before = set(threading.enumerate()), len(list(Path("/proc/self/fd").iterdir()))
    with served(str(tmp_path / "s"), [Export(name="a", description="", disk=disk)]):
        client, idle = RawClient(str(tmp_path / "s")), RawClient(str(tmp_path / "s"))
        client.go()
        idle.go()
        client.send(Command.READ, 0, 512)
        assert disk.reached.wait(600)
        threading.Timer(0.05, disk.go_on.set).start()
    assert assembled(0, 512, client.chunks()) == CONTENT[:512]
    assert client.is_cut_off()
    assert idle.is_cut_off()
    for each in (client, idle):
        each.socket.close()
    gc.collect()
    eventually(lambda: set(threading.enumerate()) <= before[0])
    assert len(list(Path("/proc/self/fd").iterdir())) == before[1]
