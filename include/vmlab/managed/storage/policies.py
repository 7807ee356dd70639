"""Storage policies, and their assignment to VMs and disks.

A spec assigns one by `vmProfile` or by a device change's `profile`. An id that no policy has is refused.
"""

from collections.abc import Iterator
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed import ds_paths
from vmlab.managed.machine import Disk
from vmlab.managed.site import Site


def storage_policies(site: Site) -> dict[str, str]:
    """Return the names of all policies, by id."""
    return dict(site.world.meta("policies") or {})


def add_policy(site: Site, policy: str, name: str, datastores: list[str] | None = None) -> None:
    """Make a policy, which only some datastores can hold; without their names, all can."""
    site.world.set_meta("policies", {**storage_policies(site), policy: name})
    if datastores is not None:
        limits = site.world.meta("policy_datastores") or {}
        site.world.set_meta("policy_datastores", {**limits, policy: datastores})


def can_hold(site: Site, policy: str, datastore: str) -> bool:
    """Return whether a datastore can hold files with a policy."""
    limits = site.world.meta("policy_datastores") or {}
    return policy not in limits or datastore in limits[policy]


def assigned_policies(site: Site) -> dict[str, str]:
    """Return the ids of assigned policies, by object (`vm-12`, `vm-12:2000`)."""
    return dict(site.world.meta("assigned_policies") or {})


def check_policies(site: Site, spec: Any) -> None:
    """Raise the InvalidArgument fault for a policy that does not exist."""
    known = storage_policies(site)
    for where, policy in _named(spec):
        if policy not in known:
            message = f"A specified parameter was not correct: {where}.profileId: no storage policy {policy}"
            raise vmodl.fault.InvalidArgument(invalidProperty=where, msg=message)


def check_holders(site: Site, spec: Any) -> None:
    """Raise the fault for a new VM with a policy that the datastore of its part cannot hold."""
    home = ds_paths.parse(spec.files.vmPathName)[0]
    parts = [("configSpec.vmProfile", home, spec.vmProfile)]
    for number, change in enumerate(spec.deviceChange):
        if not change.profile:
            continue  # an ISO, for one, may lie where no datastore is
        file_name = getattr(change.device.backing, "fileName", None)
        store = ds_paths.parse(file_name)[0] if file_name else home
        parts.append((f"configSpec.deviceChange[{number}].profile", store, change.profile))
    for where, store, profiles in parts:
        for profile in filter(_is_defined, profiles):
            if not can_hold(site, profile.profileId, store):
                message = f"The datastore {store} does not fit the storage policy {profile.profileId} of {where}"
                raise vim.fault.InvalidDatastore(name=store, msg=message)


def assign_policies(site: Site, vm: Any, spec: Any, keys: dict[int, int]) -> None:
    """Give a VM and its disks the policies that a spec names. `keys` holds the keys that new devices got."""
    given: dict[str, str] = {}
    for profile in filter(_is_defined, spec.vmProfile):
        given[vm._moId] = profile.profileId
    for change in spec.deviceChange:
        if isinstance(change.device, Disk):
            key = keys.get(change.device.key, change.device.key)
            given |= {f"{vm._moId}:{key}": each.profileId for each in change.profile if _is_defined(each)}
    if given:
        with site.world.transaction():
            site.world.set_meta("assigned_policies", {**assigned_policies(site), **given})


def _named(spec: Any) -> Iterator[tuple[str, str]]:
    for profile in spec.vmProfile:
        if _is_defined(profile):
            yield "configSpec.vmProfile", profile.profileId
    for number, change in enumerate(spec.deviceChange):
        for profile in change.profile:
            if _is_defined(profile):
                yield f"configSpec.deviceChange[{number}].profile", profile.profileId


def _is_defined(profile: Any) -> bool:
    return isinstance(profile, vim.vm.DefinedProfileSpec)
