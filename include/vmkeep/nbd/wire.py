"""The numbers and the fixed layouts of the NBD protocol. All integers on the wire are big-endian.

Source: the protocol document of the NBD project, ``doc/proto.md``. Names there begin with ``NBD_``.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from struct import Struct
from typing import Final

GREETING: Final = Struct(">QQH")
"""Two magic numbers, and the server's handshake flags."""
GREETING_MAGIC: Final = 0x4E42444D41474943
OPTION_MAGIC: Final = 0x49484156454F5054
OPTION_REPLY_MAGIC: Final = 0x0003E889045565A9
CLIENT_FLAGS: Final = Struct(">I")
OPTION: Final = Struct(">QII")
"""Magic, option, length of the data that follow."""
OPTION_REPLY: Final = Struct(">QIII")
"""Magic, option, type of the reply, length of the data that follow."""

FIXED_NEWSTYLE: Final = 1
NO_ZEROES: Final = 2
PADDING: Final = bytes(124)
"""Zeros at the end of an old handshake, unless the client asked for none."""

REQUEST: Final = Struct(">IHHQQI")
"""Magic, flags, command, cookie, offset, length."""
REQUEST_MAGIC: Final = 0x25609513
SIMPLE_REPLY: Final = Struct(">IIQ")
"""Magic, error, cookie."""
SIMPLE_REPLY_MAGIC: Final = 0x67446698
CHUNK: Final = Struct(">IHHQI")
"""Magic, flags, type, cookie, length of the payload that follows."""
CHUNK_MAGIC: Final = 0x668E33EF
CHUNK_DONE: Final = 1
"""The flag of the last chunk of a reply."""

MAX_STRING: Final = 4096
"""Most bytes of any text on the wire."""
MAX_OPTION: Final = 64 << 10
"""Most bytes of an option's data that this server takes."""
MAX_REQUEST: Final = 32 << 20
"""Most bytes that one request may read or write."""
PREFERRED_BLOCK: Final = 4096
"""Bytes of the parts in which a writable disk keeps what was written."""
ALLOCATION: Final = "base:allocation"
"""Name of the metadata context that tells holes from data."""
ALLOCATION_ID: Final = 1


class Option(IntEnum):
    """Requests of a client in the handshake."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10


class Answer(IntEnum):
    """Types of the server's replies to options."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    UNSUPPORTED = (1 << 31) + 1
    POLICY = (1 << 31) + 2
    INVALID = (1 << 31) + 3
    TLS_REQUIRED = (1 << 31) + 5
    UNKNOWN = (1 << 31) + 6
    TOO_BIG = (1 << 31) + 9


class Info(IntEnum):
    """Parts of the answer to ``INFO`` and ``GO``."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class Abilities(IntFlag):
    """The transmission flags: what an export can do."""

    HAS_FLAGS = 1 << 0
    READ_ONLY = 1 << 1
    FLUSH = 1 << 2
    FUA = 1 << 3
    TRIM = 1 << 5
    WRITE_ZEROES = 1 << 6
    DF = 1 << 7
    MULTI_CONN = 1 << 8
    CACHE = 1 << 10


class Command(IntEnum):
    """Requests of a client after the handshake."""

    READ = 0
    WRITE = 1
    DISCONNECT = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class CommandFlag(IntFlag):
    """Flags of a request."""

    FUA = 1 << 0
    NO_HOLE = 1 << 1
    DF = 1 << 2
    REQ_ONE = 1 << 3


class Chunk(IntEnum):
    """Types of the chunks of a structured reply."""

    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5
    ERROR = (1 << 15) + 1
    ERROR_OFFSET = (1 << 15) + 2


class Status(IntFlag):
    """The state of an extent in ``base:allocation``."""

    DATA = 0
    HOLE = 1 << 0
    ZERO = 1 << 1


class Errno(IntEnum):
    """The only error numbers on the wire."""

    EPERM = 1
    EIO = 5
    ENOMEM = 12
    EINVAL = 22
    ENOSPC = 28
    EOVERFLOW = 75
    ESHUTDOWN = 108
