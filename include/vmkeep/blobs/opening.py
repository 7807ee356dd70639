"""From a location, as users write it, to a store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from vmkeep.blobs.local import LocalStore
from vmkeep.blobs.settling import SettlingStore
from vmkeep.blobs.store import BlobStore
from vmkeep.errors import RepositoryError, UsageError


def local_folder(location: str) -> Path:
    """Return the folder that a path or ``file://`` URL names.

    :raises UsageError: another scheme, or a host in the URL.
    """
    if "://" not in location:
        if not location:
            raise UsageError("no repository given; name a folder or set VMKEEP_REPOSITORY")
        return Path(location).expanduser().absolute()
    url = urlsplit(location)
    if url.scheme != "file":
        raise UsageError(f"{location}: repositories of kind '{url.scheme}://' are not supported; name a folder")
    if url.netloc not in ("", "localhost"):
        raise UsageError(f"{location}: a file:// location has no host; write file:///path")
    return Path(unquote(url.path)).absolute()


def open_store(location: str) -> BlobStore:
    """Open the store at a folder's path or ``file://`` URL.

    :raises RepositoryError: there is no such folder.
    """
    folder = local_folder(location)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "no such folder"
        raise RepositoryError(f"{folder}: {what}; create a repository there with 'vmkeep repo init'")
    return SettlingStore(LocalStore(folder))


def create_store(location: str) -> BlobStore:
    """Create the last folder of the location where it is missing, and open the store.

    :raises RepositoryError: the folder above it is missing, or nothing can be created there.
    """
    folder = local_folder(location)
    if folder.exists() and not folder.is_dir():
        raise RepositoryError(f"{folder}: is not a folder")
    if not folder.parent.is_dir():
        raise RepositoryError(f"{folder.parent}: no such folder; create it or mount it first")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RepositoryError(f"{folder}: cannot be created: {error.strerror}") from error
    return SettlingStore(LocalStore(folder))
