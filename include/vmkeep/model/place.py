"""The place of a new VM, with the place of every disk and network card. A person approves it before it is used."""

from __future__ import annotations

from collections.abc import Iterator

from vmkeep.lateclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledPlace:
    """The place of one new VM. Ids are managed object ids."""

    folder: str
    folder_path: str
    pool: str
    pool_path: str
    host: str
    host_name: str
    datastore: str
    """Name of the datastore for the VM's own files."""
    disks: tuple[tuple[str, str], ...]
    """The address of each disk, and the name of its datastore."""
    networks: tuple[tuple[str, str], ...]
    """The label of each network card, and its network."""
    unconnected: tuple[str, ...] = ()
    """Labels of the network cards that start disconnected."""
    luns: tuple[tuple[str, str], ...] = ()
    """The address of each raw mapping, and the LUN that it maps."""
    directories: tuple[tuple[str, str], ...] = ()
    """Each directory outside of the VM's own folder, and its datastore path."""
    policies: tuple[tuple[str, str], ...] = ()
    """Each part with a storage policy, and the name of the policy."""
    addresses: tuple[tuple[str, str], ...] = ()
    """The label of each network card, and the MAC address that it keeps; empty: it gets a new one."""
    encrypted: bool = False
    """Whether the new VM is encrypted, with the saved VM's key."""

    def differences(self, now: SettledPlace) -> Iterator[str]:
        """Yield, in words, every difference between this place and the one that would be used now."""
        for what, planned, found in (
            ("the VM folder", (self.folder, self.folder_path), (now.folder, now.folder_path)),
            ("the resource pool", (self.pool, self.pool_path), (now.pool, now.pool_path)),
            ("the host", (self.host, self.host_name), (now.host, now.host_name)),
        ):
            if planned != found:
                yield f"{what} is {found[1]} ({found[0]}), not {planned[1]} ({planned[0]})"
        if self.datastore != now.datastore:
            yield f"the VM's files would go to datastore {now.datastore}, not {self.datastore}"
        if self.encrypted != now.encrypted:
            yield "its key can be used now" if now.encrypted else "its key cannot be used any more"
        yield from _parts("disk", self.disks, now.disks)
        yield from _parts("network card", self.networks, now.networks)
        yield from _parts("raw mapping", self.luns, now.luns)
        yield from _parts("the", self.directories, now.directories)
        yield from _parts("storage policy of", self.policies, now.policies)
        before = dict(self.addresses)
        for label, kept in now.addresses:
            if before.get(label, "") != kept:
                yield f"network card {label} would have MAC address {kept or 'new'}, not {before.get(label) or 'new'}"
        for label in sorted({*self.unconnected} ^ {*now.unconnected}):
            yield f"network card {label} would start {'dis' if label in now.unconnected else ''}connected"


def _parts(kind: str, planned: tuple[tuple[str, str], ...], now: tuple[tuple[str, str], ...]) -> Iterator[str]:
    before, after = dict(planned), dict(now)
    for name in {**before, **after}:
        if before.get(name) != after.get(name):
            yield f"{kind} {name} would go to {after.get(name, 'nowhere')}, not {before.get(name, 'nowhere')}"
