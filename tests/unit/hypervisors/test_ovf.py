"""An OVF descriptor is well-formed whatever a machine is called, and an OVA is a tar that any reader takes."""

from __future__ import annotations

import io
import tarfile
from hashlib import sha256
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.hypervisors.conftest import ODD_MACHINE, card, disk, files_of, machine, machines
from vmkeep.errors import UnsupportedError
from vmkeep.hypervisors import WrittenDisk, ovf_xml, plan_ova
from vmkeep.hypervisors.ova import BLOCK, END, padded, tar_header
from vmkeep.model.disk import ControllerKind

OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
RASD = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"


@given(machines)
def test_a_descriptor_is_well_formed_and_refers_to_nothing_that_is_not_there(described):
    root = ET.fromstring(ovf_xml(described, files_of(described)))

    files = {each.get(f"{OVF}id") for each in root.iter(f"{OVF}File")}
    disks = {each.get(f"{OVF}diskId"): each.get(f"{OVF}fileRef") for each in root.iter(f"{OVF}Disk")}
    assert set(disks.values()) == files
    items = list(root.iter(f"{OVF}Item"))
    numbers = [item.findtext(f"{RASD}InstanceID") for item in items]
    assert len(set(numbers)) == len(numbers)
    for item in items:
        if (host := item.findtext(f"{RASD}HostResource")) is not None:
            assert host.removeprefix("ovf:/disk/") in disks
        assert item.findtext(f"{RASD}Parent") in {None, *numbers}
        tags = [child.tag for child in item if child.tag.startswith(RASD)]
        assert tags == sorted(tags)  # the schema wants them so
    networks = {each.get(f"{OVF}name") for each in root.iter(f"{OVF}Network")}
    assert {item.findtext(f"{RASD}Connection") for item in items} - {None} == networks


def written(plan, sizes):
    return [WrittenDisk(key=key, name=plan.disks[key], size=sizes[key], populated=sizes[key]) for key in plan.disks]


@given(st.lists(st.integers(1, 5000), min_size=3, max_size=3))
def test_an_ova_is_a_tar_with_descriptor_manifest_and_disks_in_that_order(sizes):
    plan = plan_ova(ODD_MACHINE, "web", {disk.key: f"web-disk{disk.key}.vmdk" for disk in ODD_MACHINE.disks})
    contents = {key: bytes([at + 1]) * size for at, (key, size) in enumerate(zip(plan.disks, sizes, strict=True))}
    files = written(plan, {key: len(content) for key, content in contents.items()})
    digests = {plan.disks[key]: sha256(content).hexdigest() for key, content in contents.items()}

    head = plan.head(files, digests)
    assert len(head) == plan.head_size
    parts = [head]
    for key, content in contents.items():
        parts += [tar_header(plan.disks[key], len(content)), content.ljust(padded(len(content)), b"\0")]
    whole = b"".join([*parts, bytes(END)])

    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        assert tar.getnames() == [plan.descriptor, plan.manifest, *plan.disks.values()]
        read = {name: tar.extractfile(name).read() for name in tar.getnames()}
    assert {name: read[name] for name in plan.disks.values()} == {plan.disks[key]: contents[key] for key in contents}
    lines = dict(line.removeprefix("SHA256(").split(")= ") for line in read[plan.manifest].decode().splitlines())
    assert lines == {name: sha256(read[name]).hexdigest() for name in (plan.descriptor, *plan.disks.values())}
    sizes_told = [
        int(each.get(f"{OVF}size")) for each in ET.fromstring(read[plan.descriptor].decode()).iter(f"{OVF}File")
    ]
    assert sizes_told == [len(content) for content in contents.values()]


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 10 * 2**40, 2**63 - 1])
def test_a_tar_header_tells_any_size(size):
    header = tar_header("disk.vmdk", size)

    told = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    assert len(header) == BLOCK
    assert (told.name, told.size, told.isreg()) == ("disk.vmdk", size, True)
    assert (header[257:263] == b"ustar\0") == (size < 8**11)


def test_a_descriptor_says_nothing_where_nothing_is_known():
    described = machine(disks=(disk(0, kind=ControllerKind.IDE),), cards=(card(mac=None), card(1, mac="bad")))

    text = ovf_xml(described, files_of(described))
    assert "None" not in text
    items = list(ET.fromstring(text).iter(f"{OVF}Item"))
    assert all(child.text for item in items for child in item)
    kinds = {item.findtext(f"{RASD}ResourceType"): item for item in items}
    assert kinds["5"].find(f"{RASD}ResourceSubType") is None
    assert kinds["10"].find(f"{RASD}Address") is None


def test_a_descriptor_that_outgrew_its_place_is_refused():
    described = machine()

    with pytest.raises(UnsupportedError, match="bytes more"):
        ovf_xml(described, files_of(described), size=100)
