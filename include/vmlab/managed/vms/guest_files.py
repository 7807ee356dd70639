"""Makes, lists and removes files in a guest, and hands out the URLs by which their content passes through the host."""

from typing import Any

from vmlab.api import fill, moid, vim
from vmlab.managed.site import Call, File, Guest, Transfer, method
from vmlab.managed.vms.guest_operations import denied, entered, is_windows

Files = vim.vm.guest.FileManager
TEMPORARY, WINDOWS_TEMPORARY = "/tmp/", r"C:\Users\Public\Temp" + "\\"  # noqa: S108  (in a guest that does not exist)


@method(Files, "CreateTemporaryFileInGuest")
def create_temporary_file(
    call: Call, vm: Any, auth: Any, prefix: str, suffix: str, directoryPath: str | None
) -> str:  # fmt: skip
    """Make an empty file of a new name in the guest's folder for such files."""
    guest, user = entered(call.site, vm, auth)
    folder = WINDOWS_TEMPORARY if is_windows(call.site, vm) else TEMPORARY
    if directoryPath and directoryPath.rstrip("/\\") != folder.rstrip("/\\"):
        raise _missing(directoryPath)
    return guest.new_file(user, folder, prefix, suffix)


@method(Files, "DeleteFileInGuest")
def delete_file(call: Call, vm: Any, auth: Any, filePath: str) -> None:
    """Remove a file."""
    guest, user = entered(call.site, vm, auth)
    _file(guest, user, filePath)
    del guest.files[filePath]


@method(Files, "ListFilesInGuest")
def list_files(
    call: Call, vm: Any, auth: Any, filePath: str, index: int | None, maxResults: int | None, matchPattern: str | None
) -> Any:
    """Tell about one file, or about the files in a folder."""
    guest, _ = entered(call.site, vm, auth)
    separator = "\\" if is_windows(call.site, vm) else "/"
    folder = filePath.rstrip(separator) + separator
    inside = {path.removeprefix(folder): file for path, file in guest.files.items() if path.startswith(folder)}
    found = {filePath: guest.files[filePath]} if filePath in guest.files else inside
    if not found:
        raise _missing(filePath)
    told = [
        vim.vm.guest.FileManager.FileInfo(
            path=path, type="file", size=len(file.data), attributes=vim.vm.guest.FileManager.PosixFileAttributes()
        )
        for path, file in found.items()
    ]
    begin, count = index or 0, maxResults or 50
    answered = told[begin : begin + count]
    remaining = max(0, len(told) - begin - count)
    return fill(vim.vm.guest.FileManager.ListFileInfo(files=answered, remaining=remaining))


@method(Files, "InitiateFileTransferFromGuest")
def transfer_from_guest(call: Call, vm: Any, auth: Any, guestFilePath: str) -> Any:
    """Allow one download of a file from the VM's host."""
    guest, user = entered(call.site, vm, auth)
    file = _file(guest, user, guestFilePath)
    token = call.site.guests.allow(Transfer(guest=guest, method="GET", path=guestFilePath, owner=user))
    attributes = vim.vm.guest.FileManager.PosixFileAttributes(modificationTime=file.changed)
    return fill(
        vim.vm.guest.FileManager.FileTransferInformation(
            attributes=attributes, size=len(file.data), url=_url(call, vm, token)
        )
    )


@method(Files, "InitiateFileTransferToGuest")
def transfer_to_guest(
    call: Call, vm: Any, auth: Any, guestFilePath: str, fileAttributes: Any, fileSize: int, overwrite: bool
) -> str:
    """Allow one upload of a file through the VM's host."""
    guest, user = entered(call.site, vm, auth)
    if guestFilePath in guest.files:
        _file(guest, user, guestFilePath)
        if not overwrite:
            raise vim.fault.FileAlreadyExists(file=guestFilePath, msg=f"File {guestFilePath} exists already")
    allowed = Transfer(guest=guest, method="PUT", path=guestFilePath, owner=user, size=fileSize)
    return _url(call, vm, call.site.guests.allow(allowed))


@method(Files, "MoveFileInGuest")
def move_file(call: Call, vm: Any, auth: Any, srcFilePath: str, dstFilePath: str, overwrite: bool) -> None:
    """Rename a file. One of the new name is replaced only if the caller says so."""
    guest, user = entered(call.site, vm, auth)
    file = _file(guest, user, srcFilePath)
    if dstFilePath in guest.files:
        _file(guest, user, dstFilePath)
        if not overwrite:
            raise vim.fault.FileAlreadyExists(file=dstFilePath, msg=f"File {dstFilePath} exists already")
    guest.files[dstFilePath] = file
    del guest.files[srcFilePath]


def _file(guest: Guest, user: str, path: str) -> File:
    """Return a file that a user may read and change. Raises the fault of a file that is not there or not the user's."""
    file = guest.files.get(path)
    if file is None:
        raise _missing(path)
    if file.owner != user and not guest.users[user].administrator:
        raise denied()
    return file


def _missing(path: str) -> Any:
    return vim.fault.FileNotFound(file=path, msg=f"File {path} was not found")


def _url(call: Call, vm: Any, token: str) -> str:
    """Return a URL of the host on which the VM runs, never of the vCenter."""
    host = call.world.get(vm, "runtime").host
    return f"https://127.0.0.1:{call.site.host_ends[moid(host)].port}/guestFile?id=1&token={token}"
