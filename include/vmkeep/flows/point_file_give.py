"""Gives a file out of a restore point to the guest of a running VM, through VMware Tools."""

from __future__ import annotations

from collections.abc import Callable

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.fetching import whole
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.point_files import open_point_files, parse_file_path
from vmkeep.lateclass import dataclass
from vmkeep.model.guest import GuestLogin
from vmkeep.model.guestfiles import FileKind
from vmkeep.model.job import Progress
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import open_site_repository
from vmkeep.vsphere.guestuploads import put_file
from vmkeep.vsphere.inventory import find_vm

__all__ = ["GiveRequest", "GivenFile", "give_file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveRequest:
    """The file, and the place in a guest to which it goes."""

    point: str
    source: str
    """``VOLUME:/path`` of a file."""
    vm_selector: str
    """The VM whose guest gets it, running and with VMware Tools."""
    guest_path: str
    """Absolute path in the guest. Its folder has to be there."""
    replace: bool = False
    """Replace a file of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFile:
    """A file that a guest has got."""

    point: str
    volume: str
    path: str
    vm: VmRef
    guest_path: str
    size: int
    sha256: str
    """Digest of the content as it was sent and read back, in hex."""
    warnings: tuple[str, ...]


def give_file(
    site: Site,
    request: GiveRequest,
    login: GuestLogin,
    *,
    tell: Callable[[str], None],
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> GivenFile:
    """Write one file of a restore point into a guest. It gets its name there once it was read back and compared.

    :param tell: takes each warning, before anything is written.
    :raises UsageError: the path in the guest is not absolute.
    :raises NotFoundError: there is no such point, file, VM or folder in the guest.
    :raises UnsupportedError: the source is no file, or the guest cannot be written to.
    :raises ConflictError: the guest has a file of that name.
    :raises CorruptError: a block of the file is damaged. The guest is as it was.
    :raises VerificationError: other bytes came back from the guest than were sent. The guest is as it was.
    """
    if not (request.guest_path.startswith("/") or request.guest_path[1:3] == ":\\") or request.guest_path[-1] in "/\\":
        raise UsageError(
            f"'{request.guest_path}' is no path of a file in a guest: write /folder/file or C:\\folder\\file"
        )
    at = parse_file_path(request.source)
    told: list[str] = []

    def note(warning: str) -> None:
        told.append(warning)
        tell(warning)

    with (
        open_site_repository(site) as repository,
        open_point_files(repository, request.point, doing="giving files back", tell=note) as opened,
    ):
        files, entry = opened.open(at.volume), opened.entry(at)
        if entry.kind is not FileKind.FILE:
            raise UnsupportedError(f"{at} is a {entry.kind}: only single files are given back")
        with open_vsphere(site) as session:
            vm = find_vm(session, request.vm_selector)
            if vm.instance_uuid != opened.point.vm.instance_uuid:
                note(f"VM {vm.name} ({vm.moref}) is not the one that the point is of: {opened.point.vm.in_full}")
            digest = put_file(
                session,
                vm.moref,
                login,
                request.guest_path,
                whole(files, entry),
                size=entry.size,
                mode=None if entry.mode is None else entry.mode & 0o777,
                replace=request.replace,
                check=lambda done: on_progress(Progress(phase="send", bytes_done=done, bytes_total=entry.size)),
            )
        return GivenFile(
            point=opened.point.ref,
            volume=at.volume,
            path=at.path,
            vm=VmRef(moref=vm.moref, name=vm.name),
            guest_path=request.guest_path,
            size=entry.size,
            sha256=digest,
            warnings=tuple(told),
        )
