"""The named exceptions of the matrix: every property that may differ after a restore, when, and the reason.

A difference that no exception covers is a fault. An exception with a pattern in ``told`` also has to stand in the plan
of the restore, before anything is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fidelity.drafts import Draft

_Values = tuple[str | None, str | None]


@dataclass(frozen=True)
class Case:
    """One VM of the matrix."""

    row: Mapping[str, str]
    draft: Draft
    before: Any
    copied: Mapping[str, int]
    """Capacity of each disk that the point holds, by address."""
    off_now: bool
    """The VM had run before, and the new one has not."""

    def has(self, dimension: str, *values: str) -> bool:
        """Tell whether the VM has one of some values."""
        return self.row[dimension] in values


@dataclass(frozen=True)
class Named:
    """A property that may differ, and the reason."""

    name: str
    reason: str
    path: str
    """A pattern for the whole path."""
    when: Callable[[Case], bool] = lambda _case: True
    told: str = ""
    """A pattern for a sentence of the plan; empty: it is so for every new VM, and no person has to know."""
    becomes: Callable[[_Values], bool] = lambda _values: True
    """Tells whether the two values are those that the reason explains."""

    def covers(self, case: Case, path: str, before: str | None, after: str | None) -> bool:
        """Tell whether a difference is this exception."""
        return bool(re.fullmatch(self.path, path)) and self.when(case) and self.becomes((before, after))


def _copy(case: Case) -> bool:
    return not case.has("restore", "as it was")


def _lowered(case: Case) -> bool:
    return case.has("new version", "lowered to vmx-14") and not case.has("hardware", "vmx-14")


def _anew(values: _Values) -> bool:
    """Both have a value: it was written anew, and not lost."""
    return None not in values


def _gone(values: _Values) -> bool:
    return values[1] is None


def _off_now(case: Case) -> bool:
    return case.off_now


_DISK = r"device\[VirtualDisk on [^\]]*\]"
_CD = r"device\[VirtualCdrom on [^\]]*\]"
_CARD = r"device\[card \d+\]"
_RUN = (
    r"extraConfig\.(?:uuid\.location|sched\.swap\.derivedname|monitor\.phys_bits_used|numa\.autosize\..*|softpoweroff"
    r"|cleanshutdown|vmotion\..*|vmxstats\.filename|replay\.supported|toolsinstallmanager\..*|tools\.remindinstall"
    r"|guestinfo\.(?:vmtools|gc|vmware\.components)\..*|guestinfo\.detailed\.data|vmci0\.id|scsi\d\.saswwid)"
)
_PHYSICAL = ("physical, placeholder", "physical, left out", "physical, empty disk", "physical, LUN")

EXCEPTIONS: tuple[Named, ...] = (
    Named("times and versions", "they tell of the VM itself, and the new VM is another one",
          r"changeVersion|modified|createDate", becomes=_anew),
    Named("ids of disk files", "the new files have ids of their own; two disks of one id would be taken for one",
          _DISK + r"\.backing\.(?:uuid|contentId)", becomes=lambda values: values[0] is not None),
    Named("names of disk files", "vSphere names them, in the order in which the disks are made",
          _DISK + r"\.backing\.fileName", becomes=_anew),
    Named("marks that vSphere writes", "vSphere writes them anew for each VM and each host",
          r"extraConfig\.(?:viv\.moid|migrate\.hostlog)", becomes=_anew),
    Named("generation id", "a guest has to see that it went back in time, and a domain controller most of all",
          r"extraConfig\.vm\.genidx?"),
    Named("state of the last run", "vSphere writes it anew when the VM starts",
          _RUN, becomes=_anew),
    Named("state of the last run, of a VM that is off now", "vSphere writes it when the VM starts",
          _RUN + r"|memoryAllocation\.overheadLimit|extraConfig\..*\.pcislotnumber", when=_off_now,
          becomes=_gone),
    Named("identity of a copy", "a copy may run beside its original, so that it has UUIDs of its own",
          r"uuid|instanceUuid", when=_copy, becomes=_anew),
    Named("location id of a copy", "it tells where the VM with the old UUIDs was",
          r"locationId", when=_copy, becomes=_gone),
    Named("MAC address of a copy", "a copy may run beside its original, so that it has MAC addresses of its own",
          _CARD + r"\.(?:macAddress|addressType|externalId)", when=lambda case: case.has("restore", "as a copy")),
    Named("world wide names of a copy", "only one VM may use them",
          r"npiv\w*WorldWideName(?:Type|\[\d\])", when=_copy, becomes=_gone, told="NPIV world wide names"),
    Named("manager of a copy", "the extension manages the VM that was backed up, and knows no copy of it",
          r"managedBy\..*", when=_copy, becomes=_gone, told="the extension that manages it"),
    Named("older states of a disk", "a restore point holds one state of the disks; the older ones go with the VM",
          _DISK + r"\.backing\.(?:parent\..*|delta\w+)", when=lambda case: case.has("snapshots", "two"), becomes=_gone,
          told="without its snapshots or the base"),
    Named("lowered version", "as the restore was told, for an older host",
          r"version", when=_lowered, told="hardware version is lowered from"),
    Named("lowered version: cores", "only vmx-20 and newer choose the cores of a socket",
          r"hardware\.autoCoresPerSocket", when=_lowered, told="does not choose them"),
    Named("lowered version: NUMA nodes", "only vmx-20 and newer have sizes of their own",
          r"numaInfo\..*", when=_lowered, told="sizes of its virtual NUMA nodes"),
    Named("boot order without a disk", "a disk that is left out, as asked, cannot be booted from",
          r"bootOptions\.bootOrder\[\d\].*", when=lambda case: case.has("RDM", "physical, left out"),
          told="boot order: without"),
    Named("suspended VM", "no backup of a suspended VM holds its memory, so that the new VM is off",
          r"runtime\.powerState", when=lambda case: case.has("state", "suspended"), told="is left off at the end",
          becomes=lambda values: values == ("suspended", "poweredOff")),
    Named("physical RDM", "no snapshot holds it; the plan says what takes its place",
          _DISK + r"\..*|device\[[^\]]*\]\.device\[VirtualDisk .*",
          when=lambda case: case.has("RDM", *_PHYSICAL), told="physical RDM|physical-mode RDM"),
    Named("virtual RDM", "it becomes an ordinary disk with the same bytes, unless a free LUN is named for it",
          _DISK + r"\.backing\..*", when=lambda case: case.has("RDM", "virtual"), told="virtual-mode RDM"),
    Named("multi-writer", "only the new VM can write to the disk, because the others have the old one",
          _DISK + r"\.backing\.sharing", when=lambda case: case.has("disk mode", "multi-writer"),
          told="several VMs could write to it"),
    Named("shared bus", "vSphere starts no VM with new ordinary disks on a shared bus",
          r"device\[VirtualLsiLogicSASController 0\]\.sharedBus",
          when=lambda case: case.has("controllers", "shared bus"), told="its bus is not shared any more"),
    Named("ISO that is gone", "its drive is empty",
          _CD + r"\.(?:backing|connectable)\..*", when=lambda case: case.has("drives and ports", "ISO that goes"),
          told="empty, because its image"),
    Named("CD drive of the host", "the new VM may be on another host",
          _CD + r"\.(?:backing|connectable)\..*", when=lambda case: case.has("drives and ports", "host's CD drive"),
          told="empty, because it was a drive of the old VM's host"),
    Named("serial port to a file", "the file is the old VM's",
          r"device\[.*VirtualSerialPort.*File.*", when=lambda case: case.has("drives and ports", "serial ports"),
          becomes=_gone, told="Serial port 1: left out"),
    Named("number of a serial port", "vSphere counts the ports anew",
          r"device\[VirtualSerialPort.*URI.*\]\.(?:deviceInfo\..*|unitNumber)",
          when=lambda case: case.has("drives and ports", "serial ports"), told="Serial port 1: left out"),
    Named("parallel port", "it leads to a file of the old VM's host",
          r"device\[.*VirtualParallelPort.*", when=lambda case: case.has("drives and ports", "sound and parallel port"),
          becomes=_gone, told="Parallel port 1: left out"),
    Named("number and slot of a card behind a gap", "vSphere counts the cards of a new VM without gaps",
          _CARD + r"\.(?:deviceInfo\.(?:label|summary)|unitNumber)",
          when=lambda case: case.has("network cards", "three less one")),
    Named("settings of the old place", "they belong to replication, network filters or VNC of the old VM",
          r"extraConfig\.(?:hbr_filter|remotedisplay|card \d|ethernet0)\..*",
          when=lambda case: case.has("settings", "of the old place"), becomes=_gone, told="not taken over: "),
)  # fmt: skip
