"""Tells from vSphere's id of a guest system what another hypervisor has to know about it.

vSphere's ids are the values of ``VirtualMachineGuestOsIdentifier``; the numbers of CIM are those of
``CIM_OperatingSystem.OSType``, which an OVF file names too.
"""

from __future__ import annotations

import re
from enum import StrEnum

from vmkeep.lateclass import dataclass
from vmkeep.model.portable import Drivers, PortableMachine


class Family(StrEnum):
    """A family of guest systems that are treated alike."""

    WINDOWS = "windows"
    OLD_WINDOWS = "old-windows"
    """Windows before Vista, which starts from IDE disks only."""
    DEBIAN = "debian"
    RED_HAT = "redhat"
    SUSE = "suse"
    LINUX = "linux"
    BSD = "freebsd"
    SOLARIS = "solaris"
    OTHER = "other"


_FAMILIES: tuple[tuple[str, Family], ...] = (
    (r"win(?:31|95|98|Me|NT|2000|XP|Net|DOS)|dosGuest", Family.OLD_WINDOWS),
    (r"win", Family.WINDOWS),
    (r"debian|ubuntu", Family.DEBIAN),
    (r"rhel|redhat|centos|oracleLinux|fedora|asianux|rocky|almalinux|amazonlinux", Family.RED_HAT),
    (r"sles|suse|opensuse|sjds|nld9|oes", Family.SUSE),
    (r"freebsd", Family.BSD),
    (r"solaris", Family.SOLARIS),
    (r"other\d\dx|otherLinux|linux|coreos|flatcar|vmwarePhoton|mandr|mandriva|turboLinux|crx", Family.LINUX),
)
_SURE = (Family.DEBIAN, Family.BSD)
"""Systems whose start-up usually has drivers for virtio, whatever machine they were installed on."""
WINDOWS = (Family.WINDOWS, Family.OLD_WINDOWS)
LINUX = (Family.DEBIAN, Family.RED_HAT, Family.SUSE, Family.LINUX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A guest system."""

    id: str
    family: Family
    bits: int

    @property
    def is_windows(self) -> bool:
        """Whether the guest is a Windows of any age."""
        return self.family in WINDOWS

    @property
    def may_be_linux(self) -> bool:
        """Whether the guest is a Linux, or of a kind that the id does not tell."""
        return self.is_linux or self.family is Family.OTHER

    @property
    def is_linux(self) -> bool:
        """Whether the guest is a Linux of any maker."""
        return self.family in LINUX


def guest_of(machine: PortableMachine) -> Guest:
    """Return the guest system of a machine, from its id."""
    return guest_of_id(machine.guest_id)


def guest_of_id(guest_id: str) -> Guest:
    """Return the guest system that an id of vSphere means."""
    family = next((family for pattern, family in _FAMILIES if re.match(pattern, guest_id, re.IGNORECASE)), Family.OTHER)
    return Guest(id=guest_id, family=family, bits=64 if "64" in guest_id else 32)


def usual_drivers(machine: PortableMachine) -> Drivers:
    """Return the devices that a machine gets if nobody says otherwise: those that its guest surely has drivers for."""
    return Drivers.VIRTIO if guest_of(machine).family in _SURE else Drivers.SAFE


_CIM: tuple[tuple[str, int, int], ...] = (
    (r"ubuntu", 93, 94),
    (r"debian", 95, 96),
    (r"rhel|redhat", 79, 80),
    (r"centos", 106, 107),
    (r"oracleLinux", 108, 109),
    (r"sles", 84, 85),
    (r"suse|opensuse", 82, 83),
    (r"freebsd", 42, 78),
    (r"solaris", 29, 29),
    (r"other24x", 97, 98),
    (r"other\d\dx", 99, 100),
    (r"winXP", 67, 71),
    (r"winNet", 69, 70),
    (r"winLonghorn", 76, 77),
    (r"winVista", 73, 74),
    (r"windows7Server|windows2008", 103, 103),
    (r"windows7", 105, 105),
    (r"windows8Server", 112, 112),
    (r"windows8", 113, 114),
    (r"windows9Server|windows2019|windows2022", 116, 116),
    (r"windows9|windows1\d", 117, 118),
    (r"win", 1, 1),
)


def cim_number(guest: Guest) -> int:
    """Return CIM's number of a guest system: 1 is *other*, 36 *Linux*, 101 *Linux 64-bit*, 102 *other 64-bit*."""
    numbers = next(((low, high) for pattern, low, high in _CIM if re.match(pattern, guest.id, re.IGNORECASE)), None)
    if numbers is None:
        numbers = (36, 101) if guest.is_linux else (1, 102)
    return numbers[guest.bits == 64]
