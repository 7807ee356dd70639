"""A small lab, a repository and a site that joins them: real SOAP over TLS, the real shared library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.integration.flows import restoring
from tests.labs import small_lab
from vmkeep.cli.main import cli
from vmkeep.model.site import Site
from vmkeep.repository import create_repository
from vmlab.testing import Lab


@pytest.fixture(autouse=True, scope="module")
def _forked_transfers(transfer_server):
    """Fork the children of transfers, because these tests are of what children do, and none of how they start."""
    with transfer_server.in_use():
        yield


@pytest.fixture(scope="module")
def lab(unused_lab, tmp_path_factory):
    with small_lab(unused_lab, tmp_path_factory.mktemp("lab")) as started:
        yield started


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Site:
    location = str(tmp_path / "repository")
    create_repository(location)
    return restoring.site_of(lab, location)


@pytest.fixture(scope="module")
def kept(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, str]:
    """A repository that all tests of a module share, and a point of web01."""
    location = str(tmp_path_factory.mktemp("kept") / "repository")
    create_repository(location)
    site = restoring.site_of(lab, location)
    return site, restoring.back_up(site, "web01").point


@pytest.fixture
def vmkeep(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line, logged in to the lab."""
    password = tmp_path / "password"
    password.write_text(lab.password)
    password.chmod(0o600)
    for name, value in {
        "VCENTER": f"{lab.host}:{lab.port}", "USER": lab.user, "PASSWORD_FILE": str(password),
        "THUMBPRINT": lab.thumbprint, "CATALOG": f"sqlite:///{tmp_path}/catalog.db",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"VMKEEP_{name}", value)
    monkeypatch.delenv("VMKEEP_REPOSITORY", raising=False)

    def run(*arguments: str, check: bool = True) -> Result:
        return CliRunner().invoke(cli, list(arguments), catch_exceptions=not check, standalone_mode=False)

    return run


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
        return restoring.stored(self.site.repository, ref, self._folder)

    def snapshots(self, vm: str) -> list[Any]:
        """The VM's snapshots now."""
        return list(self.lab.vm(vm)["snapshots"])


@pytest.fixture
def bench(lab: Lab, site: Site, tmp_path: Path) -> Bench:
    return Bench(lab, site, tmp_path)
