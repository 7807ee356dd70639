"""Virtual hardware versions: those that a host's release runs, and the refusal of a VM that is too new."""

from typing import Any

from vmlab.api import vim
from vmlab.managed.site import Site

RELEASES: dict[int, tuple[str, str]] = {
    4: ("3.5.0", "64607"),
    7: ("4.1.0", "260247"),
    8: ("5.0.0", "469512"),
    9: ("5.1.0", "799733"),
    10: ("5.5.0", "1331820"),
    11: ("6.0.0", "2494585"),
    13: ("6.5.0", "4564106"),
    14: ("6.7.0", "8169922"),
    15: ("6.7.0", "13006603"),
    17: ("7.0.0", "15843807"),
    18: ("7.0.1", "16850804"),
    19: ("7.0.3", "18644231"),
    20: ("8.0.0", "20513097"),
    21: ("8.0.3", "24022510"),
    22: ("9.0.0", "24755229"),
}
"""The first ESXi release that runs a hardware version, by version. Numbers that are missing were never given out."""


_NFC_SESSIONS, _OLD_NFC_SESSIONS = 50, 12
"""The most NFC sessions of a host since release 8, by VMware's advice, and of an older one, whose sessions share 48 MB
and take four buffers of 1 MB each."""


def version_key(number: int) -> str:
    """A version as the API spells it: `vmx-09`, `vmx-21`."""
    return f"vmx-{number:02d}"


def newest_version_on(site: Site, host: Any) -> int:
    """Return the newest version that a host runs: its own of a setting, or that of its release."""
    limits: dict[str, int] = site.world.meta("hardware_versions") or {}
    return int(limits.get(str(site.world.get(host, "name")), site.product.release.hardware))


def most_nfc_sessions(site: Site, host: Any) -> int:
    """Return the most disks that a host's release serves over the network at once."""
    main = int(RELEASES[newest_version_on(site, host)][0].partition(".")[0])
    return _NFC_SESSIONS if main >= 8 else _OLD_NFC_SESSIONS


def runs_version(site: Site, host: Any, version: str) -> bool:
    """Return whether a host runs VMs of a version."""
    return version in {version_key(number) for number in RELEASES if number <= newest_version_on(site, host)}


def hosts_that_run(site: Site, version: str) -> list[Any]:
    """The hosts that run VMs of a version, in order of creation."""
    return [host for host in site.world.all(vim.HostSystem) if runs_version(site, host, version)]


def check_host_version(site: Site, host: Any, version: str) -> None:
    """Raise the VirtualHardwareVersionNotSupported fault if a host does not run VMs of a version."""
    if not runs_version(site, host, version):
        name = str(site.world.get(host, "name"))
        message = f"Virtual hardware version {version} is not supported on host '{name}'."
        raise vim.fault.VirtualHardwareVersionNotSupported(host=host, hostName=name, msg=message)


def version_options(site: Site, hosts: list[Any]) -> list[Any]:
    """Return the versions that some of these hosts run, each with its hosts. The default is the newest that all run."""
    newest = {host: newest_version_on(site, host) for host in hosts}
    default = min(newest.values(), default=0)
    return [
        vim.vm.ConfigOptionDescriptor(
            key=version_key(number),
            description=f"ESXi {release} virtual machine",
            host=[host for host in hosts if number <= newest[host]],
            createSupported=True,
            runSupported=True,
            upgradeSupported=True,
            defaultConfigOption=number == default,
        )
        for number, (release, _) in RELEASES.items()
        if any(number <= limit for limit in newest.values())
    ]
