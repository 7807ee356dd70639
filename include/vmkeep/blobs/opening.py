"""Opens or creates the store at a location, as users write it, and puts the wrappers around it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vmkeep.blobs.local import LocalStore
from vmkeep.blobs.locations import local_folder
from vmkeep.blobs.store import BlobStore
from vmkeep.blobs.wrappers import (
    Meter,
    MeteredStore,
    RetryingStore,
    SettlingStore,
    ThrottledStore,
    WatchedStore,
    pace_for,
    parse_rates,
)
from vmkeep.errors import (
    PermissionDeniedError,
    Recovery,
    RepositoryError,
    StoreError,
    UnreachableError,
    UsageError,
)
from vmkeep.extras import needs_extra
from vmkeep.model.aws import AwsCredentials

if TYPE_CHECKING:
    from vmkeep.blobs.s3 import S3Uploads

_SSH = ("sftp://", "scp://")


def open_store(
    location: str,
    *,
    credentials: AwsCredentials | None = None,
    limit_rate: str | None = None,
    meter: Meter | None = None,
) -> BlobStore:
    """Open the store at a folder's path, a ``file://`` URL, ``s3://bucket/prefix``, or one behind SSH.

    :param credentials: credentials for S3; ``None``: those in the environment.
    :param limit_rate: bytes per second, in the form that :func:`~vmkeep.blobs.wrappers.parse_rates` reads. All
        processes of this user on this machine that give the same rate for this location share it.
        :func:`~vmkeep.blobs.change_rate` changes it later.
    :param meter: counts the calls, each attempt at a call separately.
    :raises UsageError: the location or the rate does not parse.
    :raises MissingExtraError: the extra for this kind of store is not installed.
    :raises RepositoryError: there is no such folder or bucket.
    :raises UnreachableError: the server does not answer.
    :raises AuthenticationError: the server refuses the credentials, or there are none.
    :raises CertificateError: the SSH server's host key is not known, or is not the known one.
    """
    if limit_rate:
        parse_rates(limit_rate)  # a mistake is told before any server is asked

    def settling(store: BlobStore) -> BlobStore:
        # The meter is the innermost wrapper, so that it does not count the wait of a rate limit.
        pace = pace_for(location, store.location, limit_rate)
        return SettlingStore(ThrottledStore(store if meter is None else MeteredStore(store, meter), pace))

    if location.startswith("s3://"):
        return RetryingStore(settling(_open_s3(location, credentials, new=False)))
    if location.startswith(_SSH):
        return RetryingStore(settling(_open_ssh(location, new=False)))
    folder = local_folder(location)
    if not (found := _is_folder(folder)):
        if found is None:
            raise RepositoryError(f"{folder}: no such folder; create a repository there with 'vmkeep repo init'")
        raise RepositoryError(f"{folder}: is not a folder; name the folder of a repository")
    return settling(WatchedStore(LocalStore(folder)))


def open_uploads(location: str, *, credentials: AwsCredentials | None = None) -> S3Uploads:
    """Open ``s3://bucket/prefix`` for large objects that are sent in parts, and do not belong to a repository.

    :param credentials: credentials; ``None``: those in the environment.
    :raises UsageError: the location does not parse.
    :raises MissingExtraError: the extra for S3 is not installed.
    :raises AuthenticationError: there are no credentials.
    """
    with needs_extra("s3", location):
        from vmkeep.blobs.s3 import S3Access, S3Uploads, parse_location

    place = parse_location(location)
    return S3Uploads(S3Access(place, credentials))


def create_store(location: str, *, credentials: AwsCredentials | None = None) -> BlobStore:
    """Create the last folder of the location if it is missing, and open the store. A bucket has to exist.

    :raises RepositoryError: the folder above or the bucket is missing, or the server does not create blobs only if
        absent.
    :raises StoreError: the folder cannot be created, e.g. because its file system is mounted read-only or full.
    :raises PermissionDeniedError: this process may create nothing in the folder above.
    """
    if location.startswith("s3://"):
        return RetryingStore(SettlingStore(_open_s3(location, credentials, new=True)))
    if location.startswith(_SSH):
        return RetryingStore(SettlingStore(_open_ssh(location, new=True)))
    folder = local_folder(location)
    if _is_folder(folder) is False:
        raise RepositoryError(f"{folder}: is not a folder")
    if folder.is_symlink() and not folder.exists():
        raise RepositoryError(f"{folder}: is a link to a folder that is not there; create that or mount it first")
    if not _is_folder(folder.parent):
        raise RepositoryError(f"{folder.parent}: no such folder; create it or mount it first")
    store = LocalStore(folder)
    store.create_folder()
    return SettlingStore(WatchedStore(store))


def _is_folder(path: Path) -> bool | None:
    """Return whether a path is a folder; ``None``: there is nothing of that name.

    :raises PermissionDeniedError: this process may not enter a folder above it.
    :raises UsageError: no file can have that name.
    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise PermissionDeniedError(
            f"{path}: {error.strerror}; let the user of this process (number {os.geteuid()}) enter the folders above",
            target=str(path),
        ) from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be a repository's folder: {error.strerror}") from error


def _open_s3(location: str, credentials: AwsCredentials | None, *, new: bool) -> BlobStore:
    with needs_extra("s3", location):
        from vmkeep.blobs.s3 import S3Access, S3BlobStore, parse_location

    place = parse_location(location)
    store = S3BlobStore(place, S3Access(place, credentials))
    with _knocking():
        store.check_reachable()
        if new:
            store.check_creates()
    return store


def _open_ssh(location: str, *, new: bool) -> BlobStore:
    with needs_extra("ssh", location):
        from vmkeep.blobs.ssh import SftpStore, SshAccess, parse_location

    store = SftpStore(SshAccess(parse_location(location)))
    with _knocking():
        store.check_folder(create=new)
    return store


@contextmanager
def _knocking() -> Iterator[None]:
    """Turn errors that may pass by themselves into one that says that the server cannot be reached."""
    try:
        yield
    except StoreError as error:
        if error.recovery is not Recovery.RETRY:
            raise
        raise UnreachableError(str(error)) from error
