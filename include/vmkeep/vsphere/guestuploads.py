"""Puts a file into the guest of a running VM through VMware Tools, and reads it back before it gets its name.

The bytes go to the VM's host by HTTPS, on a URL that vCenter gives for one transfer. The file is written beside its
final name, in the same folder, so that the last step is a rename within one file system of the guest.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import logging
import secrets
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from vmkeep.errors import (
    ConflictError,
    NotFoundError,
    StaleError,
    TransientError,
    VerificationError,
    VmKeepError,
    VSphereError,
)
from vmkeep.model.guest import GuestLogin
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.guestcommands import asking, connect_guest_file, enter_guest
from vmkeep.vsphere.hostfiles import EXCHANGE_SECONDS
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

_CALL_SECONDS = 30.0
_SLOWEST = 256 << 10
"""Bytes per second at which a transfer is still waited for."""
_PIECE = 1 << 20


def put_file(
    session: Session,
    moref: str,
    login: GuestLogin,
    path: str,
    pieces: Iterator[bytes | memoryview],
    *,
    size: int,
    mode: int | None,
    replace: bool,
    check: Callable[[int], None] = lambda _done: None,
) -> str:
    """Write a file of the guest, read it back, and give it its name. Return the SHA-256 of its content, in hex.

    If anything fails, the file of that name is as it was, and what was written beside it is removed.

    :param path: absolute path in the guest.
    :param pieces: the content, in order.
    :param size: bytes of the content.
    :param mode: permissions of the new file in a guest with such; ``None``: the guest's own.
    :param replace: replace a file of that name.
    :param check: called with the bytes that were sent so far. Its error ends the work.
    :raises ConflictError: there is a file of that name.
    :raises NotFoundError: the guest has no such folder.
    :raises VerificationError: other bytes came back than were sent.
    :raises VmKeepError: the VM does not run, or the guest refuses the user or the work.
    """
    upload = _Upload(session, moref, login)
    draft = upload.draft_beside(path)
    if not replace and upload.is_there(path):
        raise ConflictError(f"VM {upload.vm}: the guest has a file {path}: give another path, or --replace")
    try:
        sent = upload.send(draft, pieces, size=size, mode=mode, check=check)
        if upload.digest_of(draft, size) != sent:
            raise VerificationError(f"VM {upload.vm}: {path}: other bytes came back from the guest than were sent")
        upload.rename(draft, path, replace=replace)
    except BaseException:
        upload.remove(draft)
        raise
    return sent


class _Upload:
    """The files of one guest, for one user."""

    def __init__(self, session: Session, moref: str, login: GuestLogin) -> None:
        guest = enter_guest(session, moref, login)
        self._session = session
        self._moref = moref
        self.vm = guest.vm
        """The VM, for messages."""
        self._user = login.user
        self._auth = guest.auth
        self._files: Any = guest.managers["fileManager"]
        self._windows = guest.windows

    def draft_beside(self, path: str) -> str:
        """Return a path in the same folder that no file has."""
        separator = "\\" if self._windows else "/"
        folder, found, _ = path.rpartition(separator)
        return f"{folder}{found}.vmkeep-{secrets.token_hex(8)}"

    def is_there(self, path: str) -> bool:
        """Return whether the guest has something of that path."""
        try:
            with self._doing("look for a file"):
                return bool(self._files.ListFilesInGuest(self._vm, self._auth, path, None, 1, None).files)
        except NotFoundError:
            return False

    def send(
        self, path: str, pieces: Iterator[bytes | memoryview], *, size: int, mode: int | None,
        check: Callable[[int], None],
    ) -> str:  # fmt: skip
        """Write a new file; return the SHA-256 of what was sent."""
        if self._windows:
            attributes: Any = vim.vm.guest.FileManager.WindowsFileAttributes()
        else:
            attributes = vim.vm.guest.FileManager.PosixFileAttributes(permissions=mode)
        with self._doing(f"write {path}"):
            url = self._files.InitiateFileTransferToGuest(self._vm, self._auth, path, attributes, size, False)
        sha, done = hashlib.sha256(), 0

        def body() -> Iterator[bytes]:
            nonlocal done
            for piece in pieces:
                sha.update(piece)
                done += len(piece)
                check(done)
                yield bytes(piece)

        with self._exchange(url, "PUT", size, body()) as response:
            response.read()
        if done != size:
            raise StaleError(f"{self._what(f'write {path}')}: {done} bytes were there instead of {size}")
        return sha.hexdigest()

    def digest_of(self, path: str, size: int) -> str:
        """Read a file; return the SHA-256 of its content."""
        with self._doing(f"read {path} back"):
            moved = self._files.InitiateFileTransferFromGuest(self._vm, self._auth, path)
        sha, left = hashlib.sha256(), size + 1
        with self._exchange(moved.url, "GET", size, None) as response:
            while left > 0 and (piece := response.read(min(_PIECE, left))):
                sha.update(piece)
                left -= len(piece)
        return sha.hexdigest()

    def rename(self, draft: str, path: str, *, replace: bool) -> None:
        """Give a file its name."""
        with self._doing(f"rename {draft} to {path}"):
            self._files.MoveFileInGuest(self._vm, self._auth, draft, path, replace)

    def remove(self, draft: str) -> None:
        """Remove what was written beside the name. That it is not there is no failure."""
        try:
            with self._doing(f"remove {draft}"):
                self._files.DeleteFileInGuest(self._vm, self._auth, draft)
        except NotFoundError:
            return
        except VmKeepError as error:
            log.warning("%s; remove it by hand if it is there", error)

    @property
    def _vm(self) -> Any:
        return self._session.vm(self._moref)

    @contextlib.contextmanager
    def _exchange(
        self, url: str, method: str, size: int, body: Iterator[bytes] | None
    ) -> Iterator[http.client.HTTPResponse]:
        """Make one transfer with the host that the URL names."""
        parts = urlsplit(url)
        what = self._what(f"{'send' if method == 'PUT' else 'fetch'} a file")
        seconds = EXCHANGE_SECONDS + size / _SLOWEST
        headers = {} if body is None else {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        with contextlib.closing(
            connect_guest_file(self._session, self._moref, parts.hostname, parts.port or 443, seconds=seconds)
        ) as connection:
            try:
                connection.request(method, f"{parts.path}?{parts.query}", body=body, headers=headers)
                response = connection.getresponse()
                if response.status != 200:
                    raise VSphereError(f"{what}: the host answers HTTP {response.status}")
                yield response
            except (http.client.HTTPException, OSError) as error:
                why = str(error) or type(error).__name__
                raise TransientError(f"{what}: the connection to the host failed ({why})") from None

    def _what(self, action: str) -> str:
        return f"{action} in the guest of VM {self.vm} as user {self._user}"

    @contextlib.contextmanager
    def _doing(self, action: str) -> Iterator[None]:
        with asking(self._what(action)), self._session.patience(_CALL_SECONDS):
            try:
                yield
            except vim.fault.FileNotFound as fault:
                raise NotFoundError(f"{self._what(action)}: the guest has no {fault.file}") from None
            except vim.fault.FileAlreadyExists as fault:
                raise ConflictError(f"{self._what(action)}: the guest has a file {fault.file}") from None
