"""A small VDDK client, run as a process of its own: steps in as JSON on stdin, their results out on stdout.

Written from the ABI alone, so that it would run against VMware's library too. The first
argument is the library's file.
"""

import base64
import ctypes as c
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

U64, POINTER, TEXT = c.c_uint64, c.c_void_p, c.c_char_p
LOG = c.CFUNCTYPE(None, TEXT, POINTER)
DONE = c.CFUNCTYPE(None, POINTER, U64)
PROGRESS = c.CFUNCTYPE(c.c_char, POINTER, c.c_int)
VIX_ASYNC = 25000

SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "InitEx": (U64, [c.c_uint32, c.c_uint32, LOG, LOG, LOG, TEXT, TEXT]),
    "Exit": (None, []),
    "ConnectEx": (U64, [POINTER, c.c_char, TEXT, TEXT, POINTER]),
    "Connect": (U64, [POINTER, POINTER]),
    "Disconnect": (U64, [POINTER]),
    "PrepareForAccess": (U64, [POINTER, TEXT]),
    "EndAccess": (U64, [POINTER, TEXT]),
    "Cleanup": (U64, [POINTER, POINTER, POINTER]),
    "Open": (U64, [POINTER, TEXT, c.c_uint32, POINTER]),
    "Close": (U64, [POINTER]),
    "Read": (U64, [POINTER, U64, U64, POINTER]),
    "Write": (U64, [POINTER, U64, U64, POINTER]),
    "ReadAsync": (U64, [POINTER, U64, U64, POINTER, DONE, POINTER]),
    "WriteAsync": (U64, [POINTER, U64, U64, POINTER, DONE, POINTER]),
    "Wait": (U64, [POINTER]),
    "Flush": (U64, [POINTER]),
    "GetInfo": (U64, [POINTER, POINTER]),
    "FreeInfo": (None, [POINTER]),
    "GetTransportMode": (TEXT, [POINTER]),
    "ListTransportModes": (TEXT, []),
    "QueryAllocatedBlocks": (U64, [POINTER, U64, U64, U64, POINTER]),
    "FreeBlockList": (U64, [POINTER]),
    "ReadMetadata": (U64, [POINTER, TEXT, POINTER, c.c_size_t, POINTER]),
    "WriteMetadata": (U64, [POINTER, TEXT, TEXT]),
    "GetMetadataKeys": (U64, [POINTER, POINTER, c.c_size_t, POINTER]),
    "Create": (U64, [POINTER, TEXT, POINTER, POINTER, POINTER]),
    "Unlink": (U64, [POINTER, TEXT]),
    "Clone": (U64, [POINTER, TEXT, POINTER, TEXT, POINTER, PROGRESS, POINTER, c.c_char]),
    "GetErrorText": (POINTER, [U64, TEXT]),
    "FreeErrorText": (None, [POINTER]),
    "AllocateConnectParams": (POINTER, []),
    "FreeConnectParams": (None, [POINTER]),
    "GetConnectParams": (U64, [POINTER, POINTER]),
}


class ConnectParams(c.Structure):
    """128 bytes, user and password."""

    _fields_ = (
        ("vmx_spec", TEXT),
        ("server", TEXT),
        ("thumbprint", TEXT),
        ("private_use", c.c_long),
        ("cred_type", c.c_int),
        ("first", TEXT),
        ("second", TEXT),
        ("third", TEXT),
        ("port", c.c_uint32),
        ("nfc_port", c.c_uint32),
        ("api", TEXT),
        ("reserved", c.c_char * 8),
        ("state", POINTER),
        ("spec", POINTER * 3),
        ("spec_type", c.c_int),
    )


class Info(c.Structure):
    """64 bytes."""

    _fields_ = (
        ("bios", c.c_uint32 * 3),
        ("physical", c.c_uint32 * 3),
        ("capacity", U64),
        ("adapter", c.c_int),
        ("links", c.c_int),
        ("parent_hint", TEXT),
        ("uuid", TEXT),
        ("logical_sector", c.c_uint32),
        ("physical_sector", c.c_uint32),
    )


class CreateParams(c.Structure):
    """32 bytes."""

    _fields_ = (
        ("disk_type", c.c_int),
        ("adapter", c.c_int),
        ("hw_version", c.c_uint16),
        ("capacity", U64),
        ("logical_sector", c.c_uint32),
        ("physical_sector", c.c_uint32),
    )


class Client:
    """One library, one connection, handles by name."""

    def __init__(self, library: str) -> None:
        self.dll = c.CDLL(library)
        self.libc = c.CDLL(None)
        self.logged: list[str] = []
        self.log = LOG(self._log)
        self.connection = POINTER()
        self.disks: dict[str, Any] = {}

    def _log(self, form: bytes, arguments: int) -> None:
        text = c.create_string_buffer(4096)
        self.libc.vsnprintf(text, c.c_size_t(len(text)), TEXT(form), POINTER(arguments))
        self.logged.append(text.value.decode())

    def call(self, name: str, *arguments: Any) -> Any:
        function = getattr(self.dll, f"VixDiskLib_{name}")
        function.restype, function.argtypes = SIGNATURES[name]
        return function(*arguments)

    def init(self, major: int = 6, minor: int = 5, folder: str | None = None, config: str | None = None) -> int:
        places = [place.encode() if place else None for place in (folder, config)]
        return int(self.call("InitEx", major, minor, self.log, self.log, self.log, *places))

    def exit(self) -> None:
        self.call("Exit")

    def threads(self) -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    def params(self, fields: dict[str, Any]) -> Any:
        allocated = self.call("AllocateConnectParams")
        made = ConnectParams.from_address(allocated)
        for name, value in fields.items():
            setattr(made, name, value.encode() if isinstance(value, str) else value)
        return made

    def connect(
        self, fields: dict[str, Any] | None, read_only: bool, snapshot: str | None, transports: str | None
    ) -> int:
        given = None if fields is None else c.byref(self.params(fields))
        texts = [text.encode() if text is not None else None for text in (snapshot, transports)]
        return int(self.call("ConnectEx", given, bytes([read_only]), *texts, c.byref(self.connection)))

    def connect_params(self) -> dict[str, str | int | None]:
        place = POINTER()
        assert self.call("GetConnectParams", self.connection, c.byref(place)) == 0
        found = ConnectParams.from_address(place.value or 0)
        texts = {
            name: (getattr(found, name) or b"").decode() for name in ("vmx_spec", "server", "first", "second", "third")
        }
        self.call("FreeConnectParams", place)
        return {**texts, "cred_type": found.cred_type}

    def prepare(self, fields: dict[str, Any], identity: str) -> int:
        return int(self.call("PrepareForAccess", c.byref(self.params(fields)), identity.encode()))

    def end(self, fields: dict[str, Any], identity: str) -> int:
        return int(self.call("EndAccess", c.byref(self.params(fields)), identity.encode()))

    def disconnect(self) -> int:
        return int(self.call("Disconnect", self.connection))

    def open(self, path: str, flags: int, name: str = "disk") -> int:
        handle = POINTER()
        code = int(self.call("Open", self.connection, path.encode(), flags, c.byref(handle)))
        self.disks[name] = handle
        return code

    def close(self, name: str = "disk") -> int:
        return int(self.call("Close", self.disks.pop(name)))

    def on_another_thread(self, method: str, *arguments: Any) -> Any:
        """Make a step on a thread that ends with it."""
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(getattr(self, method)(*arguments)))
        thread.start()
        thread.join()
        return results[0]

    def info(self, name: str = "disk") -> dict[str, Any]:
        place = POINTER()
        assert self.call("GetInfo", self.disks[name], c.byref(place)) == 0
        found = Info.from_address(place.value or 0)
        fields = {field: getattr(found, field) for field in ("capacity", "adapter", "links", "logical_sector")}
        fields["uuid"] = (found.uuid or b"").decode()
        self.call("FreeInfo", place)
        return fields

    def transport(self, name: str = "disk") -> str:
        return str(self.call("GetTransportMode", self.disks[name]).decode())

    def modes(self) -> str:
        return str(self.call("ListTransportModes").decode())

    def read(self, start: int, count: int, name: str = "disk") -> str | int:
        buffer = c.create_string_buffer(max(count, 1) * 512)
        code = int(self.call("Read", self.disks[name], start, count, buffer))
        return code or base64.b64encode(buffer.raw[: count * 512]).decode()

    def write(self, start: int, data: str, name: str = "disk") -> int:
        raw = base64.b64decode(data)
        return int(self.call("Write", self.disks[name], start, len(raw) // 512, raw))

    def flush(self, name: str = "disk") -> int:
        return int(self.call("Flush", self.disks[name]))

    def read_many(self, count: int, sectors: int, name: str = "disk") -> dict[str, Any]:
        """Read ``count`` consecutive pieces asynchronously, all submitted at once."""
        buffers = [c.create_string_buffer(sectors * 512) for _ in range(count)]
        results: dict[int, int] = {}
        threads: set[int] = set()

        def done(number: int, result: int) -> None:
            threads.add(threading.get_native_id())
            results[number] = result

        callback = DONE(done)
        began = time.monotonic()
        accepted = [
            self.call("ReadAsync", self.disks[name], i * sectors, sectors, buffers[i], callback, POINTER(i + 1))
            for i in range(count)
        ]
        waited = self.call("Wait", self.disks[name])
        return {
            "accepted": sorted(set(accepted)),
            "waited": waited,
            "results": [results.get(i + 1) for i in range(count)],
            "seconds": time.monotonic() - began,
            "on_caller": os.getpid() in threads,
            "data": base64.b64encode(b"".join(buffer.raw for buffer in buffers)).decode(),
        }

    def write_many(self, pieces: list[tuple[int, str]], name: str = "disk") -> list[int | None]:
        results: dict[int, int] = {}
        callback = DONE(lambda number, result: results.__setitem__(number, result))
        raw = [(start, base64.b64decode(data)) for start, data in pieces]
        buffers = [c.create_string_buffer(data, len(data)) for _, data in raw]
        for number, ((start, data), buffer) in enumerate(zip(raw, buffers, strict=True), 1):
            code = self.call("WriteAsync", self.disks[name], start, len(data) // 512, buffer, callback, POINTER(number))
            if code != VIX_ASYNC:
                results[number] = code
        self.call("Wait", self.disks[name])
        return [results.get(number) for number in range(1, len(raw) + 1)]

    def query(self, start: int, count: int, chunk: int, name: str = "disk") -> list[list[int]] | int:
        place = POINTER()
        code = int(self.call("QueryAllocatedBlocks", self.disks[name], start, count, chunk, c.byref(place)))
        if code:
            return code
        address = place.value or 0
        number = c.c_uint32.from_address(address).value
        values = (U64 * (2 * number)).from_address(address + 8)
        blocks = [[values[2 * i], values[2 * i + 1]] for i in range(number)]
        assert self.call("FreeBlockList", place) == 0
        return blocks

    def metadata(self, key: str, size: int = 256, name: str = "disk") -> Any:
        buffer, required = c.create_string_buffer(max(size, 1)), c.c_size_t()
        place = buffer if size else None
        code = self.call("ReadMetadata", self.disks[name], key.encode(), place, size, c.byref(required))
        return [int(code), required.value, buffer.value.decode()]

    def set_metadata(self, key: str, value: str, name: str = "disk") -> int:
        return int(self.call("WriteMetadata", self.disks[name], key.encode(), value.encode()))

    def keys(self, name: str = "disk") -> list[str]:
        required = c.c_size_t()
        assert self.call("GetMetadataKeys", self.disks[name], None, 0, c.byref(required)) in (0, 24)
        buffer = c.create_string_buffer(required.value)
        assert self.call("GetMetadataKeys", self.disks[name], buffer, len(buffer), c.byref(required)) == 0
        assert buffer.raw.endswith(b"\0\0")
        return buffer.raw[:-2].decode().split("\0")

    def create(self, path: str, disk_type: int, sectors: int) -> int:
        given = CreateParams(disk_type, 3, 7, sectors, 0, 0)
        return int(self.call("Create", self.connection, path.encode(), c.byref(given), None, None))

    def clone(self, source: str, target: str, disk_type: int, overwrite: bool) -> list[int]:
        """Clone a disk of this connection to a local file; returns the code and the percentages reported."""
        seen: list[int] = []
        local = POINTER()
        assert self.call("Connect", None, c.byref(local)) == 0

        def take(_: object, percent: int) -> bytes:
            seen.append(percent)
            return b"\1"

        progress = PROGRESS(take)
        given = c.byref(CreateParams(disk_type, 3, 7, 0, 0, 0))
        names = (local, target.encode(), self.connection, source.encode())
        code = int(self.call("Clone", *names, given, progress, None, bytes([overwrite])))
        assert self.call("Disconnect", local) == 0
        return [code, *sorted(set(seen))]

    def unlink(self, path: str) -> int:
        return int(self.call("Unlink", self.connection, path.encode()))

    def text(self, code: int) -> str:
        place = self.call("GetErrorText", code, None)
        text = TEXT(place).value or b""
        self.call("FreeErrorText", place)
        return text.decode()

    def log_text(self) -> str:
        return "".join(self.logged)

    def say(self, line: str) -> None:
        print(json.dumps(line), flush=True)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def pause(self, gate: str) -> None:
        """Say by a file that this step is reached, and go on when the gate, another file, exists."""
        Path(gate + ".reached").touch()
        while not Path(gate).exists():
            time.sleep(0.005)


def main() -> None:
    """Run the steps; print one line of JSON with all results."""
    client = Client(sys.argv[1])
    steps = json.load(sys.stdin)
    print(json.dumps([getattr(client, name)(*arguments) for name, *arguments in steps]), flush=True)


if __name__ == "__main__":
    main()
