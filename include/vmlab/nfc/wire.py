"""Messages between the stand-in library and the NFC service.

One message is a big-endian u32 length and that many bytes: NUL-terminated strings, key and
value in turn. C can parse it safely (``native/vix_message.c``). A missing key means
"not given", which differs from an empty value.
"""

import socket
import struct

LIMIT = 65536
_LENGTH = struct.Struct(">I")


class WireError(Exception):
    """The peer sent bytes that are no message."""


def encode(fields: dict[str, str | None]) -> bytes:
    """Return the bytes of a message; keys whose value is ``None`` are left out."""
    body = b"".join(
        key.encode() + b"\0" + value.replace("\0", "").encode() + b"\0"
        for key, value in fields.items()
        if value is not None
    )
    if len(body) > LIMIT:
        raise WireError(f"message of {len(body)} bytes is longer than {LIMIT}")
    return _LENGTH.pack(len(body)) + body


def receive(connection: socket.socket) -> dict[str, str] | None:
    """Wait for one message; ``None`` when the peer has closed.

    :raises WireError: a malformed message, or one cut short.
    """
    head = _exactly(connection, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > LIMIT:
        raise WireError(f"message of {length} bytes is longer than {LIMIT}")
    body = _exactly(connection, length)
    if body is None or (body and not body.endswith(b"\0")):
        raise WireError("message cut short")
    strings = [part.decode("utf-8", "surrogateescape") for part in body.split(b"\0")[:-1]]
    if len(strings) % 2:
        raise WireError("a key without a value")
    return dict(zip(strings[::2], strings[1::2], strict=True))


def _exactly(connection: socket.socket, length: int) -> bytes | None:
    pieces = bytearray()
    while len(pieces) < length:
        piece = connection.recv(length - len(pieces))
        if not piece:
            return None
        pieces += piece
    return bytes(pieces)
