"""The questions that the NFC service asks vSphere: whether a caller may open a disk, and on which terms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskGrant:
    """Leave to open one disk."""

    ds_path: str
    read_only: bool
    host: str
    """Name of the host that serves it; sessions are counted per host."""
    most_sessions: int = 50
    """The most NFC sessions for which the release of this host has memory."""
    latency_seconds: float = 0.0
    """The least duration of a read or write. Requests in flight on one handle wait at the same time."""
    has_snapshot: bool = False
    """Whether the VM has a snapshot. Without one, SAN and HotAdd open nothing for writing."""
    tracked: bool = False
    """Whether changes of the VM are tracked. If so, SAN does not write."""
    redo_log: bool = False
    """Whether the disk is a snapshot's delta, which SAN does not write."""
    older_snapshots: bool = False
    """Whether the VM has more than one snapshot. If so, SAN does not write."""
    thin: bool = False
    """Whether the disk is thin. If so, SAN does not write, because only a host can allocate its blocks."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Entries that ReadMetadata shows beside the disk's own. ``transport`` overrides the transport mode."""


class NfcError(Exception):
    """Refusal of an open; ``code`` is the low 16 bits of a VixError."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message or f"error {code}")
        self.code = code


class Authority(Protocol):
    """The vSphere side. Called from the service's threads, several at once."""

    @property
    def thumbprint(self) -> str:
        """SHA-1 thumbprint of the lab's TLS certificate. Colons and case do not matter."""

    @property
    def nfc_session_limit(self) -> int:
        """The most NFC sessions that one host may have, whatever its release could serve."""

    def log_in(self, *, user: str | None, password: str | None, cookie: str | None) -> None:
        """Check credentials.

        :raises NfcError: with the code that the real library would give.
        """

    def prepare_access(
        self, *, user: str | None, password: str | None, cookie: str | None, vmx_spec: str, identity: str
    ) -> None:
        """Keep Storage vMotion off a VM until somebody calls :meth:`end_access` with the same identity.

        :raises NfcError: with the code that the real library would give.
        """

    def end_access(
        self, *, user: str | None, password: str | None, cookie: str | None, vmx_spec: str, identity: str
    ) -> None:
        """Allow Storage vMotion again.

        :raises NfcError: this identity has not kept it off, or may not allow it.
        """

    def open_disk(
        self,
        *,
        user: str | None,
        password: str | None,
        cookie: str | None,
        vmx_spec: str | None,
        snapshot_ref: str | None,
        path: str,
        read_only: bool,
        transports: str,
    ) -> DiskGrant:
        """Check everything about one open.

        :raises NfcError: with the code that the real library would give.
        """
