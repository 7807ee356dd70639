"""TLS with pre-shared keys, by the OpenSSL that the package ``cryptography`` brings.

Python's own ``ssl`` has pre-shared keys only from 3.13 on. ``cryptography`` is installed everywhere, and its OpenSSL
offers them on every Python (decision 0065). OpenSSL never sees the socket here: it turns bytes into other bytes in
memory, so that a thread that waits for the client keeps no other thread from encrypting. Its objects are used under a
lock, because it allows one thread at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import Any, Final

from cryptography.hazmat.bindings.openssl.binding import Binding

from vmkeep.errors import UnsupportedError
from vmkeep.nbd.channel import Buffer, GoneError, Line
from vmkeep.nbd.keys import Keys

_lib: Any = Binding().lib
_ffi: Any = Binding().ffi

_SUITES_1_2: Final = b"ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES256-CBC-SHA384:ECDHE-PSK-AES128-CBC-SHA256"
"""With a key of this connection alone, so that a stolen key opens no recorded connection. TLS 1.3 has that always."""
_SUITES_1_3: Final = b"TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
"""Suites with SHA-256, because OpenSSL takes a pre-shared key for no other."""
_FIND_KEY: Final = "unsigned int(SSL *, const char *, unsigned char *, unsigned int)"
_PLAINTEXT: Final = 1 << 20
"""Bytes that are encrypted at a time. With a tenth of that, threads wait for each other half of the time."""
_CIPHERTEXT: Final = _PLAINTEXT + (64 << 10)
"""Bytes of a buffer that takes them with what TLS adds."""
_RECEIVED: Final = 128 << 10
"""Bytes of encrypted data that are read from the client at a time."""


class TlsServer:
    """The keys, which all connections of a server share."""

    def __init__(self, keys: Keys) -> None:
        """:raises UnsupportedError: the installed OpenSSL has no pre-shared keys."""
        if not getattr(_lib, "Cryptography_HAS_PSK", False):
            raise UnsupportedError(
                "the OpenSSL of the Python package cryptography has no pre-shared keys: install cryptography from PyPI"
            )
        self._context = _ffi.gc(_require(_lib.SSL_CTX_new(_lib.TLS_server_method())), _lib.SSL_CTX_free)
        _lib.SSL_CTX_set_min_proto_version(self._context, _lib.TLS1_2_VERSION)
        _lib.SSL_CTX_set_options(
            self._context, _lib.SSL_OP_NO_TICKET | _lib.SSL_OP_NO_RENEGOTIATION | _lib.SSL_OP_CIPHER_SERVER_PREFERENCE
        )
        _lib.SSL_CTX_set_session_cache_mode(self._context, _lib.SSL_SESS_CACHE_OFF)
        _require(_lib.SSL_CTX_set_cipher_list(self._context, _SUITES_1_2))
        _require(_lib.SSL_CTX_set_ciphersuites(self._context, _SUITES_1_3))

        def find_key(_ssl: Any, user: Any, place: Any, size: int) -> int:
            key = keys.get(_ffi.string(user), b"") if user else b""
            if len(key) > size:
                return 0
            _ffi.memmove(place, key, len(key))
            return len(key)

        # Kept here, because OpenSSL calls it as long as the context lives.
        self._find_key = _ffi.callback(_FIND_KEY, find_key, error=0)
        _lib.SSL_CTX_set_psk_server_callback(self._context, self._find_key)

    def shake_hands(self, line: Line) -> TlsChannel:
        """Go over to TLS on a connection.

        :raises GoneError: the client has no key of this server, or is gone.
        """
        ssl = _ffi.gc(_require(_lib.SSL_new(self._context)), _lib.SSL_free)
        return TlsChannel(ssl, line)


class TlsChannel:
    """A connection with TLS."""

    def __init__(self, ssl: Any, line: Line) -> None:
        """Shake hands by TLS."""
        self._ssl = ssl
        self._incoming = _require(_lib.BIO_new(_lib.BIO_s_mem()))
        self._outgoing = _require(_lib.BIO_new(_lib.BIO_s_mem()))
        _lib.SSL_set_bio(ssl, self._incoming, self._outgoing)  # from here on, these two are freed with it
        _lib.SSL_set_accept_state(ssl)
        self._line = line
        self._using = Lock()
        self._sending = Lock()
        self._received = bytearray(_RECEIVED)
        self._encrypted = bytearray(_CIPHERTEXT)
        self._shake_hands()

    def receive(self, view: memoryview) -> None:
        """Fill a buffer."""
        while view:
            with self._using:
                _lib.ERR_clear_error()
                count = _lib.SSL_read(self._ssl, _ffi.from_buffer(view, require_writable=True), len(view))
                need = _lib.SSL_ERROR_NONE if count > 0 else _lib.SSL_get_error(self._ssl, count)
            if count > 0:
                view = view[count:]
            elif need == _lib.SSL_ERROR_WANT_READ:
                self._take()
            elif need == _lib.SSL_ERROR_ZERO_RETURN:
                raise GoneError("the client closed the connection")
            else:
                raise GoneError("the client broke TLS")

    def send(self, *parts: Buffer) -> None:
        """Send a message."""
        self.stream((b"".join(parts),) if sum(map(len, parts)) <= _PLAINTEXT else parts)

    def stream(self, parts: Iterable[Buffer]) -> None:
        """Send a message whose parts are made while it is sent."""
        with self._sending:
            for part in parts:
                view = memoryview(part)
                for start in range(0, len(view), _PLAINTEXT):
                    self._encrypt(view[start : start + _PLAINTEXT])
                    self._give()

    def end(self) -> None:
        """Tell the client that nothing follows."""
        with self._sending:
            with self._using:
                _lib.ERR_clear_error()
                _lib.SSL_shutdown(self._ssl)
            self._give()

    def _shake_hands(self) -> None:
        while True:
            with self._using:
                _lib.ERR_clear_error()
                done = _lib.SSL_do_handshake(self._ssl)
                need = _lib.SSL_get_error(self._ssl, done)
            self._give()  # also after an error, because the client should learn it
            if done == 1:
                return
            if need != _lib.SSL_ERROR_WANT_READ:
                raise GoneError("TLS failed: the client has no key of this server, or another one")
            self._take()

    def _take(self) -> None:
        """Hand OpenSSL some bytes of the client."""
        view = memoryview(self._received)
        if not (count := self._line.read(view)):
            raise GoneError("the client closed the connection")
        with self._using:
            _require(_lib.BIO_write(self._incoming, _ffi.from_buffer(view[:count]), count) == count)

    def _encrypt(self, data: memoryview) -> None:
        with self._using:
            _lib.ERR_clear_error()
            if _lib.SSL_write(self._ssl, _ffi.from_buffer(data), len(data)) != len(data):
                raise GoneError("the client broke TLS")

    def _give(self) -> None:
        """Send the client all bytes that OpenSSL has for it. Only one thread does, to keep them in order."""
        view = memoryview(self._encrypted)
        while True:
            with self._using:
                count = _lib.BIO_read(self._outgoing, _ffi.from_buffer(view, require_writable=True), len(view))
            if count <= 0:
                return
            self._line.write((view[:count],))


def _require(made: Any) -> Any:
    """Return what OpenSSL made.

    :raises MemoryError: it made nothing, for which lack of memory is the only reason.
    """
    if not made:
        raise MemoryError("OpenSSL has no memory")
    return made
