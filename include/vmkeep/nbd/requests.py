"""One request of a client, and whether it may be carried out."""

from __future__ import annotations

from typing import Final

from vmkeep.lateclass import dataclass
from vmkeep.nbd.wire import MAX_REQUEST, REQUEST, REQUEST_MAGIC, Abilities, Command, CommandFlag, Errno

_FLAGS: Final = {
    Command.READ: CommandFlag.DF,
    Command.WRITE: CommandFlag.FUA,
    Command.TRIM: CommandFlag.FUA,
    Command.WRITE_ZEROES: CommandFlag.FUA | CommandFlag.NO_HOLE,
    Command.BLOCK_STATUS: CommandFlag.REQ_ONE,
}
"""The flags that each command may carry."""
_NEEDS: Final = {
    Command.FLUSH: Abilities.FLUSH,
    Command.TRIM: Abilities.TRIM,
    Command.WRITE_ZEROES: Abilities.WRITE_ZEROES,
}
"""The ability that an export must have offered for a command."""
_WRITING: Final = frozenset({Command.WRITE, Command.TRIM, Command.WRITE_ZEROES})
_WITH_DATA: Final = frozenset({Command.READ, Command.WRITE})
"""Commands whose length is a number of bytes on the wire, and not only on the disk."""


class NotARequestError(Exception):
    """The bytes are no request: nobody can tell where the next one would begin."""


class RefusedError(Exception):
    """A request is answered with an error, and the connection goes on."""

    def __init__(self, error: Errno, why: str) -> None:
        super().__init__(why)
        self.error = error


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the client sent it."""

    command: int
    flags: int
    cookie: int
    """The client's own number for the request; each reply repeats it."""
    offset: int
    length: int

    @property
    def stop(self) -> int:
        """The end of the range that the request is about."""
        return self.offset + self.length

    def has(self, flag: CommandFlag) -> bool:
        """Tell whether a flag is set."""
        return bool(self.flags & flag)


def parse_request(header: bytes | bytearray | memoryview) -> Request:
    """Take a request's header apart.

    :raises NotARequestError: it is none.
    """
    magic, flags, command, cookie, offset, length = REQUEST.unpack(header)
    if magic != REQUEST_MAGIC:
        raise NotARequestError(f"the client sent {magic:#010x} where a request begins")
    return Request(command, flags, cookie, offset, length)


def require_allowed(request: Request, *, able: Abilities, capacity: int, allocation: bool) -> None:
    """Refuse a request that the export or the handshake does not allow.

    :param allocation: the client has asked for the metadata context in the handshake.
    :raises RefusedError: the request cannot be carried out.
    """
    try:
        command = Command(request.command)
    except ValueError:
        raise RefusedError(Errno.EINVAL, f"this server does not know command {request.command}") from None
    allowed = _FLAGS.get(command, CommandFlag(0))
    if Abilities.FUA in able:
        allowed |= CommandFlag.FUA  # clients may set it with any command
    if Abilities.DF not in able:
        allowed &= ~CommandFlag.DF
    if unknown := request.flags & ~int(allowed):  # an IntFlag inverts only the bits that it has names for
        raise RefusedError(Errno.EINVAL, f"flags {unknown:#x} do not belong to this command")
    if command in _WRITING and Abilities.READ_ONLY in able:
        raise RefusedError(Errno.EPERM, "the disk of a restore point is read-only")
    if (need := _NEEDS.get(command)) is not None and need not in able:
        raise RefusedError(Errno.EINVAL, "the export does not offer this command")
    if command is Command.BLOCK_STATUS and not allocation:
        raise RefusedError(Errno.EINVAL, "no metadata context was chosen in the handshake")
    if command is not Command.FLUSH:
        _require_range(request, command, capacity)


def _require_range(request: Request, command: Command, capacity: int) -> None:
    if request.length == 0:
        raise RefusedError(Errno.EINVAL, "the request is about no byte")
    if command in _WITH_DATA and request.length > MAX_REQUEST:
        raise RefusedError(Errno.EINVAL, f"a request may carry {MAX_REQUEST} bytes at most")
    if request.stop > capacity:
        beyond = Errno.ENOSPC if command in _WRITING else Errno.EINVAL
        raise RefusedError(beyond, f"byte {request.stop} is beyond the end of the disk at {capacity}")
