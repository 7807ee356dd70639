"""An HTTPS connection that checks its peer each time it connects, and limits the time of each exchange.

The SOAP stub uses it, and so do uploads and downloads of files. It knows no SOAP and no session.
"""

from __future__ import annotations

import http.client
import select
import time
from typing import Any

from vmkeep.vsphere.trust import DeadlineSocket, Trust

CONNECT_SECONDS = 15.0


class PinnedConnection(http.client.HTTPSConnection):
    """``http.client``'s connection with our own :meth:`connect`, the only method that opens a socket.

    ``http.client`` connects by itself when a request finds the connection closed, so the check has to sit here.
    """

    def __init__(self, host: str, port: int, *, trust: Trust, call_timeout: float) -> None:
        # A context is given, because otherwise http.client makes one and reads all the system's authorities each time.
        super().__init__(host, port, timeout=min(CONNECT_SECONDS, call_timeout), context=trust.context)
        self._trust = trust
        self.call_timeout = call_timeout
        """Seconds for each later exchange."""

    def connect(self) -> None:
        """Open the socket and check the certificate.

        :raises CertificateError: the certificate is not the expected one. Nothing was sent.
        :raises UnreachableError: no server answers.
        """
        self.sock: Any = self._trust.open_socket(self.host, self.port, timeout=min(CONNECT_SECONDS, self.call_timeout))

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request. The request and its answer together may take ``call_timeout`` seconds."""
        if self.sock is not None and _is_stale(self.sock):
            self.close()
        if self.sock is None:
            self.connect()
        assert isinstance(self.sock, DeadlineSocket)
        self.sock.deadline = time.monotonic() + self.call_timeout
        super().request(*args, **kwargs)


def _is_stale(sock: DeadlineSocket) -> bool:
    """Return whether the peer has closed an idle connection: nothing else can be readable between two exchanges.

    Without this check the first call after a pause fails, and a call that changes something cannot simply be repeated.
    """
    if sock.pending():
        return True
    watch = select.poll()  # not select(), which fails for file numbers above 1023, as a busy worker has
    watch.register(sock, select.POLLIN)
    return bool(watch.poll(0))
