"""Guests: the report of VMware Tools on a VM, and the names of guest systems."""

from typing import Any

from vmlab.api import fill, vim

_NAMES: dict[str, tuple[str, str]] = {
    "debian12_64Guest": ("Debian GNU/Linux 12 (64-bit)", "linuxGuest"),
    "debian11_64Guest": ("Debian GNU/Linux 11 (64-bit)", "linuxGuest"),
    "ubuntu64Guest": ("Ubuntu Linux (64-bit)", "linuxGuest"),
    "rhel9_64Guest": ("Red Hat Enterprise Linux 9 (64-bit)", "linuxGuest"),
    "centos7_64Guest": ("CentOS 7 (64-bit)", "linuxGuest"),
    "otherLinux64Guest": ("Other Linux (64-bit)", "linuxGuest"),
    "otherLinuxGuest": ("Other Linux (32-bit)", "linuxGuest"),
    "windows2019srv_64Guest": ("Microsoft Windows Server 2019 (64-bit)", "windowsGuest"),
    "windows9_64Guest": ("Microsoft Windows 10 (64-bit)", "windowsGuest"),
    "winNetEnterpriseGuest": ("Microsoft Windows Server 2003 (32-bit)", "windowsGuest"),
    "otherGuest64": ("Other (64-bit)", "otherGuestFamily"),
    "otherGuest": ("Other (32-bit)", "otherGuestFamily"),
}


def guest_names(guest_id: str) -> tuple[str, str]:
    """The full name and the family of a guest id."""
    return _NAMES.get(guest_id, ("Other (64-bit)", "otherGuestFamily"))


def guest_descriptors() -> list[Any]:
    """Return the guest systems that a VM may be made for, each with the devices that suit it."""
    devices = vim.vm.device
    return [
        fill(
            vim.vm.GuestOsDescriptor(
                id=guest_id,
                family=family,
                fullName=full,
                supportedMaxCPUs=16,
                supportedMinMemMB=32,
                supportedMaxMemMB=65536,
                recommendedMemMB=1024,
                supportedDiskControllerList=[devices.ParaVirtualSCSIController, devices.VirtualLsiLogicController],
                recommendedSCSIController=devices.ParaVirtualSCSIController,
                recommendedDiskController=devices.ParaVirtualSCSIController,
                recommendedCdromController=devices.VirtualAHCIController,
                supportedEthernetCard=[devices.VirtualVmxnet3, devices.VirtualE1000e],
                recommendedEthernetCard=devices.VirtualVmxnet3,
                supportedFirmware=["bios", "efi"],
                recommendedFirmware="efi",
                supportLevel="supported",
                supportedForCreate=True,
            )
        )
        for guest_id, (full, family) in _NAMES.items()
    ]


def new_guest(config: Any, *, tools: bool = False, ip: str | None = None, host_name: str | None = None) -> Any:
    """Make the GuestInfo of a new VM. It is empty without Tools; a last address stays known while the VM is off."""
    full, family = guest_names(config.guestId)
    guest = vim.vm.GuestInfo(
        toolsStatus="toolsOk" if tools else "toolsNotInstalled",
        toolsVersionStatus="guestToolsCurrent" if tools else "guestToolsNotInstalled",
        toolsVersionStatus2="guestToolsCurrent" if tools else "guestToolsNotInstalled",
        toolsRunningStatus="guestToolsNotRunning",
        toolsVersion="12389" if tools else "0",
        guestId=config.guestId if tools else None,
        guestFamily=family if tools else None,
        guestFullName=full if tools else None,
        hostName=host_name,
        ipAddress=ip,
        guestState="notRunning",
        guestOperationsReady=False,
        interactiveGuestOperationsReady=False,
    )
    if tools:
        guest.disk = [vim.vm.GuestInfo.DiskInfo(diskPath="/", capacity=8 << 30, freeSpace=5 << 30)]
        guest.guestStateChangeSupported, guest.hwVersion = True, config.version
    if ip:
        guest.net, guest.ipStack = [_card(config, ip)], [_stack(host_name or "")]
    return fill(guest)


def _card(config: Any, ip: str) -> Any:
    """The first network card as the guest sees it."""
    cards = [device for device in config.hardware.device if isinstance(device, vim.vm.device.VirtualEthernetCard)]
    address = vim.net.IpConfigInfo.IpAddress(ipAddress=ip, prefixLength=24, state="preferred")
    nic = vim.vm.GuestInfo.NicInfo(
        network="VM Network", ipAddress=[ip], connected=True, deviceConfigId=4000,
        ipConfig=vim.net.IpConfigInfo(ipAddress=[address]),
    )  # fmt: skip
    if cards:
        nic.deviceConfigId, nic.macAddress = cards[0].key, cards[0].macAddress
    return nic


def _stack(host_name: str) -> Any:
    name, _, domain = host_name.partition(".")
    dns = vim.net.DnsConfigInfo(dhcp=False, hostName=name, domainName=domain, ipAddress=["192.168.10.1"])
    return vim.vm.GuestInfo.StackInfo(dnsConfig=dns)


def set_running(guest: Any, *, running: bool) -> None:
    """Set the state of Tools and guest to the VM's power state, if Tools are installed."""
    installed = guest.toolsStatus not in (None, "toolsNotInstalled")
    up = running and installed
    guest.toolsRunningStatus = "guestToolsRunning" if up else "guestToolsNotRunning"
    guest.guestState = "running" if up else "notRunning"
    guest.guestOperationsReady = up
    if installed:
        guest.toolsStatus = "toolsOk" if running else "toolsNotRunning"
