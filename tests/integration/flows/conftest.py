"""A small lab, a repository and a site that joins them: real SOAP over TLS, the real shared library."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmkeep.images import export_image
from vmkeep.model.site import Site, VCenter
from vmkeep.repository import create_repository, open_repository
from vmlab.testing import Lab, start_lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with start_lab(tmp_path_factory.mktemp("lab") / "lab", data_disk_gib=0.0625) as started:
        yield started


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Site:
    location = str(tmp_path / "repository")
    create_repository(location)
    return Site(
        repository=location,
        vcenter=VCenter(host=lab.host, port=lab.port, user=lab.user, password=lab.password, thumbprint=lab.thumbprint),
        vddk=str(lab.vddk),
    )


class Bench:
    """Shorthands that the tests read by."""

    def __init__(self, lab: Lab, site: Site, folder: Path) -> None:
        self.lab = lab
        self.site = site
        self._folder = folder

    def disks(self, vm: str, *keys: int) -> dict[int, str]:
        """SHA-256 of a VM's disks as they are now, by device key."""
        return {key: self.lab.hash(vm, key) for key in keys}

    def stored(self, ref: str) -> dict[int, str]:
        """SHA-256 of every disk of a restore point, by device key."""
        import hashlib

        found = {}
        with open_repository(self.site.repository) as repository:
            point = repository.load_point(ref)
            for index, disk in enumerate(image.disk for image in point.images):
                out = self._folder / f"{point.id}-{disk.key}.raw"
                export_image(repository, point, index, out, overwrite=True, on_progress=lambda _: None)
                with out.open("rb") as file:
                    found[disk.key] = hashlib.file_digest(file, "sha256").hexdigest()
                out.unlink()
        return found

    def snapshots(self, vm: str) -> list:
        """The VM's snapshots now."""
        return self.lab.vm(vm)["snapshots"]


@pytest.fixture
def bench(lab: Lab, site: Site, tmp_path: Path) -> Bench:
    return Bench(lab, site, tmp_path)
