"""A VM that goes on working moves to images outside vSphere: a full export, then only what has changed."""

from __future__ import annotations

import hashlib
import json
import subprocess
from functools import partial

import pytest

from tests.integration.flows import restoring
from vmkeep.clock import now
from vmkeep.flows import applying, exports
from vmkeep.repository import create_repository, open_repository

VM, DISK = "web01", 2000
WRITES = (
    [{"offset": 1 << 20, "length": 4096, "seed": 1}, {"offset": 5 << 20, "length": 1 << 20, "zero": True}],
    [{"offset": 1 << 20, "length": 512, "seed": 2}, {"offset": 5 << 20, "length": 512, "seed": 3}],
)
"""The writes of the guest before each increment: into data, over data with zeros, and into what became zero."""


@pytest.fixture(scope="module")
def moving(lab, tmp_path_factory):
    """A site, the refs of a full and two increments of a VM that writes, and the digests of its disk at each."""
    location = str(tmp_path_factory.mktemp("moving") / "repository")
    create_repository(location)
    site = restoring.site_of(lab, location)
    sealed, digests = [], []
    for writes in (None, *WRITES):
        if writes:
            lab.write(VM, DISK, writes)
        digests.append(lab.hash(VM, DISK))
        sealed.append(restoring.back_up(site, VM))
    return site, sealed, digests


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_a_full_export_and_two_increments_give_the_disk_as_the_vm_has_it(lab, moving, vmkeep, tmp_path, form):
    site, sealed, digests = moving
    repository = ("--repository", site.repository, "--json")
    done = vmkeep(
        "point", "export", sealed[0].point, "--format", form, "--disk", "0", "--out", str(tmp_path), *repository
    )
    image = tmp_path / json.loads(done.stdout)["disks"][0]["files"][0]["name"]
    for each, digest in zip(sealed[1:], digests[1:], strict=True):
        applied = json.loads(vmkeep("point", "apply", each.point, str(image), *repository).stdout)
        assert 0 < applied["disks"][0]["bytes_changed"] < 4 << 20
        assert digest_of(image, form, tmp_path) == digest
    assert digest == lab.hash(VM, DISK)


def test_points_are_held_against_deletion_while_they_are_exported_and_applied(moving, tmp_path):
    site, sealed, _ = moving
    held = {}
    with open_repository(site.repository) as repository:

        def watch(ref, _label):
            held[ref] = [use.doing for use in repository.uses.of(ref, time=now())]
            return lambda _progress: None

        first, second = sealed[0].point, sealed[1].point
        request = exports.ExportRequest(point=first, format=exports.ImageFormat.RAW, out=str(tmp_path), disks=("0",))
        done = exports.export(repository, request, on_progress=partial(watch, first))
        applying.apply(repository, second, tmp_path / done.manifest, on_progress=partial(watch, second))
        assert held == {first: ["exporting"], second: ["applying"]}
        assert not repository.uses.of(second, time=now())


def digest_of(image, form, folder):
    if form == "qcow2":
        subprocess.run(["qemu-img", "check", str(image)], check=True, capture_output=True)
    plain = folder / "plain"
    subprocess.run(["qemu-img", "convert", "-f", form, "-O", "raw", str(image), str(plain)], check=True)
    with plain.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
