"""An HTTPS connection that checks its peer each time it connects, and bounds each exchange.

Used by the SOAP stub and by file up- and downloads. Knows no SOAP and no session.
"""

from __future__ import annotations

import http.client
import select
import time
from typing import Any

from vmkeep.vsphere.trust import DeadlineSocket, Trust

CONNECT_SECONDS = 15.0


class PinnedConnection(http.client.HTTPSConnection):
    """``http.client``'s connection with our own :meth:`connect`; there is no other way to a socket in it.

    ``http.client`` connects by itself when a request finds the connection closed, so the check has to sit here.
    """

    def __init__(self, host: str, port: int, *, trust: Trust, call_timeout: float) -> None:
        # Without a context, http.client makes one and reads all the system's authorities into it, each time.
        super().__init__(host, port, timeout=min(CONNECT_SECONDS, call_timeout), context=trust.context)
        self._trust = trust
        self.call_timeout = call_timeout
        """Seconds for each later exchange."""

    def connect(self) -> None:
        """Open the socket and check the certificate.

        :raises CertificateError: nothing was sent.
        :raises UnreachableError: nobody answers.
        """
        self.sock: Any = self._trust.open_socket(self.host, self.port, timeout=min(CONNECT_SECONDS, self.call_timeout))

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request; it and its answer together may take the call's time-out, and no longer."""
        if self.sock is not None and _is_stale(self.sock):
            self.close()
        if self.sock is None:
            self.connect()
        assert isinstance(self.sock, DeadlineSocket)
        self.sock.deadline = time.monotonic() + self.call_timeout
        super().request(*args, **kwargs)


def _is_stale(sock: DeadlineSocket) -> bool:
    """Return whether the peer has closed an idle connection; nothing else can be readable between two exchanges.

    Without this, the first call after a pause fails, and a call that changes something cannot simply be sent again.
    """
    if sock.pending():
        return True
    watch = select.poll()  # not select(): a busy worker has more files open than that can count
    watch.register(sock, select.POLLIN)
    return bool(watch.poll(0))
