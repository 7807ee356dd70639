"""Talks to ClamAV's daemon: sends it the content of files, and understands its answers.

The protocol is that of clamd(8): a command that begins with ``z`` and ends with a zero byte; after ``INSTREAM`` the
content in pieces, each behind its length in four bytes, and four zero bytes as the end. Each file has a connection of
its own, as the daemon scans the files of one connection one after the other.
"""

from __future__ import annotations

import re
import socket
import struct
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from vmkeep.clock import Deadline
from vmkeep.errors import DeadlineError, UnreachableError, UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.scanfacts import ScannerFacts
from vmkeep.scanning.contract import Content, Verdict, VerdictKind

_CONNECT_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 600.0
"""Longest time for sending one file and for the answer. The daemon ends its own scans before (``MaxScanTime``)."""
_MOST_ANSWER: Final = 8192
_PORT: Final = 3310
_LIMITS: Final = "Heuristics.Limits.Exceeded"
_ENCRYPTED: Final = "Heuristics.Encrypted"
_VERSION: Final = re.compile(r"ClamAV ([^/\s]{1,40})(?:/(\d{1,9})/(.{1,40}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClamdAddress:
    """The address of a daemon: a socket file, or a host and a port."""

    path: Path | None = None
    host: str = ""
    port: int = _PORT

    def __str__(self) -> str:
        return str(self.path) if self.path is not None else f"{self.host}:{self.port}"

    def connect(self) -> socket.socket:
        """Return a connection.

        :raises UnreachableError: nobody answers.
        """
        try:
            if self.path is None:
                return socket.create_connection((self.host, self.port), timeout=_CONNECT_SECONDS)
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(_CONNECT_SECONDS)
                connection.connect(str(self.path))
            except OSError:
                connection.close()
                raise
            return connection
        except OSError as error:
            raise UnreachableError(
                f"clamd at {self} does not answer ({error.strerror or error}): start it, e.g. with 'systemctl start "
                "clamav-daemon', or name a folder of signatures, for which vmkeep starts one"
            ) from error


def parse_clamd_address(text: str) -> ClamdAddress:
    """Return the address that a text names: the path of a socket, or ``HOST:PORT``.

    :raises UsageError: it names neither.
    """
    if "/" in text:
        return ClamdAddress(path=Path(text))
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(
            f"'{text}' names no ClamAV: give the socket of clamd by its path, HOST:PORT, or a folder of signatures"
        )
    return ClamdAddress(host=host.removeprefix("[").removesuffix("]"), port=int(port))


def ask(address: ClamdAddress, command: str, *, seconds: float = _CONNECT_SECONDS) -> str:
    """Return the daemon's answer to a command.

    :raises UnreachableError: it does not answer.
    """
    with address.connect() as connection:
        connection.settimeout(seconds)
        try:
            connection.sendall(f"z{command}\0".encode())
            return _answer(connection, Deadline(seconds, waiting_for=f"clamd's answer to {command}"))
        except (OSError, DeadlineError) as error:
            raise UnreachableError(f"clamd at {address} did not answer to {command}: {error}") from error


def ask_about(address: ClamdAddress, content: Content) -> str:
    """Return the daemon's answer about a file's content, e.g. ``OK`` or ``Win.Test.EICAR_HDB-1 FOUND``.

    :raises UnreachableError: it does not answer.
    """
    deadline = Deadline(_ANSWER_SECONDS, waiting_for="clamd's answer about a file")
    with address.connect() as connection:
        try:
            # A daemon that has enough closes the connection at once, and its answer is there all the same.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.settimeout(deadline.remaining)
                connection.sendall(b"zINSTREAM\0")
                for piece in content.pieces():
                    deadline.check()
                    connection.settimeout(deadline.remaining)
                    connection.sendall(struct.pack(">I", len(piece)) + piece)
                connection.sendall(bytes(4))
            answer = _answer(connection, deadline)
        except (OSError, DeadlineError) as error:
            raise UnreachableError(f"clamd at {address} did not answer about a file: {error}") from error
    if not answer:
        raise UnreachableError(f"clamd at {address} closed the connection without an answer: look into its log")
    return answer.removeprefix("stream: ")


def verdict_of(answer: str) -> Verdict:
    """Return the verdict in a daemon's answer about a file. One that is not known, e.g. an error, is its fault."""
    if answer == "OK":
        return Verdict(kind=VerdictKind.CLEAN)
    if answer.endswith(" FOUND"):
        signature = answer.removesuffix(" FOUND")
        if signature.startswith(_LIMITS):
            limit = signature.removeprefix(_LIMITS).strip(".") or "unknown"
            return _unscanned(f"ClamAV stopped at its limit {limit}")
        if signature.startswith(_ENCRYPTED):
            kind = signature.removeprefix(_ENCRYPTED).strip(".") or "content"
            return _unscanned(f"encrypted ({kind})")
        return Verdict(kind=VerdictKind.FOUND, text=signature)
    if answer.startswith("INSTREAM size limit exceeded"):
        return _unscanned("larger than ClamAV takes (its limit StreamMaxLength)")
    return Verdict(kind=VerdictKind.FAULT, text=f"ClamAV said: {answer[:200]}")


def parse_version(answer: str) -> ScannerFacts:
    """Return the facts in the daemon's answer to ``VERSION``, e.g. ``ClamAV 1.4.3/27812/Thu Nov 6 09:50:24 2025``.

    A daemon without the signatures of ClamAV's makers tells no version and no date of any.
    """
    found = _VERSION.match(answer)
    if found is None:
        return ScannerFacts(name="ClamAV", version="unknown")
    at = None
    if found[3]:
        with suppress(ValueError):
            at = datetime.strptime(" ".join(found[3].split()), "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    return ScannerFacts(name="ClamAV", version=found[1], signatures=found[2] or "", signatures_at=at)


def _unscanned(why: str) -> Verdict:
    return Verdict(kind=VerdictKind.NOT_SCANNED, text=why)


def _answer(connection: socket.socket, deadline: Deadline) -> str:
    """Read an answer up to its zero byte, or to the end of the connection."""
    received = b""
    while b"\0" not in received and len(received) < _MOST_ANSWER:
        deadline.check()
        connection.settimeout(deadline.remaining)
        try:
            part = connection.recv(4096)
        except ConnectionResetError:
            break
        if not part:
            break
        received += part
    return received.partition(b"\0")[0].decode("utf-8", "replace").strip()
