"""Serves the disks of a restore point over NBD, to programs that read, copy or boot them without a restore."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from typing import Final
from urllib.parse import quote

from vmkeep.errors import NotFoundError
from vmkeep.flows.point_doubts import about_content
from vmkeep.model.point import DiskImage, RestorePoint
from vmkeep.model.serving import LOOPBACK, ServedDisk, ServedPoint, ServeRequest
from vmkeep.model.wording import size
from vmkeep.nbd import (
    Client,
    Export,
    Exports,
    Keys,
    listening_on_file,
    listening_on_port,
    load_keys,
    open_overlay,
    serving,
)
from vmkeep.repository import Repository
from vmkeep.scratch import private_folder, writing_to
from vmkeep.transfer import DiskViews, open_views

__all__ = ["LOOPBACK", "ServeRequest", "ServedDisk", "ServedPoint", "Tell", "serve_point"]

Tell = Callable[[str, bool], None]
"""Takes a line for people, and whether it is a warning. Threads that serve clients call it, so it must not wait."""
_TOLD: Final = 1000
"""Most different warnings that one server gives, because a client may ask for damaged bytes again and again."""


@contextmanager
def serve_point(
    repository: Repository, request: ServeRequest, *, tell: Tell, doing: str = "serving"
) -> Iterator[ServedPoint]:
    """Serve disks of a point in threads of this process, until the context is left.

    As long as it lasts, no retention rule, deletion or prune takes the point away. A damaged block is an error for the
    client that asks for it, and a warning; the server goes on.

    :param doing: the word for this use of the point that others see.
    :raises NotFoundError: there is no such point or disk.
    :raises UsageError: the address would let others read without a key, or a path or the key file is bad.
    :raises ConflictError: another server is alive there.
    :raises CorruptError: the root of a disk's map is damaged.
    """
    keys = load_keys(request.keys) if request.keys is not None else None
    point = repository.find_point(request.point)
    chosen = point.chosen(request.disks)
    warnings = about_content(repository, point, work="reading")
    for warning in warnings:
        tell(warning, True)
    with ExitStack() as stack:
        use = stack.enter_context(repository.uses.open(point.ref, doing=doing))
        views = stack.enter_context(open_views(repository))
        exports = [
            _export(stack, views, point, number, image, writable=request.writable) for number, image in chosen.items()
        ]
        path, listener = _listen(stack, request, keys)
        stack.enter_context(serving(Exports(exports), listener, _Reporter(tell, use.check), keys=keys))
        address, port = (None, None) if path is not None else listener.getsockname()[:2]
        place = _Place(path=path, address=address, port=port, keys=keys, file=request.keys)
        yield ServedPoint(
            point=point.ref,
            writable=request.writable,
            socket=str(path) if path is not None else None,
            address=address,
            port=port,
            disks=tuple(
                ServedDisk(
                    name=_name(number),
                    key=image.disk.key,
                    label=image.disk.label,
                    capacity=image.disk.capacity,
                    uri=place.uri(_name(number)),
                )
                for number, image in chosen.items()
            ),
            warnings=warnings,
        )


def _export(
    stack: ExitStack, views: DiskViews, point: RestorePoint, number: int, image: DiskImage, *, writable: bool
) -> Export:
    view = views.open(image.root, what=f"restore point {point.ref}, {image.disk.label}")
    overlay = stack.enter_context(open_overlay(view)) if writable else None
    return Export(
        name=_name(number),
        description=f"{image.disk.label} of {point.vm.name}, restore point {point.ref}",
        disk=overlay or view,
        writable=overlay,
    )


def _listen(stack: ExitStack, request: ServeRequest, keys: Keys | None) -> tuple[Path | None, socket.socket]:
    """Open the socket; return its path, if it has one."""
    if request.port is not None:
        secured = keys is not None
        return None, stack.enter_context(listening_on_port(request.listen, request.port, secured=secured))
    path = request.socket
    if path is None:
        folder = stack.enter_context(private_folder()) / "socket"  # of its own, because servers lock a socket's folder
        with writing_to(folder):
            folder.mkdir(0o700)
        path = folder / "nbd"
    path = path.absolute()
    return path, stack.enter_context(listening_on_file(path))


def _name(number: int) -> str:
    """Return the name of a disk's export."""
    return f"disk{number}"


class _Place:
    """Where a server can be reached, for the addresses of its exports."""

    def __init__(
        self, *, path: Path | None, address: str | None, port: int | None, keys: Keys | None, file: Path | None
    ) -> None:
        self._path = path
        self._scheme = "nbd" if keys is None else "nbds"
        self._parameters: list[str] = []
        self._authority = ""
        if keys is not None and file is not None:
            self._authority = quote(next(iter(keys)), safe="") + "@"
            self._parameters.append(f"tls-psk-file={quote(str(file.absolute()))}")
        if path is not None:
            self._scheme += "+unix"
            self._parameters.insert(0, f"socket={quote(str(path))}")
        elif address is not None:
            host = socket.gethostname() if address in ("0.0.0.0", "::") else address  # noqa: S104 - compared only
            self._authority += f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def uri(self, name: str) -> str:
        """Return the address of an export, as libnbd and QEMU take it."""
        parameters = f"?{'&'.join(self._parameters)}" if self._parameters else ""
        return f"{self._scheme}://{self._authority}/{name}{parameters}"


class _Reporter:
    """Tells a person what happens at the server."""

    def __init__(self, tell: Tell, check: Callable[[], None]) -> None:
        """:param check: raises an error if the point was deleted under the server."""
        self._tell = tell
        self._check = check
        self._lock = Lock()
        self._told: set[str] = set()

    def opened(self, client: Client, export: Export) -> None:
        """Tell that a client has opened a disk."""
        self._tell(f"client {client.number}, {client.peer}: opened {export.name}", False)
        self._warn_if_deleted()

    def closed(self, client: Client, export: Export | None, *, bytes_read: int, why: str) -> None:
        """Tell that a client is gone."""
        if export is not None:
            read = f"{size(bytes_read)} read of {export.name}"
            self._tell(f"client {client.number}, {client.peer}: left, {read}: {why}", False)
        elif why != "disconnected":
            self._tell(f"client {client.number}, {client.peer}: opened no disk: {why}", False)

    def turned_away(self, peer: str) -> None:
        """Tell that there are too many clients."""
        self._warn_once(f"{peer} was sent away, because as many clients are connected as may be")

    def failed(self, export: Export, error: Exception) -> None:
        """Tell of an error once, however often a client runs into it."""
        self._warn_once(f"{export.name}: {error}")
        self._warn_if_deleted()

    def _warn_if_deleted(self) -> None:
        try:
            self._check()
        except NotFoundError as error:
            self._warn_once(str(error))

    def _warn_once(self, line: str) -> None:
        with self._lock:
            if line in self._told or len(self._told) >= _TOLD:
                return
            self._told.add(line)
        self._tell(line, True)
