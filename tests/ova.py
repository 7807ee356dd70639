"""Makes an OVA as VMware's ovftool does, with Python's own tar writer: the descriptor, the manifest, then the disks."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:vmw="http://www.vmware.com/schema/ovf"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References>{files}</References>
  <DiskSection><Info/>{disks}</DiskSection>
  <NetworkSection><Info/><Network ovf:name="VM Network"/></NetworkSection>
  <VirtualSystem ovf:id="web01"><Info/><Name>web01</Name>
    <OperatingSystemSection ovf:id="96" vmw:osType="debian12_64Guest"><Info/></OperatingSystemSection>
    <VirtualHardwareSection><Info/><System><vssd:VirtualSystemType>vmx-19</vssd:VirtualSystemType></System>
      <Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
        <rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
      <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>1024</rasd:VirtualQuantity></Item>
      <Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType>
        <rasd:ResourceType>6</rasd:ResourceType></Item>
      {items}
      <Item><rasd:Connection>VM Network</rasd:Connection><rasd:InstanceID>99</rasd:InstanceID>
        <rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>"""
_FORMAT = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"


def ovf_of(disks: Mapping[str, int]) -> bytes:
    """Return a descriptor of disks: name of the file → capacity in bytes."""
    numbered = list(enumerate(disks.items()))
    return OVF.format(
        files="".join(f'<File ovf:href="{name}" ovf:id="file{number}"/>' for number, (name, _) in numbered),
        disks="".join(
            f'<Disk ovf:capacity="{size}" ovf:diskId="disk{number}" ovf:fileRef="file{number}" ovf:format="{_FORMAT}"/>'
            for number, (_, size) in numbered
        ),
        items="".join(
            f"<Item><rasd:AddressOnParent>{number}</rasd:AddressOnParent>"
            f"<rasd:HostResource>ovf:/disk/disk{number}</rasd:HostResource>"
            f"<rasd:InstanceID>{10 + number}</rasd:InstanceID>"
            "<rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>"
            for number, _ in numbered
        ),
    ).encode()


def make_ova(path: Path, disks: Mapping[Path, int]) -> Path:
    """Write an OVA of the files of disks, with the capacity of each in bytes."""
    texts = {"web01.ovf": ovf_of({disk.name: size for disk, size in disks.items()})}
    files = texts | {disk.name: disk.read_bytes() for disk in disks}
    digests = (f"SHA256({name})= {hashlib.sha256(data).hexdigest()}\n" for name, data in files.items())
    ordered = {"web01.ovf": texts["web01.ovf"], "web01.mf": "".join(digests).encode()} | files
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in ordered.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path
