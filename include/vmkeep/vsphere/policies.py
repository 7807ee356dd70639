"""Reads the storage policies of a VM and its disks from vCenter's policy service, whose endpoint is ``/pbm/sdk``.

Each call carries the id of the vCenter session in its SOAP header. The service may be slow, absent or forbidden, so no
backup waits for it long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from vmkeep.errors import VSphereError
from vmkeep.model.references import NamedPolicy
from vmkeep.vsphere.api import pbm
from vmkeep.vsphere.faults import message, speaking
from vmkeep.vsphere.session import Session

PATH = "/pbm/sdk"
VERSION = "pbm.version.version11"
"""API version of vSphere 6.5, which every later vCenter speaks too.

With an older version pyVmomi cannot read the fault of a missing right.
"""
SECONDS = 20.0
"""Seconds for one call. They are few, because a snapshot may grow meanwhile."""

_Ref = pbm.ServerObjectRef


def read_policies(session: Session, moref: str, disks: Iterable[int]) -> tuple[NamedPolicy, ...]:
    """Return the storage policies of a VM's own files and of its disks. An ESXi host has none.

    :param disks: device keys.
    :raises VmKeepError: the service does not answer, or refuses.
    """
    if not session.is_vcenter:
        return ()
    wanted: dict[str, int | None] = {moref: None, **{f"{moref}:{key}": key for key in disks}}
    with _understanding(f"ask for the storage policies of VM {moref}"), _open(session) as content:
        manager = content.profileManager
        found = manager.QueryAssociatedProfiles([_ref(session, key, disk) for key, disk in wanted.items()])
        policies = list(_assigned(found or (), wanted))
        ids = list(dict.fromkeys(policy for _, policy in policies))
        profiles = manager.RetrieveContent([pbm.profile.ProfileId(uniqueId=each) for each in ids]) if ids else ()
        names = {profile.profileId.uniqueId: str(profile.name) for profile in profiles}
    return tuple(NamedPolicy(id=policy, name=names[policy], disk=disk) for disk, policy in policies)


def list_policies(session: Session) -> Mapping[str, str]:
    """Return the names of the storage policies that a VM can have, by their ids. An ESXi host has none.

    :raises VmKeepError: the service does not answer, or refuses.
    """
    if not session.is_vcenter:
        return {}
    with _understanding(f"list the storage policies of {session.host}"), _open(session) as content:
        manager = content.profileManager
        kind = pbm.profile.ResourceType(resourceType="STORAGE")
        ids = list(manager.QueryProfile(kind, "REQUIREMENT") or ())
        found = manager.RetrieveContent(ids) if ids else ()
        return {str(profile.profileId.uniqueId): str(profile.name) for profile in found}


def unfit_for(session: Session, policy: str, datastores: Iterable[str]) -> frozenset[str]:
    """Return those of some datastores that cannot hold files with a storage policy.

    :param policy: id of the policy.
    :param datastores: managed object ids.
    :raises VmKeepError: the service does not answer, or refuses.
    """
    hubs = [pbm.placement.PlacementHub(hubType="Datastore", hubId=each) for each in datastores]
    with _understanding(f"compare storage policy {policy} with datastores"), _open(session) as content:
        found = content.placementSolver.CheckCompatibility(hubs, pbm.profile.ProfileId(uniqueId=policy))
        fit = {str(result.hub.hubId) for result in found or () if not result.error}
    return frozenset(hub.hubId for hub in hubs) - fit


def _ref(session: Session, key: str, disk: int | None) -> Any:
    return _Ref(
        objectType="virtualMachine" if disk is None else "virtualDiskId", key=key, serverUuid=session.instance_uuid
    )


def _assigned(found: Iterable[Any], wanted: Mapping[str, int | None]) -> Iterator[tuple[int | None, str]]:
    for result in found:
        if result.fault is not None:
            raise VSphereError(f"{result.object.key} has no policy that can be told: {message(result.fault)}")
        for policy in result.profileId or ():
            yield wanted[result.object.key], str(policy.uniqueId)


@contextmanager
def _open(session: Session) -> Iterator[Any]:
    stub = session.side_stub(PATH, VERSION, call_timeout=SECONDS)
    try:
        yield pbm.ServiceInstance("ServiceInstance", stub).RetrieveContent()
    finally:
        stub.DropConnections()


@contextmanager
def _understanding(what: str) -> Iterator[None]:
    """Turn the service's faults, and answers that make no sense, into our errors."""
    try:
        with speaking(what):
            yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise VSphereError(f"{what}: the answer makes no sense ({error!r})") from error
