"""The protocol between a transfer's parent and child: one request line in, events as JSON lines out.

The request comes first on the child's stdin and carries the secrets. After it, ``cancel`` or the end of the stream
means stop. Events go through a copy of file descriptor 1 that only this module knows. Descriptor 1 itself leads to
stderr, so that a library which prints cannot break the stream. Nothing heavy is imported here, because VDDK has to be
initialised first.
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Callable
from dataclasses import field
from typing import Any, Final

from vmkeep.errors import Recovery, TransferError, VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.model.access import AccessJob, VmAccess
from vmkeep.model.aws import AwsCredentials
from vmkeep.model.limits import Limits
from vmkeep.model.site import Site, VCenter
from vmkeep.model.vmref import VmRef

CANCEL: Final = b"cancel\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildRequest:
    """The request that starts a child, one line on its stdin."""

    verb: str
    """``copy``, ``write``, ``access`` or ``probe``."""
    site: dict[str, Any] = field(repr=False)
    """A ``Site`` in plain form, without its passphrase."""
    job: dict[str, Any] | None = None
    """A ``DiskJob``, ``WriteJob`` or ``AccessJob`` in plain form."""
    cursor: dict[str, Any] | None = None
    log_level: int = 20
    black_box: int | None = None
    """Inherited file descriptor of the black box for the library's last lines."""
    driver: str = ""
    """The disk driver, as ``module:name``."""
    launch: dict[str, str] = field(default_factory=dict)
    """A ``Launch`` in plain form."""
    access: dict[str, str] | None = None
    """An ``AccessUsed`` in plain form: the driver, and the reason for it."""
    library_path: str | None = None
    """The parent's LD_LIBRARY_PATH, which the child restores for the programs that it starts."""
    master: str | None = field(default=None, repr=False)
    """Master key of an encrypted repository, in hex.

    The parent has unwrapped it, because the child, which has to use VDDK's OpenSSL, shall derive no key itself.
    """

    def encode(self) -> bytes:
        """Return the request as a line."""
        return json.dumps(dataclasses.asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> ChildRequest:
        """Parse a request.

        :raises TransferError: the line is none.
        """
        try:
            return cls(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise TransferError(f"not a transfer request: {error}") from error


def plain_site(site: Site) -> dict[str, Any]:
    """Return a site in plain form with its secrets, except the passphrase and the function that renews credentials."""
    aws = site.aws and dataclasses.replace(site.aws, renew=None)
    return dataclasses.asdict(dataclasses.replace(site, aws=aws, passphrase=None))


def parse_site(plain: dict[str, Any]) -> Site:
    """Parse the result of :func:`plain_site`. It is done by hand, because nothing heavy may be imported yet."""
    vcenter, aws = plain.get("vcenter"), plain.get("aws")
    parsed = {"vcenter": VCenter(**vcenter) if vcenter else None, "aws": AwsCredentials(**aws) if aws else None}
    lists = {"disk_drivers": tuple(plain.get("disk_drivers") or ()), "limits": Limits(**plain.get("limits") or {})}
    return Site(**{**plain, **parsed, **lists})


def parse_access_job(plain: dict[str, Any]) -> AccessJob:
    """Parse the plain form of an :class:`AccessJob`, by hand as :func:`parse_site` does.

    :raises TransferError: it is none.
    """
    try:
        vms = tuple(VmAccess(vm=VmRef(**one["vm"]), identity=one["identity"]) for one in plain["vms"])
        return AccessJob(vms=vms, prepare=plain["prepare"])
    except (KeyError, TypeError) as error:
        raise TransferError(f"not a job for access holds: {error}") from error


def describe_error(error: BaseException) -> dict[str, Any]:
    """Return an error's fields as an event. The message of a foreign error begins with the name of its type."""
    if isinstance(error, VmKeepError):
        fields = {name: value for name, value in vars(error).items() if isinstance(value, (str, int, float))}
        return {
            "event": "error",
            "kind": type(error).__name__,
            "message": str(error),
            "recovery": error.recovery.value,
            "exit_code": error.exit_code,
            "fields": fields,
        }
    message = f"{type(error).__name__}: {error}".rstrip(": ")
    return {**describe_error(TransferError("")), "message": message}


def rebuild_error(event: dict[str, Any]) -> VmKeepError:
    """Return the same class of error as the child raised, with its message, recovery and fields.

    The object is made without calling the class, whose arguments are not the message. An unknown class becomes a
    :class:`TransferError` with the same recovery.
    """
    kind = _subclasses(VmKeepError).get(str(event.get("kind")), TransferError)
    message = str(event.get("message", ""))
    error = kind.__new__(kind, message)
    Exception.__init__(error, message)
    for name, value in dict(event.get("fields") or {}).items():
        setattr(error, name, value)
    error.recovery = Recovery(event.get("recovery", Recovery.RETRY))
    error.exit_code = int(event.get("exit_code", kind.exit_code))
    return error


def _subclasses(kind: type[VmKeepError]) -> dict[str, type[VmKeepError]]:
    found = {kind.__name__: kind}
    for child in kind.__subclasses__():
        found.update(_subclasses(child))
    return found


class Lines:
    """Cuts a byte stream into lines. A line without an end is cut after one MiB."""

    def __init__(self, on_line: Callable[[bytes], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take bytes of the stream. Empty bytes mean its end, and pass on the last unfinished line."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._rest and (not data or len(self._rest) > 1 << 20):
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._on_line(line)


class Channel:
    """The child's end of the event stream. Thread-safe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._broken = False

    @classmethod
    def take_over(cls) -> Channel:
        """Make the event stream of descriptor 1, and lead all that is printed from now on to stderr."""
        channel = cls(os.dup(1))
        os.dup2(2, 1)
        return channel

    def send(self, event: dict[str, Any]) -> None:
        """Write one event. If nobody reads any more it is dropped, because the end of stdin stops the child anyway."""
        line = json.dumps(event, default=str).encode() + b"\n"
        with self._lock:
            try:
                while line and not self._broken:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:
                self._broken = True
