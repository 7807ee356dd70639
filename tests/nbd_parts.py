"""Parts that tests of the NBD server share: disks in memory, a client that sends any bytes, and a recorder of words."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event

from vmkeep.errors import CorruptError
from vmkeep.model.extents import Extent
from vmkeep.nbd import Client, Export, Exports, Keys
from vmkeep.nbd.server import Server
from vmkeep.nbd.wire import OPTION_MAGIC, OPTION_REPLY_MAGIC, REQUEST_MAGIC, Chunk, Option

HANG_SECONDS = 600.0


class MemoryDisk:
    """A disk in memory with holes and damaged parts."""

    def __init__(self, content: bytes, *, holes: Sequence[Extent] = (), damaged: Sequence[Extent] = ()) -> None:
        self.content = bytearray(content)
        for hole in holes:
            self.content[hole.start : hole.stop] = bytes(hole.length)
        self._holes = holes
        self._damaged = damaged

    @property
    def capacity(self) -> int:
        return len(self.content)

    def read_into(self, start: int, buffer: memoryview) -> None:
        stop = start + len(buffer)
        if stop > self.capacity:
            raise ValueError(f"{start} to {stop} is beyond the disk")
        for part in self._damaged:
            if start < part.stop and part.start < stop:
                raise CorruptError(f"point p, disk d, byte {part.start}: block is damaged")
        buffer[:] = self.content[start:stop]

    def extents(self, start: int, stop: int) -> Iterator[tuple[Extent, bool]]:
        at = start
        for hole in self._holes:
            begin, end = max(hole.start, start), min(hole.stop, stop)
            if begin < end:
                if begin > at:
                    yield Extent(at, begin), True
                yield Extent(begin, end), False
                at = end
        if at < stop:
            yield Extent(at, stop), True


class HugeDisk:
    """A disk of any size that holds nothing but zeros, except its first and last sector."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    def read_into(self, start: int, buffer: memoryview) -> None:
        buffer[:] = bytes(len(buffer))
        for at in (0, self.capacity - 512):
            if start <= at < start + len(buffer):
                buffer[at - start : at - start + 512] = b"\x55" * 512

    def extents(self, start: int, stop: int) -> Iterator[tuple[Extent, bool]]:
        last = self.capacity - 512
        for begin, end, data in ((0, 512, True), (512, last, False), (last, self.capacity, True)):
            if max(begin, start) < min(end, stop):
                yield Extent(max(begin, start), min(end, stop)), data


class Remembering:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.opened_by: list[tuple[Client, str]] = []
        self.ends: list[tuple[Client, str]] = []
        self.away: list[str] = []
        self.failures: list[tuple[str, Exception]] = []

    def opened(self, client: Client, export: Export) -> None:
        self.opened_by.append((client, export.name))

    def closed(self, client: Client, export: Export | None, *, bytes_read: int, why: str) -> None:
        self.ends.append((client, why))

    def turned_away(self, peer: str) -> None:
        self.away.append(peer)

    def failed(self, export: Export, error: Exception) -> None:
        self.failures.append((export.name, error))


class GatedDisk(MemoryDisk):
    """A disk whose reads wait until a test lets them go on."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reached, self.go_on = Event(), Event()

    def read_into(self, start: int, buffer: memoryview) -> None:
        self.reached.set()
        assert self.go_on.wait(HANG_SECONDS)
        super().read_into(start, buffer)


class RawClient:
    """A client that says whatever a test wants."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(HANG_SECONDS)
        self.socket.connect(path)

    def read(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            if not (more := self.socket.recv(length - len(data))):
                raise EOFError
            data += more
        return bytes(data)

    def greet(self, flags: int = 3) -> None:
        magic, option_magic, handshake_flags = struct.unpack(">QQH", self.read(18))
        assert (magic, option_magic, handshake_flags) == (0x4E42444D41474943, OPTION_MAGIC, 3)
        self.socket.sendall(struct.pack(">I", flags))

    def option(self, option: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        """Send an option, and return the types and data of the replies up to the final one."""
        self.socket.sendall(struct.pack(">QII", OPTION_MAGIC, option, len(data)) + data)
        replies = []
        while True:
            magic, of, kind, length = struct.unpack(">QIII", self.read(20))
            assert (magic, of) == (OPTION_REPLY_MAGIC, option)
            replies.append((kind, self.read(length)))
            if kind == 1 or kind >> 31:
                return replies

    def go(self, name: str = "", *, structured: bool = True, allocation: bool = True) -> int:
        """Shake hands, and return the export's flags."""
        self.greet()
        encoded = struct.pack(">I", len(name)) + name.encode()
        if structured:
            self.option(Option.STRUCTURED_REPLY)
        if structured and allocation:
            query = b"base:allocation"
            data = encoded + struct.pack(">II", 1, len(query)) + query
            assert [kind for kind, _ in self.option(Option.SET_META_CONTEXT, data)] == [4, 1]
        replies = self.option(Option.GO, encoded + struct.pack(">H", 0))
        assert replies[-1][0] == 1, replies
        flags: int = struct.unpack(">HQH", replies[-2][1])[2]
        return flags

    def send(self, command: int, offset: int = 0, length: int = 0, *, flags: int = 0, cookie: int = 1,
             data: bytes = b"", magic: int = REQUEST_MAGIC) -> None:  # fmt: skip
        self.socket.sendall(struct.pack(">IHHQQI", magic, flags, command, cookie, offset, length) + data)

    def simple(self, length: int = 0) -> tuple[int, bytes]:
        """Return the error and the data of a simple reply."""
        magic, error, _cookie = struct.unpack(">IIQ", self.read(16))
        assert magic == 0x67446698
        return error, b"" if error else self.read(length)

    def chunks(self) -> list[tuple[int, bytes]]:
        """Return the types and payloads of a structured reply."""
        found = []
        while True:
            magic, flags, kind, _cookie, length = struct.unpack(">IHHQI", self.read(20))
            assert magic == 0x668E33EF
            found.append((kind, self.read(length)))
            if flags & 1:
                return found

    def error(self) -> int:
        """Return the error of a structured reply; 0: none."""
        kind, payload = self.chunks()[-1]
        return struct.unpack_from(">I", payload)[0] if kind in (Chunk.ERROR, Chunk.ERROR_OFFSET) else 0

    def is_cut_off(self) -> bool:
        """Wait for the end of the connection."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        return True


@contextmanager
def served(path: str, exports: Sequence[Export], **settings: object) -> Iterator[Remembering]:
    """Serve exports on a socket file while the context lasts."""
    watcher = Remembering()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(64)
        server = Server(Exports(exports), listener, watcher, **settings)  # type: ignore[arg-type]
        server.start()
        try:
            yield watcher
        finally:
            server.close()


KEYS: Keys = {b"alice": bytes(range(32))}
