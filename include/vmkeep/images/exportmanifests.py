"""Finds, reads and replaces the manifests of exports in a folder."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from vmkeep.blobs import sync_folder
from vmkeep.errors import ConflictError, NotFoundError, UnsupportedError, UsageError
from vmkeep.model.exports import LARGEST_MANIFEST, MANIFEST, ExportedPoint, parse_manifest


def find_manifest(path: Path) -> Path:
    """Return the manifest that a person means: itself, or the one beside an image that it names.

    :raises NotFoundError: there is none.
    :raises UnsupportedError: it is on S3.
    """
    if path.parts[:1] == ("s3:",):
        raise UnsupportedError(f"{path}: images on S3 cannot be changed in place: export the point anew")
    if not path.exists():
        raise NotFoundError(f"{path}: there is no such file")
    if path.name.endswith(MANIFEST):
        return path
    for manifest in sorted(path.parent.glob(f"*{MANIFEST}")):
        exported = load_manifest(manifest)
        if any(file.name == path.name for disk in exported.disks for file in disk.files):
            return manifest
    raise NotFoundError(
        f"{path}: no manifest beside it names it (NAME{MANIFEST}); only images that 'point export' wrote can be changed"
    )


def load_manifest(manifest: Path) -> ExportedPoint:
    """Return the export that a manifest tells of.

    :raises NotFoundError: it cannot be read.
    :raises UsageError: it is no manifest of an export.
    """
    try:
        with manifest.open("rb") as file:
            content = file.read(LARGEST_MANIFEST + 1)
    except OSError as error:
        raise NotFoundError(f"{manifest}: cannot be read: {error.strerror}") from error
    return parse_manifest(content, what=str(manifest))


def require_same(manifest: Path, exported: ExportedPoint) -> None:
    """Refuse if another process has changed the manifest since it was read or written here.

    :raises ConflictError: one has.
    """
    if load_manifest(manifest) != exported:
        raise ConflictError(f"{manifest}: another process has just changed this export; look at it, and try again")


def store_manifest(manifest: Path, exported: ExportedPoint) -> None:
    """Replace a manifest, durably.

    :raises UsageError: the folder or the file takes no write.
    """
    partial = manifest.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        try:
            opened = os.open(partial, os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(opened, "wb") as file:
                os.fchmod(opened, stat.S_IMODE(manifest.stat().st_mode))
                file.write(exported.encode())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(manifest)
            sync_folder(manifest.parent)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{manifest}: cannot be written: {error.strerror}") from error
