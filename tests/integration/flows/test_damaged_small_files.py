"""A point's disks are worth more than its small files: where one of these is damaged, the disks are restored."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pytest

from tests.integration.flows.restoring import Restoring, back_up, hands, site_of
from vmkeep.errors import CorruptError
from vmkeep.repository import Kind, create_repository, open_repository
from vmkeep.repository.frames.packs import pack_key

VM = "web01"


@pytest.fixture(scope="module")
def kept(lab, tmp_path_factory):
    """A repository with a point of a VM that has every small file, also the names of its attributes."""
    with hands(lab) as session:
        manager = session.content.customFieldsManager
        field = manager.AddCustomFieldDef(f"Owner {uuid.uuid4().hex}", None, None, None).key
        manager.SetField(session.vm(lab.vm(VM)["moref"]), field, "Accounting")
    location = tmp_path_factory.mktemp("kept") / "repository"
    create_repository(str(location))
    return location, back_up(site_of(lab, location), VM).point


@pytest.fixture
def own(lab, kept, tmp_path):
    """A copy of that repository, which the test may damage."""
    location, point = kept
    shutil.copytree(location, tmp_path / "repository")
    return site_of(lab, tmp_path / "repository"), point


def damage(site, ref, name):
    """Flip a bit of a file that is kept with a point."""
    with open_repository(site.repository) as repository:
        root = repository.load_point(ref).attachments[name]
        place = repository.open_blocks().locate(Kind.BLOCK, repository.open_map(root).lookup(0))
    pack = Path(site.repository) / pack_key(place.pack)
    content = bytearray(pack.read_bytes())
    content[place.offset + place.length - 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    with open_repository(site.repository) as repository, pytest.raises(CorruptError):
        repository.load_attachment(repository.load_point(ref), name)


@pytest.mark.parametrize("name", ["config.xml", "vm.nvram", "vm.vmx"])
def test_a_vm_keeps_its_nvram_where_that_of_the_point_cannot_be_judged(lab, own, name):
    before, (site, point) = lab.hash(VM, 2000), own
    damage(site, point, name)

    done = Restoring.over(site, point).prepared().written().finish()

    assert lab.hash(VM, 2000) == before
    assert any("NVRAM is not put back" in warning for warning in done.warnings) is (name != "vm.vmx")


@pytest.mark.parametrize("name", ["references.json", "vm.nvram"])
def test_a_new_vm_is_made_without_what_is_damaged_and_the_plan_says_so(own, name):
    site, point = own
    damage(site, point, name)

    restoring = Restoring.new(site, point, f"new-{uuid.uuid4().hex[:6]}").prepared().written()
    done = restoring.finish()

    word = {"references.json": "names", "vm.nvram": "NVRAM"}[name]
    assert any(f"{word} " in warning and "damaged" in warning for warning in restoring.plan.warnings)
    assert done.disks_written == 1


def test_a_restore_comes_to_its_end_though_the_nvram_was_damaged_since_its_plan(own):
    site, point = own
    restoring = Restoring.over(site, point).prepared().written()
    damage(site, point, "vm.nvram")

    done = restoring.finish()

    assert any("NVRAM is not put back" in warning for warning in done.warnings)
