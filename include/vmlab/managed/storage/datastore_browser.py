"""The datastore browser: files of a folder, or of all folders below, by name pattern and kind."""

import fnmatch
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vmlab.api import vim
from vmlab.disks import DiskError
from vmlab.managed import ds_paths
from vmlab.managed.site import Call, Site, computed, task_method

Browser = vim.host.DatastoreBrowser
DATA_SUFFIXES = ("-flat.vmdk", "-delta.vmdk", "-ctk.vmdk")


def check_browse(call: Call, datastorePath: str, searchSpec: Any) -> None:
    """Raise NoPermission if the caller may not browse the datastore."""
    assert call.session is not None
    ref = ds_paths.datastore_named(call.site, ds_paths.parse(datastorePath)[0])
    call.site.access.require(call.session.user, ref, "Datastore.Browse")


@task_method(Browser, "SearchDatastore_Task", check=check_browse)
def search_datastore(call: Call, datastorePath: str, searchSpec: Any) -> Any:
    """The files directly in a folder."""
    folder = _folder(call.site, datastorePath)
    return _results(call.site, datastorePath, folder, searchSpec)


@task_method(Browser, "SearchDatastoreSubFolders_Task", check=check_browse)
def search_sub_folders(call: Call, datastorePath: str, searchSpec: Any) -> Any:
    """The files in a folder and in every folder below it; folders without a match are left out."""
    top = _folder(call.site, datastorePath)
    name = ds_paths.parse(datastorePath)[0]
    root = ds_paths.root_of(call.site, name).resolve()
    found = []
    for folder in [top, *sorted(path for path in top.rglob("*") if path.is_dir())]:
        path = ds_paths.join(name, str(folder.relative_to(root)) if folder != root else "")
        results = _results(call.site, path, folder, searchSpec)
        if results.file:
            found.append(results)
    return Browser.SearchResults.Array(found)


@computed(Browser, "datastore")
def datastore(site: Site, ref: Any) -> list[Any]:
    """The datastores that a browser sees: its own one, or all."""
    own = [store for store in site.world.all(vim.Datastore) if ref._moId.endswith(store._moId)]
    return own or site.world.all(vim.Datastore)


def _folder(site: Site, path: str) -> Path:
    folder = ds_paths.local(site, path)
    if not folder.is_dir():
        raise vim.fault.FileNotFound(file=path, msg=f"File {path} was not found")
    return folder


def _results(site: Site, path: str, folder: Path, spec: Any) -> Any:
    shown = path if path.rstrip().endswith("]") or path.endswith("/") else path + "/"
    name = ds_paths.parse(path)[0]
    files = sorted(_matching(site, name, folder, spec), key=lambda item: str(item.path))
    return Browser.SearchResults(datastore=ds_paths.datastore_named(site, name), folderPath=shown, file=files)


def _matching(site: Site, datastore_name: str, folder: Path, spec: Any) -> Iterator[Any]:
    patterns = list(spec.matchPattern) if spec is not None and spec.matchPattern else ["*"]
    sensitive = spec is not None and spec.searchCaseInsensitive is False
    kinds = tuple(type(query) for query in spec.query) if spec is not None else ()
    for path in folder.iterdir():
        if not sensitive and not any(fnmatch.fnmatchcase(path.name.lower(), pattern.lower()) for pattern in patterns):
            continue
        if sensitive and not any(fnmatch.fnmatchcase(path.name, pattern) for pattern in patterns):
            continue
        if path.name.endswith(DATA_SUFFIXES) or path.name.startswith("."):
            continue  # the descriptor stands for its data files
        info = _info(site, datastore_name, path, spec.details if spec is not None else None)
        if not kinds or _wanted(info, kinds):
            yield info


def _wanted(info: Any, kinds: tuple[Any, ...]) -> bool:
    pairs = (
        (Browser.VmDiskQuery, Browser.VmDiskInfo),
        (Browser.VmConfigQuery, Browser.VmConfigInfo),
        (Browser.FolderQuery, Browser.FolderInfo),
        (Browser.VmNvramQuery, Browser.VmNvramInfo),
        (Browser.VmLogQuery, Browser.VmLogInfo),
    )
    return any(query in kinds and isinstance(info, kind) for query, kind in pairs) or Browser.Query in kinds


def _info(site: Site, datastore_name: str, path: Path, details: Any) -> Any:
    kinds = {
        ".vmdk": Browser.VmDiskInfo,
        ".vmx": Browser.VmConfigInfo,
        ".nvram": Browser.VmNvramInfo,
        ".log": Browser.VmLogInfo,
    }
    kind = Browser.FolderInfo if path.is_dir() else kinds.get(path.suffix, Browser.FileInfo)
    info = kind(path=path.name)
    stat = path.stat()
    if details is None or details.fileSize:
        info.fileSize = _size(site, datastore_name, path, stat.st_size)
    if details is not None and details.modification:
        info.modification = datetime.fromtimestamp(stat.st_mtime, UTC)
    if details is not None and details.fileOwner:
        info.owner = "root"
    return info


def _size(site: Site, datastore_name: str, path: Path, own: int) -> int:
    """Return a file's size; that of a disk is the sum of its files."""
    if path.suffix != ".vmdk":
        return own
    relative = path.relative_to(ds_paths.root_of(site, datastore_name).resolve())
    try:
        return site.store.info(f"[{datastore_name}] {relative}").size_on_disk
    except DiskError:
        return own
