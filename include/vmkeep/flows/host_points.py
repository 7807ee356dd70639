"""Finds, lists and exports the restore points that hold configurations of ESXi hosts."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from vmkeep.blobs import abreast, name_if_free, sync_folder
from vmkeep.errors import AmbiguousError, ConflictError, CorruptError, NotFoundError, UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.hostconfig import BUNDLE, is_host_key
from vmkeep.model.point import RestorePoint
from vmkeep.repository import Repository

_TEMPORARY = ".vmkeep-{}.partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPoints:
    """The points of one host."""

    key: str
    points: int
    newest: RestorePoint | None
    """The newest point; ``None``: it cannot be read."""
    problem: str = ""
    """The reason why the newest point cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedBundle:
    """A host's bundle, written to a file."""

    point: RestorePoint
    bytes_written: int


def list_hosts(repository: Repository) -> tuple[HostPoints, ...]:
    """Return every host that has points, sorted by name. Reads only the newest point of each."""
    found = abreast(repository.blobs, lambda key: _newest(repository, *key), _keys(repository).items())
    there = [host for host in found if host is not None]
    return tuple(sorted(there, key=lambda host: (host.newest.vm.name if host.newest else "", host.key)))


def points_of(repository: Repository, host: str) -> tuple[RestorePoint | CorruptError, ...]:
    """Return the points of one host, oldest first, and the error of each that cannot be read.

    :param host: the host's name, hardware UUID or key.
    :raises NotFoundError: no host of that name has points.
    :raises AmbiguousError: several hosts of that name have points.
    """
    refs = list(repository.point_refs(_one(repository, host)))
    read = (point for _, point in repository.load_points(refs))
    return tuple(point for point in read if not isinstance(point, NotFoundError))


def find_host_point(repository: Repository, text: str) -> RestorePoint:
    """Return the newest point of the host that a person names, or the point that a ref or the beginning of an id means.

    :raises NotFoundError: neither a host nor a point fits.
    :raises UsageError: the point is one of a VM.
    """
    keys = _named(repository, text) if "/" not in text else []
    if len(keys) > 1:
        raise _several(text, keys)
    point = repository.latest_point(keys[0]) if keys else _point_named(repository, text)
    if point is None:
        raise NotFoundError(f"the restore points of host '{text}' were removed just now; see 'vmkeep host list'")
    if point.host is None:
        raise UsageError(f"{point.ref} is a point of VM {point.vm.name}; 'vmkeep host list' lists those of hosts")
    return point


def export(repository: Repository, text: str, out: Path, *, overwrite: bool) -> ExportedBundle:
    """Write a host's bundle to a file that nobody but the user can read, because it holds the host's secrets.

    The file gets its name once it is complete.

    :param text: see :func:`find_host_point`.
    :raises ConflictError: the file exists and ``overwrite`` is not set.
    :raises CorruptError: the stored bundle is damaged.
    """
    point = find_host_point(repository, text)
    content = repository.load_attachment(point, BUNDLE)
    try:
        _write(out, content, overwrite=overwrite)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from error
    return ExportedBundle(point=point, bytes_written=len(content))


def _write(out: Path, content: bytes, *, overwrite: bool) -> None:
    if not out.parent.is_dir():
        raise NotFoundError(f"{out.parent}: no such folder")
    temporary = out.with_name(_TEMPORARY.format(secrets.token_hex(8)))
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(out)
        elif not name_if_free(temporary, out):
            raise ConflictError(f"{out}: exists already; nothing was written: give another name, or --force")
        sync_folder(out.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _keys(repository: Repository) -> dict[str, int]:
    """Return the number of points of each host, by its key. Lists names and reads no manifest."""
    counts: dict[str, int] = {}
    for name in repository.manifests.names():
        if is_host_key(name.vm_key):
            counts[name.vm_key] = counts.get(name.vm_key, 0) + 1
    return counts


def _newest(repository: Repository, key: str, points: int) -> HostPoints | None:
    try:
        newest = repository.latest_point(key)
    except CorruptError as error:
        return HostPoints(key=key, points=points, newest=None, problem=str(error))
    return None if newest is None else HostPoints(key=key, points=points, newest=newest)


def _point_named(repository: Repository, text: str) -> RestorePoint:
    try:
        return repository.find_point(text)
    except NotFoundError as error:
        what = f"neither a host nor a restore point is called '{text}' in {repository.location}"
        raise NotFoundError(f"{what}; see 'vmkeep host list'") from error


def _named(repository: Repository, text: str) -> list[str]:
    """Return the keys of the hosts that a name, a hardware UUID or a key means. Only a name reads manifests."""
    keys = _keys(repository)
    exact = [key for key in keys if key == text or key == f"host-{text.lower()}"]
    return exact or [host.key for host in list_hosts(repository) if host.newest and host.newest.vm.name == text]


def _one(repository: Repository, text: str) -> str:
    keys = _named(repository, text)
    if not keys:
        raise NotFoundError(f"no restore point of a host '{text}' in {repository.location}; see 'vmkeep host list'")
    if len(keys) > 1:
        raise _several(text, keys)
    return keys[0]


def _several(text: str, keys: Sequence[str]) -> AmbiguousError:
    return AmbiguousError(f"'{text}' names {len(keys)} hosts: name one by its key: {', '.join(sorted(keys))}")
