"""Checks on every TLS connection whether this is the trusted server, before one byte is sent to it.

pyVmomi's own check is not used, because it looks at a pinned thumbprint only after ordinary verification has failed,
and switches verification off on localhost. This module knows sockets and certificates, no SOAP and no secret.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from typing import Any

from vmkeep.errors import CertificateError, UnreachableError, UsageError
from vmkeep.model.site import VCenter

_KEEP_ALIVE_SECONDS = 60
_ALGORITHMS = {40: "sha1", 64: "sha256"}


class DeadlineSocket(ssl.SSLSocket):
    """A TLS socket whose receives and sends all end at one deadline.

    A socket's own time-out restarts with every byte, so that a very slow peer could hold a call for ever.
    """

    deadline: float | None = None

    def _arm(self) -> None:
        if self.deadline is not None:
            remaining = self.deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError("timed out")
            self.settimeout(remaining)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Receive, but not past the deadline."""
        self._arm()
        return super().recv_into(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> int:
        """Send, but not past the deadline."""
        self._arm()
        return super().send(*args, **kwargs)


class Trust:
    """The rule for recognising one server: a pinned thumbprint, a CA file, or the system's authorities."""

    def __init__(self, vcenter: VCenter) -> None:
        self._pinned = normal_thumbprint(vcenter.thumbprint) if vcenter.thumbprint else None
        self.context = _context(pinned=self._pinned is not None, ca_file=vcenter.ca_file)
        """The TLS context of every socket. With a pinned thumbprint it does not verify."""
        self.certificate: bytes | None = None
        """DER of the last certificate that was accepted."""

    @property
    def thumbprint_sha1(self) -> str:
        """SHA-1 of the accepted certificate, upper-case hex with colons, as VDDK takes it."""
        return self._thumbprint("sha1")

    @property
    def thumbprint_sha256(self) -> str:
        """SHA-256 of the accepted certificate, for newer versions of VDDK, which take no SHA-1."""
        return self._thumbprint("sha256")

    def _thumbprint(self, algorithm: str) -> str:
        if self.certificate is None:
            raise RuntimeError("no connection was made yet")
        return thumbprint(self.certificate, algorithm)

    def open_socket(self, host: str, port: int, *, timeout: float) -> DeadlineSocket:
        """Connect, and check the certificate.

        :raises CertificateError: the certificate is not the expected one. The connection is closed, nothing was sent.
        :raises UnreachableError: no TLS server answers there in time.
        """
        raw = _connect(host, port, timeout)
        try:
            tls = self.context.wrap_socket(raw, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            raw.close()
            raise self._untrusted(host, port, timeout, error.verify_message) from None
        except TimeoutError:
            raw.close()
            raise UnreachableError(f"{host}:{port} does not answer the TLS handshake within {timeout:.0f} s") from None
        except OSError as error:
            raw.close()
            raise UnreachableError(f"{host}:{port} does not speak TLS as expected: {_reason(error)}") from None
        assert isinstance(tls, DeadlineSocket)
        try:
            self._check(tls, host, port)
        except BaseException:
            tls.close()
            raise
        return tls

    def _check(self, tls: DeadlineSocket, host: str, port: int) -> None:
        seen = tls.getpeercert(binary_form=True)
        if seen is None:
            raise CertificateError(f"{host}:{port} showed no certificate; nothing was sent to it")
        if self._pinned is not None and thumbprint(seen, _ALGORITHMS[len(self._pinned)], colons=False) != self._pinned:
            raise _mismatch(host, port, self._pinned, seen)
        self.certificate = seen

    def _untrusted(self, host: str, port: int, timeout: float, why: str) -> CertificateError:
        try:
            seen = thumbprint(fetch_certificate(host, port, timeout=timeout), "sha1")
            remedy = f"If its SHA-1 thumbprint is really {seen} (compare on the server itself), pin it (--thumbprint)"
        except UnreachableError:
            remedy = "Pin its thumbprint (--thumbprint)"
        return CertificateError(
            f"{host}:{port}: the certificate is not trusted ({why}); nothing was sent to it. {remedy}; "
            "or give the CA's file (--ca-file; in Airflow, both are fields of the connection)"
        )


def fetch_certificate(host: str, port: int, *, timeout: float = 10.0) -> bytes:
    """Return the certificate (DER) that a server shows. Nothing is trusted, and nothing is sent."""
    context = _context(pinned=True, ca_file=None)
    with _connect(host, port, timeout) as raw:
        try:
            with context.wrap_socket(raw, server_hostname=host) as tls:
                return tls.getpeercert(binary_form=True) or b""
        except OSError as error:
            raise UnreachableError(f"{host}:{port} does not speak TLS as expected: {_reason(error)}") from None


def thumbprint(der: bytes, algorithm: str, *, colons: bool = True) -> str:
    """Return a certificate's digest as upper-case hex."""
    text = hashlib.new(algorithm, der, usedforsecurity=False).hexdigest().upper()
    return ":".join(text[at : at + 2] for at in range(0, len(text), 2)) if colons else text


def normal_thumbprint(text: str) -> str:
    """Return a thumbprint as upper-case hex without separators.

    :raises UsageError: the text is no SHA-1 or SHA-256 thumbprint.
    """
    digits = text.replace(":", "").replace(" ", "").replace("-", "").upper()
    if len(digits) not in _ALGORITHMS or set(digits) - set("0123456789ABCDEF"):
        raise UsageError(f"not a certificate thumbprint: {text!r}; give 40 (SHA-1) or 64 (SHA-256) hex digits")
    return digits


def _context(*, pinned: bool, ca_file: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = DeadlineSocket
    if pinned:
        # Only the pin decides, whichever authority signed the certificate and whatever name is in it.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"CA file {ca_file}: {_reason(error)}; give a readable PEM file") from None
    else:
        context.load_default_certs()
    return context


def _connect(host: str, port: int, timeout: float) -> socket.socket:
    try:
        raw = socket.create_connection((host, port), timeout=timeout)
    except (socket.gaierror, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a host name"
        raise UnreachableError(f"{host}: the name does not resolve ({why}); check the address") from None
    except TimeoutError:
        raise UnreachableError(
            f"{host}:{port} does not answer within {timeout:.0f} s; check address and firewall"
        ) from None
    except OSError as error:
        raise UnreachableError(f"{host}:{port} cannot be reached: {_reason(error)}; check address and port") from None
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Some calls take minutes in silence, and firewalls forget silent connections.
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_SECONDS)
    return raw


def _mismatch(host: str, port: int, pinned: str, seen: bytes) -> CertificateError:
    algorithm = _ALGORITHMS[len(pinned)]
    wanted = ":".join(pinned[at : at + 2] for at in range(0, len(pinned), 2))
    return CertificateError(
        f"{host}:{port}: the certificate is not the pinned one; nothing was sent to it. Expected {wanted}, the server "
        f"shows {thumbprint(seen, algorithm)}. If it was renewed (compare on the server itself), pin the new thumbprint"
    )


def _reason(error: OSError) -> str:
    return (getattr(error, "reason", None) or error.strerror or str(error) or type(error).__name__).strip()
