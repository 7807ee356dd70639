"""Lists what lies in the folders of some VMs, below any area that has a folder for each VM."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from vmkeep.blobs import BlobInfo, BlobStore, abreast
from vmkeep.repository.points.pointnames import folder_of

_FEW: Final = 16
"""Number of folders that are listed one by one. They are listed at the same time, so they take as long as one."""


def blobs_of_vms(store: BlobStore, area: str, vm_keys: Collection[str]) -> Iterator[BlobInfo]:
    """Yield the blobs of some VMs below an area, sorted by key. For many VMs, the whole area is listed once.

    :param area: the area's prefix, for example ``points/``.
    """
    folders = {folder_of(key) for key in vm_keys}
    if len(folders) > _FEW:
        yield from (blob for blob in store.list(area) if blob.key.removeprefix(area).partition("/")[0] in folders)
        return
    for found in abreast(store, lambda folder: list(store.list(f"{area}{folder}/")), sorted(folders)):
        yield from found
